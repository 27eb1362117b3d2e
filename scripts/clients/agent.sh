#!/usr/bin/env bash
# Runs one coding agent on a task with a tool call: agent.sh AGENT. The agent is unmodified, configured by `ostia agent
# configure`, and runs without a terminal. It passes if its last message contains the output of the task's command.
#
# BASE_URL, API_KEY and MODEL are as for the other clients; OSTIA_BIN is the command. RECORD=FILE also records the agent's
# requests. REQUESTS=1 prints a line for each of them, and the agent's exit code. SAID is what the model says last in
# place of the demo's words. WHAT=chat is for an engine that may not call tools: then any text passes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
clients=$top/target/clients
packages=$clients/agents/node_modules
agent=${1:?}
task="Run one shell command that says hello, then tell me what it said."

work=$(mktemp -d)
recorder=
cleanup() {
  trap - EXIT
  [ -z "$recorder" ] || { kill "$recorder" && wait "$recorder"; } 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

url=${BASE_URL%/v1}
if [ -n "${RECORD:-}${REQUESTS:-}" ]; then
  python3 "$here/agents/record.py" "$url" "${RECORD:-$work/record}" "$agent" >"$work/recorder" &
  recorder=$!
  for _ in $(seq 100); do
    [ -s "$work/recorder" ] && break
    sleep 0.1
  done
  url=$(head -n 1 "$work/recorder")
fi

# A home folder of its own, so that the user's files are neither read nor changed.
export HOME=$work/home OSTIA_API_KEY=$API_KEY NO_COLOR=1 CI=1 IS_SANDBOX=1
unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_CACHE_HOME OPENAI_API_KEY OPENAI_BASE_URL ANTHROPIC_API_KEY
mkdir -p "$HOME" "$work/project"
cd "$work/project"
ostia=${OSTIA_BIN:-$top/target/debug/ostia}
configure() {
  "$ostia" agent configure "$1" --url "$url" --model "$MODEL" >>"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}
run() { timeout 240 "$@" >"$work/out" 2>>"$work/log" </dev/null; }

node_version() { node -p 'require(process.argv[1]).version' "$packages/$1/package.json"; }
python_version() { "$clients/$1/bin/python" -c 'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))' "$2"; }
title() { echo "# $1 $2"; }

code=0
case "$agent" in
  agent_claude)
    title "Claude Code" "$(node_version @anthropic-ai/claude-code)"
    configure claude
    export DISABLE_TELEMETRY=1 DISABLE_AUTOUPDATER=1 DISABLE_ERROR_REPORTING=1
    run "$packages/@anthropic-ai/claude-code-linux-x64/claude" -p "$task" --allowedTools Bash || code=$?
    ;;
  agent_codex)
    title Codex "$(node_version @openai/codex)"
    configure codex
    run "$packages/.bin/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox "$task" || code=$?
    ;;
  agent_opencode)
    title OpenCode "$(node_version opencode-ai)"
    configure opencode
    export OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_LSP_DOWNLOAD=1
    run "$packages/opencode-linux-x64/bin/opencode" run "$task" || code=$?
    ;;
  agent_qwen)
    title "Qwen Code" "$(node_version @qwen-code/qwen-code)"
    configure qwen
    run node "$packages/@qwen-code/qwen-code/cli.js" --yolo -p "$task" || code=$?
    ;;
  agent_pi)
    title pi "$(node_version @mariozechner/pi-coding-agent)"
    configure pi
    export PI_OFFLINE=1
    run "$packages/.bin/pi" -p "$task" || code=$?
    ;;
  agent_continue)
    title "Continue (\`cn\`)" "$(node_version @continuedev/cli)"
    configure continue
    export CONTINUE_TELEMETRY_ENABLED=0 CONTINUE_ALLOW_ANONYMOUS_TELEMETRY=0
    run "$packages/.bin/cn" -p "$task" --auto --config "$HOME/.continue/config.yaml" || code=$?
    ;;
  agent_aider)
    # aider calls no tools; its answer is read.
    title aider "$(python_version aider aider-chat)"
    configure aider
    WHAT=chat
    run "$clients/aider/bin/aider" --message "Say hello." --yes-always --no-git --no-check-update --analytics-disable \
      --no-show-release-notes --no-fancy-input --model-metadata-file "$HOME/.aider.model.metadata.json" || code=$?
    ;;
  agent_mini)
    # Its own loop ends only by a command of its own, so the trajectory shows whether the task's command ran.
    title mini-swe-agent "$(python_version mini mini-swe-agent)"
    export OPENAI_API_KEY=$API_KEY OPENAI_API_BASE=$url/v1 MSWEA_CONFIGURED=true MSWEA_COST_TRACKING=ignore_errors \
      LITELLM_LOCAL_MODEL_COST_MAP=True MSWEA_SILENT_STARTUP=1
    run "$clients/mini/bin/mini" -m "openai/$MODEL" -t "$task" -y --exit-immediately -c mini.yaml \
      -c agent.step_limit=3 -c agent.cost_limit=0 -o "$work/trajectory.json" || ended=$?
    cat "$work/trajectory.json" >>"$work/out" || code=1
    ;;
  *) echo "no such agent: $agent" >&2; exit 64 ;;
esac

if [ -n "${REQUESTS:-}" ]; then
  kill "$recorder"
  wait "$recorder" || true
  recorder=
  tail -n +2 "$work/recorder" | sort
  echo "# exit code ${ended:-$code}"
fi
what=${WHAT:-tool}
case "$what" in
  tool) wanted=${SAID:-Hello from the simulated model} ;;
  *) wanted=${SAID:-the simulated model} ;;
esac
if [ "$code" -eq 0 ] && grep -qF "$wanted" "$work/out"; then
  echo "ok   agent.$what"
  echo "1 passed, 0 failed, 0 skipped"
else
  echo "FAIL agent.$what: exit code $code"
  { tail -c 2000 "$work/out"; echo; tail -c 4000 "$work/log"; } | sed 's/^/# /' >&2
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi

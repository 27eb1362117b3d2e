#!/usr/bin/env bash
# A real engine with a tiny model, and real clients, first directly, then through Ostia: whatever passes directly must pass
# through Ostia. docs/conformance.md has the results.
#
#   scripts/real-engine.sh [--engine llama|vllm] [--clients "openai_py agent_codex" | --agents] [--path /v1] [--write]
#   scripts/real-engine.sh --build-only | --direct-only | --reconnect
#
# --agents runs the coding agents in place of the libraries: each does one task with a tool call.
# --path is the route that clients use, e.g. /resource_server/real/llama/v1. It may be repeated; the default is /v1 and the
# engine's own route. --write puts the table into docs/conformance.md. --reconnect sends 2,000 short requests with random
# pauses instead: engines close idle connections at any time, and no client may notice.
# Exit code 69: the engine is not available on this machine. OSTIA_BIN names a binary to use instead of building one.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

engine=llama
clients=$(scripts/clients/run.sh --list)
routes=()
direct_only=
build_only=
write=
reconnect=
while [ $# -gt 0 ]; do
  case "$1" in
    --engine) engine=${2:?}; shift ;;
    --build-only) build_only=1 ;;
    --direct-only) direct_only=1 ;;
    --reconnect) reconnect=1 ;;
    --write) write=--write ;;
    --agents) clients=$(scripts/clients/run.sh --agents) ;;
    --clients) clients=${2:?}; shift ;;
    --path) routes+=("${2:?}"); shift ;;
    *) engine= ;;
  esac
  shift
done
case "$engine" in
  llama | vllm) ;;
  *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 64 ;;
esac
[ ${#routes[@]} -gt 0 ] || routes=(/v1 "/resource_server/real/$engine/v1")

# Both engines need its results, because embeddings always come from llama-server.
scripts/engine/build.sh
[ "$engine" != vllm ] || scripts/engine/install-vllm.sh
[ -z "$build_only" ] || exit 0
scripts/clients/install.sh
ostia=$(realpath -m "${OSTIA_BIN:-${CARGO_TARGET_DIR:-target}/release/ostia}")
# Agents need its command even where they call the engine itself.
if [ -z "${OSTIA_BIN:-}" ] && [[ -z $direct_only || $clients == *agent_* ]]; then
  cargo build --release --locked --bin ostia
fi

work=$(mktemp -d)
pids=()
client_pid=
cleanup() {
  trap - EXIT
  # shellcheck disable=SC2086 # empty when no client runs
  [ ${#pids[@]} -eq 0 ] || { kill $client_pid "${pids[@]}" || true; wait || true; } 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # LOG COMMAND...
  local log=$1
  shift
  "$@" >"$work/$log" 2>&1 &
  pids+=($!)
}

ready() { # NAME URL SECONDS: the process started last answers there
  local _
  for _ in $(seq $(($3 * 10))); do
    curl -sf --max-time 5 -o "$work/health" "$2" && return
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not become ready:" >&2
  tail -30 "$work/$1.log" >&2
  exit 1
}

# All sockets are open at once, so that no port comes twice. Everything listens before the first client starts, because
# its connections take ports too.
read -r chat_port embed_port listen_port admin_port < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(4)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
engine_key=$(python3 -c 'import secrets; print("sk-engine-" + secrets.token_hex(16))')

# Agents believe what the engine says of its context, and make room in it for their prompts.
context=4096
[[ $clients != *agent_* ]] || context=131072

llama() { # NAME PORT ARGS...
  local name=$1 port=$2
  shift 2
  start "$name.log" env LLAMA_API_KEY="$engine_key" target/engine/llama-server -m target/engine/tiny.gguf \
    --host 127.0.0.1 --port "$port" "$@"
  ready "$name" "http://127.0.0.1:$port/health" 60
}

vllm() { # PORT
  start chat.log env VLLM_API_KEY="$engine_key" VLLM_HOST_IP=127.0.0.1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 \
    VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 \
    target/engine/vllm/bin/python target/engine/vllm/bin/vllm serve target/engine/tiny \
    --host 127.0.0.1 --port "$1" --served-model-name tiny --dtype float32 --enforce-eager \
    --max-model-len "$context" --max-num-seqs 64 --override-generation-config '{"max_new_tokens": 256}' \
    --enable-auto-tool-choice --tool-call-parser hermes --enable-request-id-headers \
    --structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'
  ready chat "http://127.0.0.1:$1/health" 600
  # The first answer with log probabilities takes half a minute.
  curl -sf -o "$work/warm-up" "http://127.0.0.1:$1/v1/chat/completions" -H "authorization: Bearer $engine_key" \
    -H "content-type: application/json" \
    -d '{"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "logprobs": true}'
}

# Limits the answers of clients that set no limit: -n here, max_new_tokens there. -c is for all four slots together.
case "$engine" in
  llama)
    llama chat "$chat_port" --alias tiny --jinja -np 4 -c $((4 * context)) -t 2 -n 256
    version="llama-server of llama-cpp-python $(readlink target/engine/llama-server | sed 's/.*-//')"
    ;;
  vllm)
    vllm "$chat_port"
    version="vLLM $(sed -n 's/^vllm-cpu==//p' scripts/engine/requirements-vllm.txt) on CPU"
    ;;
esac
llama embed "$embed_port" --alias tiny-embed --embedding --pooling mean -c 4096 -t 1

gateway=http://127.0.0.1:$listen_port
if [ -z "$direct_only" ]; then
  config=$work/ostia.toml
  python3 scripts/engine/fixtures.py "$work" "$listen_port" "$admin_port" "$chat_port" "$embed_port" REAL_ENGINE_KEY "$engine"
  start ostia.log env REAL_ENGINE_KEY="$engine_key" "$ostia" serve --config "$config"
  ready ostia "$gateway/health" 60
  user_key=$("$ostia" key create --user tester@example.org --json --config "$config" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])')
fi

run_clients() { # FOLDER: of results
  local client result
  mkdir -p "$work/results/$1"
  for client in $clients; do
    result=$work/results/$1/$client
    echo "== $client, $1"
    # In the background, because bash runs traps only between commands. compare.py reads the result's lines, which say
    # more than the exit code.
    timeout 600 scripts/clients/run.sh "$client" >"$result" 2>&1 &
    client_pid=$!
    wait "$client_pid" || true
    client_pid=
    grep -E '^(# |FAIL |[0-9]+ passed)' "$result" || true
    grep -qE '^[0-9]+ passed' "$result" || tail -n 20 "$result"
  done
}

# SAID is what RECITED of scripts/engine/tiny_model.py tells last, and only after the command's output.
export MODEL=tiny EMBED_MODEL=tiny-embed OSTIA_BIN=$ostia REQUESTS=1 SAID="said: Hello from the tiny model"
if [ -n "$reconnect" ]; then
  API_KEY=$user_key BASE_URL=$gateway/v1 python3 scripts/engine/reconnect.py 2000 "$work/ostia.db"
  exit
fi
API_KEY=$engine_key BASE_URL=http://127.0.0.1:$chat_port/v1 EMBED_BASE_URL=http://127.0.0.1:$embed_port/v1 \
  SKIP=$(python3 scripts/engine/skips.py "$engine" direct) run_clients direct
if [ -z "$direct_only" ]; then
  for route in "${routes[@]}"; do
    API_KEY=$user_key BASE_URL=$gateway$route EMBED_BASE_URL=$gateway$route \
      SKIP=$(python3 scripts/engine/skips.py "$engine" ostia) run_clients "ostia${route//\//:}"
  done
fi

echo
# shellcheck disable=SC2086 # lists of words
python3 scripts/engine/compare.py $write "$engine" "$version" "$work/results" $clients || {
  [ ! -f "$work/ostia.log" ] || { echo "-- the end of Ostia's log:"; grep -vE '"(access|usage)"' "$work/ostia.log" | tail -30; }
  exit 1
}

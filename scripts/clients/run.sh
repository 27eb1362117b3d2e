#!/usr/bin/env bash
# Runs one client's checks: run.sh CLIENT, or run.sh --list, or --agents for the coding agents. checks.py lists the
# environment variables.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
clients=$(cd "$here/../.." && pwd)/target/clients

python() { exec "$clients/$1/bin/python" "$here/$2.py"; }
node_script() {
  # Node looks for packages beside the script, so the script is copied to the packages.
  cp "$here/checks.mjs" "$here/$1.mjs" "$clients/node/"
  exec node "$clients/node/$1.mjs"
}

case "${1:-}" in
  --list) echo openai_py openai_py_1 anthropic_py langchain_py litellm_py llm_cli openai_node anthropic_node ai_sdk ;;
  --agents) echo agent_claude agent_codex agent_opencode agent_qwen agent_pi agent_continue agent_aider agent_mini ;;
  agent_*) exec "$here/agent.sh" "$1" ;;
  openai_py) python openai openai_py ;;
  openai_py_1) python openai-1 openai_py ;;
  anthropic_py | langchain_py | litellm_py | llm_cli) python rest "$1" ;;
  openai_node | anthropic_node | ai_sdk) node_script "$1" ;;
  *) echo "usage: run.sh CLIENT | --list | --agents" >&2; exit 64 ;;
esac

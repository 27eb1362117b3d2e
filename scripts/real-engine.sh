#!/usr/bin/env bash
# A real engine (llama-server, a tiny model) and real clients, first directly, then through Ostia:
# whatever passes directly must pass through Ostia.
#
#   scripts/real-engine.sh [--build-only] [--direct-only] [--clients "openai_py ai_sdk"] [--path /v1]
#
# --path is the route that clients use, e.g. /resource_server/real/llama-cpp/v1.
# OSTIA_BIN names a binary to use instead of building one.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

clients=$(scripts/clients/run.sh --list)
route=/v1
direct_only=
build_only=
while [ $# -gt 0 ]; do
  case "$1" in
    --build-only) build_only=1 ;;
    --direct-only) direct_only=1 ;;
    --clients) clients=${2:?}; shift ;;
    --path) route=${2:?}; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
  shift
done

# llama-server also closes the connection after each streamed answer without saying so, and a client
# that reuses it at once fails now and then: seen directly with openai_node. Through Ostia it must not be.
#
# This template does not make llama-server force a call.
engine_lacks="chat.tools_required"
# llama-server accepts any model name and an empty conversation; these are the gateway's promises.
gateway_promises="models.retrieve errors.unknown_model errors.bad_params raw.request_id"

scripts/engine/build.sh
[ -z "$build_only" ] || exit 0
scripts/clients/install.sh
ostia=${OSTIA_BIN:-${CARGO_TARGET_DIR:-target}/release/ostia}
if [ -z "$direct_only" ] && [ -z "${OSTIA_BIN:-}" ]; then
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

ready() { # NAME URL: the process started last answers there
  local _
  for _ in $(seq 300); do
    curl -sf -o "$work/health" "$2" && return
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not become ready:" >&2
  tail -30 "$work/$1.log" >&2
  exit 1
}

# All sockets open at once, so that no port comes twice.
read -r chat_port embed_port listen_port admin_port < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(4)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
engine_key=$(python3 -c 'import secrets; print("sk-engine-" + secrets.token_hex(16))')

engine() { # LOG PORT ARGS...
  local log=$1 port=$2
  shift 2
  start "$log.log" env LLAMA_API_KEY="$engine_key" target/engine/llama-server -m target/engine/tiny.gguf \
    --host 127.0.0.1 --port "$port" "$@"
  ready "$log" "http://127.0.0.1:$port/health"
}
# -n: a client that sets no limit gets an answer that ends.
engine chat "$chat_port" --alias tiny --jinja -np 4 -c 16384 -t 2 -n 256
engine embed "$embed_port" --alias tiny-embed --embedding --pooling mean -c 4096 -t 1

run_clients() { # direct|ostia
  local client result
  mkdir -p "$work/results/$1"
  for client in $clients; do
    result=$work/results/$1/$client
    echo "== $client, $1"
    # In the background, because bash runs a trap only between commands; and its exit code says
    # less than its lines, which compare.py reads.
    timeout 300 scripts/clients/run.sh "$client" >"$result" 2>&1 &
    client_pid=$!
    wait "$client_pid" || true
    client_pid=
    grep -v '^ok ' "$result" || true
  done
}

export MODEL=tiny EMBED_MODEL=tiny-embed
API_KEY=$engine_key BASE_URL=http://127.0.0.1:$chat_port/v1 EMBED_BASE_URL=http://127.0.0.1:$embed_port/v1 \
  SKIP="$engine_lacks $gateway_promises" run_clients direct

if [ -z "$direct_only" ]; then
  config=$work/ostia.toml
  python3 scripts/engine/fixtures.py "$work" "$listen_port" "$admin_port" "$chat_port" "$embed_port" REAL_ENGINE_KEY
  start ostia.log env REAL_ENGINE_KEY="$engine_key" "$ostia" serve --config "$config"
  ready ostia "http://127.0.0.1:$listen_port/health"
  user_key=$("$ostia" key create --user tester@example.org --json --config "$config" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])')
  gateway=http://127.0.0.1:$listen_port$route
  API_KEY=$user_key BASE_URL=$gateway EMBED_BASE_URL=$gateway SKIP=$engine_lacks run_clients ostia
fi

echo
# shellcheck disable=SC2086 # a list of words
python3 scripts/engine/compare.py "$work/results" $clients || {
  [ ! -f "$work/ostia.log" ] || { echo "-- the end of Ostia's log:"; grep -vE '"(access|usage)"' "$work/ostia.log" | tail -30; }
  exit 1
}

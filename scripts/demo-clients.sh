#!/usr/bin/env bash
# Runs real clients against `ostia serve --demo`: every check of scripts/clients must pass.
#
#   scripts/demo-clients.sh [CLIENT...]
#
# OSTIA_BIN names a binary to use instead of building one.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

# Checks that the simulated backend cannot pass, each with its reason:
# (none)
skip=""

if [ $# -gt 0 ]; then clients=$*; else clients="$(scripts/clients/run.sh --list) $(scripts/clients/run.sh --agents)"; fi
ostia=${OSTIA_BIN:-${CARGO_TARGET_DIR:-$top/target}/debug/ostia}
[ -n "${OSTIA_BIN:-}" ] || cargo build --locked --quiet --bin ostia

work=$(mktemp -d)
server=
client=
cleanup() {
  trap - EXIT
  # shellcheck disable=SC2086 # empty when none runs
  { [ -z "$client$server" ] || kill $client $server || true; wait || true; } 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The gateway's own temporary folder is there too, so that nothing is left even if the gateway is killed.
TMPDIR=$work "$ostia" serve --demo --listen 127.0.0.1:0 --demo-tokens-per-second 200 >"$work/out" 2>"$work/log" &
server=$!
for _ in $(seq 100); do
  if grep -q '^Routes: ' "$work/out"; then break; fi
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
BASE_URL=$(sed -n 's/^export OPENAI_BASE_URL=\([^ ]*\) .*/\1/p' "$work/out")
API_KEY=$(sed -n 's/^export .* OPENAI_API_KEY=//p' "$work/out")
[ -n "$BASE_URL" ] && [ -n "$API_KEY" ] || { echo "the demo did not become ready" >&2; exit 1; }
export BASE_URL API_KEY MODEL=demo EMBED_MODEL=demo-embedding SKIP=$skip OSTIA_BIN=$ostia

failed=
for name in $clients; do
  # In the background, because bash runs traps only between commands.
  timeout 300 scripts/clients/run.sh "$name" >"$work/result" 2>&1 &
  client=$!
  code=0
  wait "$client" || code=$?
  client=
  echo "== $name"
  grep -E '^(# |FAIL |[0-9]+ passed)' "$work/result" || true
  grep -qE '^[0-9]+ passed' "$work/result" || tail -n 20 "$work/result"
  [ "$code" -eq 0 ] || failed="$failed $name"
done
[ -z "$failed" ] || {
  echo "failed:$failed; the end of the gateway's log:" >&2
  grep -vE '"target":"ostia::(access|usage)"' "$work/log" | tail -20 >&2
  exit 1
}

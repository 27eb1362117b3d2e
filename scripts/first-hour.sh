#!/usr/bin/env bash
# Runs README's "Your backend in five minutes" in a bare environment: its own lines, in order, in an empty folder. The
# backend is `ostia serve --demo`, so only addresses and the model's name differ from the page.
#
# OSTIA_BIN names a binary to use instead of building one.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
ostia=${OSTIA_BIN:-${CARGO_TARGET_DIR:-$top/target}/debug/ostia}
[ -n "${OSTIA_BIN:-}" ] || cargo build --locked --quiet --bin ostia

work=$(mktemp -d)
servers=
cleanup() {
  trap - EXIT
  # shellcheck disable=SC2086 # empty when none runs
  { [ -z "$servers" ] || kill $servers || true; wait || true; } 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/bin" "$work/lab" "$work/tmp"
ln -s "$ostia" "$work/bin/ostia"

# The environment of a newcomer's shell, and nothing else.
given=(HOME="$work" TMPDIR="$work/tmp" PATH="$work/bin:/usr/bin:/bin")
bare() { (cd "$work/lab" && exec env -i "${given[@]}" "$@"); }

# Starts a server, and reads its address from its log.
start() {
  local log
  log=$(mktemp "$work/log.XXXXXX")
  (cd "$work/lab" && exec env -i "${given[@]}" "$@") >"$work/printed" 2>"$log" </dev/null &
  servers="$servers $!"
  for _ in $(seq 300); do
    address=$(sed -n 's/.*"ostia listens".*"listen":"\([^"]*\)".*/\1/p' "$log")
    [ -z "$address" ] || return 0
    kill -0 "$!" 2>/dev/null || break
    sleep 0.1
  done
  cat "$log" >&2
  exit 1
}

start ostia serve --demo --listen 127.0.0.1:0 --demo-tokens-per-second 0
backend=$address
for _ in $(seq 100); do if grep -q '^Routes: ' "$work/printed"; then break; fi; sleep 0.1; done
key=$(sed -n 's/^export .* OPENAI_API_KEY=//p' "$work/printed")
given+=("DEMO_KEY=$key" OSTIA_SERVER__ADMIN_LISTEN=127.0.0.1:0)

# The chapter's commands, with continued lines joined.
lines=$(awk '/^## /{on = /in five minutes/} on && /^ +(ostia|curl|export|-d) ?/' "$top/README.md" |
  sed -e 's/^ *//' | sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}')
gateway=
while IFS= read -r line; do
  line=${line//http:\/\/127.0.0.1:8080/http://$backend}
  line=${line//http:\/\/127.0.0.1:8000/http://$gateway}
  line=${line//meta-llama\/Llama-3.1-8B-Instruct/demo}
  echo "\$ ${line//$key/...}"
  case $line in
    "export KEY="*) ;;
    "ostia serve"*--backend*) start sh -c "exec $line --key-env DEMO_KEY --listen 127.0.0.1:0" ;;
    "ostia serve"*) start sh -c "exec $line --listen 127.0.0.1:0"; gateway=$address ;;
    "ostia init"*) bare sh -c "$line --key-env DEMO_KEY" ;;
    "ostia key create"*) made=$(bare sh -c "$line"); given+=("KEY=$made") ;;
    "ostia usage"*)
      # Rows reach the ledger a moment after their answers.
      for _ in $(seq 100); do if bare sh -c "$line" | tee "$work/usage" | grep -q @; then break; fi; sleep 0.1; done
      tee -a "$work/told" <"$work/usage" ;;
    *) bare sh -c "$line" | tee -a "$work/told"; echo ;;
  esac
done <<<"$lines"

for part in '"object":"list"' '"object":"chat.completion"' 'chat/completions, stream: 200' 'ada@lab.org'; do
  grep -qF -- "$part" "$work/told" || { echo "nothing said $part" >&2; exit 1; }
done
echo "README can be followed as printed."

#!/usr/bin/env bash
# Three replicas on one PostgreSQL behind a plain TCP balancer, in a temporary folder, with the simulated model.
#
#   scripts/cluster.sh          starts them, prints the address and a key, and stops them with Ctrl-C
#   scripts/cluster.sh test     makes and revokes keys, kills a replica and recovers its journal, replaces all replicas
#                               one by one under load, and checks that each answered call has one row
#
# OSTIA_BIN names a binary to use instead of building one. OSTIA_NEXT_BIN names one of the next release: with it the test
# migrates the database, upgrades the replicas one by one, and rolls them back.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
scripts/postgres.sh
ostia=${OSTIA_BIN:-${CARGO_TARGET_DIR:-$top/target}/debug/ostia}
[ -n "${OSTIA_BIN:-}" ] || cargo build --locked --quiet --bin ostia

work=$(mktemp -d)
declare -A pids=()
cleanup() {
  trap - EXIT
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ ! -f "$work/pg/postmaster.pid" ] || kill -QUIT "$(head -1 "$work/pg/postmaster.pid")" || true
  wait || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() { echo "scripts/cluster.sh: $*" >&2; tail -n 5 "$work"/*.log >&2 || true; exit 1; }
# Repeats a command until it succeeds, for at most a minute.
await() { for _ in $(seq 600); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; fail "in vain: $*"; }

# PostgreSQL refuses to run as root, so root runs it in a user namespace without a root user.
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
bin=${bin:-$(dirname "$(command -v initdb)")}
run_as=()
[ "$(id -u)" -ne 0 ] || run_as=(unshare --user)
"${run_as[@]}" "$bin/initdb" --no-sync --auth=trust --username=ostia --encoding=UTF8 -D "$work/pg" >"$work/initdb.log"
"${run_as[@]}" "$bin/postgres" -D "$work/pg" -k "$work" -c listen_addresses= -c fsync=off 2>"$work/postgres.log" &
await "$bin/pg_isready" -q -h "$work"
export OSTIA_STORE__URL="postgres://ostia@${work//\//%2F}/postgres"
sql() { "$bin/psql" -h "$work" -U ostia -Atq postgres -c "$1"; }

# The simulated model.
(cd "$work" && exec env -u OSTIA_STORE__URL "$ostia" serve --demo --listen 127.0.0.1:0 --demo-tokens-per-second 0) \
  >"$work/demo.out" 2>"$work/demo.log" </dev/null &
pids[demo]=$!
address() { sed -n 's/.*"ostia listens".*"'"$2"'":"\([^"]*\)".*/\1/p' "$work/$1.log" | tail -1; }
listens() { [ -n "$(address "$1" listen)" ]; }
await grep -q '^export .*OPENAI_API_KEY=' "$work/demo.out"
await listens demo
DEMO_KEY=$(sed -n 's/^export .* OPENAI_API_KEY=//p' "$work/demo.out")
export DEMO_KEY
cat >"$work/ostia.toml" <<TOML
[limits]
requests_per_second_per_user = 0
[[clusters]]
cluster_name = "lab"
frameworks = ["api"]
openai_endpoints = ["chat/completions"]
[[endpoints]]
cluster = "lab"
framework = "api"
model = "demo"
api_url = "http://$(address demo listen)/v1"
api_key_env_name = "DEMO_KEY"
TOML
ostia_with_config() { "$ostia" --config "$work/ostia.toml" "$@"; }
ostia_with_config db migrate
ostia_with_config check >/dev/null || fail "ostia check"

# The ports stay the same over restarts, because the balancer reads them only once.
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
servers=()
for replica in 1 2 3; do servers+=("127.0.0.1:$(port)"); done
replica() { # NUMBER [BINARY]
  : >"$work/$1.log"
  (exec env OSTIA_SERVER__STATE_DIR="$work/state$1" OSTIA_SERVER__ADMIN_LISTEN=127.0.0.1:0 \
    "${2:-$ostia}" --config "$work/ostia.toml" serve --listen "${servers[$1 - 1]}") 2>>"$work/$1.log" </dev/null &
  pids[$1]=$!
  await listens "$1"
}
for number in 1 2 3; do replica "$number"; done
python3 scripts/cluster/balancer.py 127.0.0.1:0 "${servers[@]}" >"$work/balancer.log" &
pids[balancer]=$!
await grep -q 'balancer at' "$work/balancer.log"
balancer=http://$(sed -n 's/balancer at //p' "$work/balancer.log")
new_key() { ostia_with_config key create --user "$1" --json | python3 -c 'import json, sys; k = json.load(sys.stdin); print(k["id"], k["key"])'; }
read -r _ key < <(new_key ann@example.org)

if [ "${1:-}" != test ]; then
  echo "export OPENAI_BASE_URL=$balancer/v1 OPENAI_API_KEY=$key     # the model is: demo"
  echo "Replicas: ${servers[*]}. Ctrl-C stops all."
  wait
  exit
fi

# Prints the status and the request id of one call.
call() { # URL KEY
  curl -s -o /dev/null -w '%{http_code} %header{x-request-id}\n' "$1/v1/chat/completions" -H "Authorization: Bearer $2" \
    -H 'content-type: application/json' -d '{"model":"demo","messages":[{"role":"user","content":"hello"}]}' || true
}
answers=$work/answers
for _ in $(seq 30); do call "$balancer" "$key" >>"$answers"; done
[ "$(grep -c '^200 ' "$answers")" -eq 30 ] || fail "not all calls were answered: $(sort "$answers" | cut -c1-3 | uniq -c)"

# A new key works on all replicas at once; a revoked one is refused by all within a second.
read -r id short < <(new_key bob@example.org)
for server in "${servers[@]}"; do
  call "http://$server" "$short" | tee -a "$answers" | grep -q '^200 ' || fail "a new key is not known at $server"
done
ostia_with_config key revoke "$id"
sleep 1.1
for server in "${servers[@]}"; do
  call "http://$server" "$short" | grep -q '^401 ' || fail "a revoked key is let in at $server"
done

# A replica is killed, and another machine recovers its journal.
load() { while [ ! -e "$work/stop" ]; do call "$balancer" "$key"; done; }
for n in 1 2 3 4; do load >>"$answers.$n" & pids[load$n]=$!; done
sleep 1
kill -KILL "${pids[2]}"
# It holds its journal until it is gone.
wait "${pids[2]}" || true
ostia_with_config journal recover "$work/state2/journal"
replica 2

# All replicas are replaced one by one, across a migration.
replace_all() { # BINARY
  for number in 1 2 3; do
    kill -TERM "${pids[$number]}"
    wait "${pids[$number]}" || true
    replica "$number" "$1"
  done
  sleep 1
}
if [ -n "${OSTIA_NEXT_BIN:-}" ]; then
  "$OSTIA_NEXT_BIN" --config "$work/ostia.toml" db migrate
  ostia_with_config db status
  replace_all "$OSTIA_NEXT_BIN"
  replace_all "$ostia"
else
  sql 'CREATE TABLE of_a_later_release (x BIGINT)'
  replace_all "$ostia"
fi
touch "$work/stop"
for n in 1 2 3 4; do wait "${pids[load$n]}" || true; unset "pids[load$n]"; done
for number in 1 2 3; do kill -TERM "${pids[$number]}"; wait "${pids[$number]}" || true; unset "pids[$number]"; done

sed -n 's/^200 //p' "$answers" "$answers".* | sort -u >"$work/answered"
sql "SELECT request_id FROM ledger WHERE outcome = 'ok'" | sort >"$work/rows"
missing=$(comm -23 "$work/answered" "$work/rows" | wc -l)
twice=$(sql 'SELECT count(*) - count(DISTINCT request_id) FROM ledger')
# Reports from each level of the roll-up, against the rows.
rows_tokens=$(sql 'SELECT sum(total_tokens) FROM ledger')
sums=0
for by in user,month user,day model,hour user,hour; do
  tokens=$(ostia_with_config usage --since 2020-01-01 --by "$by" --json |
    python3 -c 'import json, sys; print(sum(line["total_tokens"] for line in json.load(sys.stdin)))')
  [ "$tokens" = "$rows_tokens" ] || sums=$((sums + 1))
done
failed=$(cat "$answers" "$answers".* | grep -vc '^200 ' || true)
echo "$(wc -l <"$work/answered") calls were answered, $failed were not, $(wc -l <"$work/rows") rows are ok, $missing missing, $twice twice, $sums sums differ"
[ "$missing" -eq 0 ] && [ "$twice" -eq 0 ] && [ "$sums" -eq 0 ] || fail "the books are wrong"

#!/usr/bin/env bash
# Tests that are too long to run for every change, named after the numbers of docs/reliability.md. Figures go to the
# terminal.
#
#   scripts/stress.sh kill [COUNT]     SIGKILLs under load (20) of a gateway on SQLite, of one on PostgreSQL, and of one of
#                                      three replicas: each request that reached the backend must be in the ledger exactly once
#   scripts/stress.sh scale [ROWS] [URL]  a ledger of this many rows (10,000,000): writing, size, start, reports beside a
#                                      writer, pruning, each timed; in a temporary SQLite file, or at a postgres:// URL
#   scripts/stress.sh store [CASE...]    PostgreSQL stopped for 60 s under load, slow, full, out of connections; a million keys:
#                                      latency beside calm times, memory, rows (scripts/stress/store.py)
#   scripts/stress.sh rolling            three replicas upgraded one by one to a next release with a migration, and rolled back,
#                                      under load; the next release is made of this one
#   scripts/stress.sh R50 [SECONDS]      a stream that lasts so long (1800) while every timer but the total one is a second
#   scripts/stress.sh R64 [COUNT]        so many idle connections (10000): memory of each, others refused, health answers
#   scripts/stress.sh R67 [SECONDS]      answers, errors, hang-ups and silence for so long (3600): memory and files come back
#   scripts/stress.sh R80                a broken file under load: nothing fails, the generation stays
#   scripts/stress.sh R81                1,000 reloads under 200 streams: none is cut or sees a mixture
#   scripts/stress.sh R81-load [RATE]    100 reloads under 200 streams and this many new requests a second (500)
#   scripts/stress.sh R82                files that are replaced while they are read
#   scripts/stress.sh R85                without a file descriptor: 503, then back to work
#   scripts/stress.sh R86 [STREAMS]      shutdown under streams (1000) and idle connections
#   scripts/stress.sh R87                shutdown at its limit, and signals
#   scripts/stress.sh R90 [UPGRADES]     upgrades under load (10), and one to a binary that does not start
#   scripts/stress.sh R68 [SECONDS]    goodput at five times the load that an engine serves best, on three engines: `auto`,
#                                      fixed limits of concurrent requests, and none
#   scripts/stress.sh R68-fair [SECONDS]    one user with 100 connections beside nine with one each: shares and waits, on
#                                      one replica and on three
#   scripts/stress.sh burst            50 requests of one user at once, under 10 a second and 60,000 tokens a minute
#   scripts/stress.sh agent            the first two requests of a coding agent, under the same limits
#   scripts/stress.sh admission-cpu    CPU time of an admission, in this process and with Redis
set -euo pipefail
cd "$(dirname "$0")/.."

# Runs tests: a package, a test program of it, and a filter.
run() {
  cargo test --locked -p "$1" --test "$2" -- --nocapture "$3"
}

# Set OSTIA_STRESS_PROFILE=dev if a release build takes too long. It suffices where the engines are the slow part.
admission() {
  cargo run --locked --profile "${OSTIA_STRESS_PROFILE:-release}" -q -p ostia-testkit --example admission -- "$@"
}

# This release with one more migration, and one more column in the ledger.
rolling() {
  local target=${CARGO_TARGET_DIR:-$PWD/target} next
  next=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder is known now
  trap "rm -rf '$next'" EXIT
  git archive HEAD | tar -x -C "$next"
  python3 scripts/stress/next_release.py "$next"
  cargo build --locked --bin ostia
  cp "$target/debug/ostia" "$next/ostia-now"
  (cd "$next" && CARGO_TARGET_DIR="$target/next" cargo build --locked --bin ostia)
  OSTIA_BIN=$next/ostia-now OSTIA_NEXT_BIN=$target/next/debug/ostia scripts/cluster.sh test
}

case "${1:-}" in
  R68) admission goodput "${2:-20}" ;;
  R68-fair) admission fair "${2:-20}"; admission fair3 "${2:-20}" ;;
  burst | agent) admission "$1" ;;
  admission-cpu) admission cpu ;;
  kill)
    OSTIA_TEST_KILLS=${2:-20} cargo test --locked -p ostia-cli --test process -- --nocapture --test-threads 1 \
      kill::after_any_kill
    ;;
  store)
    cargo build --release --locked --workspace --bin ostia --bin bench
    shift
    [ $# -gt 0 ] || set -- outage slow full exhausted keys
    target=${CARGO_TARGET_DIR:-target}
    exec scripts/stress/store.py --ostia "$target/release/ostia" --bench "$target/release/bench" "$@"
    ;;
  rolling) rolling ;;
  scale)
    cargo run --release --locked -p ostia-store --example scale -- "${2:-10000000}" ${3:+"$3"}
    ;;
  R50) OSTIA_TEST_SILENCES=$((${2:-1800} * 5)) run ostia-testkit it long_life::r50 ;;
  R64) OSTIA_TEST_IDLE=${2:-10000} run ostia-cli process idle::r64 ;;
  R67) OSTIA_TEST_SOAK_SECONDS=${2:-3600} run ostia-cli process soak::r67 ;;
  R80) run ostia-testkit it reload::a_bad_reading ;;
  R81) run ostia-testkit it reload::a_thousand ;;
  R81-load) OSTIA_TEST_RATE=${2:-500} run ostia-testkit it reload::r81_reloads ;;
  R82) run ostia-testkit it reload::r82 ;;
  R85) run ostia-cli process descriptors ;;
  R86) OSTIA_TEST_STREAMS=${2:-1000} run ostia-cli process stop::r86 ;;
  R87) run ostia-cli process stop::r87 ;;
  R90) OSTIA_TEST_UPGRADES=${2:-10} run ostia-cli process upgrade::r90 ;;
  *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 64 ;;
esac

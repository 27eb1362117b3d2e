#!/usr/bin/env bash
# Runs of the tests that are too long for every change. Figures go to the terminal.
#
#   scripts/stress.sh kill [COUNT]     SIGKILLs of a gateway under load (20), each followed by a restart, on SQLite and on
#                                      PostgreSQL: no request that reached the backend may be missing from the ledger, or be
#                                      in it twice
#   scripts/stress.sh scale [ROWS] [URL]  a ledger of so many rows (10,000,000): writing, size, start, reports beside a writer,
#                                      pruning, each timed; in a temporary SQLite file, or at a postgres:// URL
#   scripts/stress.sh R68 [SECONDS]    goodput at five times what an engine serves best, on three engines: `auto`, fixed
#                                      numbers of requests at a time, and none
#   scripts/stress.sh R68-fair [SECONDS]    one user with 100 connections beside nine with one each: shares and waits, on
#                                      one replica and on three
#   scripts/stress.sh burst            50 requests of one user at once under 10 a second and 60,000 tokens a minute
#   scripts/stress.sh agent            the first two requests of a coding agent under the same limits
#   scripts/stress.sh admission-cpu    CPU time of an admission, in this process and with Redis
set -euo pipefail
cd "$(dirname "$0")/.."

admission() {
  cargo run --locked --release -q -p ostia-testkit --example admission -- "$@"
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
  scale)
    cargo run --release --locked -p ostia-store --example scale -- "${2:-10000000}" ${3:+"$3"}
    ;;
  *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac

#!/usr/bin/env bash
# Runs of the tests that are too long for every change. Figures go to the terminal.
#
#   scripts/stress.sh kill [COUNT]     SIGKILLs of a gateway under load (20), each followed by a restart, on SQLite and on
#                                      PostgreSQL: no request that reached the backend may be missing from the ledger, or be
#                                      in it twice
#   scripts/stress.sh scale [ROWS] [URL]  a ledger of so many rows (10,000,000): writing, size, start, reports beside a writer,
#                                      pruning, each timed; in a temporary SQLite file, or at a postgres:// URL
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  kill)
    OSTIA_TEST_KILLS=${2:-20} cargo test --locked -p ostia-cli --test process -- --nocapture --test-threads 1 \
      kill::after_any_kill
    ;;
  scale)
    cargo run --release --locked -p ostia-store --example scale -- "${2:-10000000}" ${3:+"$3"}
    ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac

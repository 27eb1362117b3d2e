#!/usr/bin/env bash
# Runs of the tests that are too long for every change. Figures go to the terminal.
#
#   scripts/stress.sh kill [COUNT]     SIGKILLs of a gateway under load (20), each followed by a restart, on SQLite and on
#                                      PostgreSQL: no request that reached the backend may be missing from the ledger, or be
#                                      in it twice
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  kill)
    OSTIA_TEST_KILLS=${2:-20} cargo test --locked -p ostia-cli --test process -- --nocapture --test-threads 1 \
      kill::after_any_kill
    ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac

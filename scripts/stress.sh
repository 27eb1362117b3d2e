#!/usr/bin/env bash
# Runs of the tests that are too long for every change, named after the numbers of docs/stress.md. Figures go to the terminal.
#
#   scripts/stress.sh kill [COUNT]       R88: SIGKILLs of a gateway under load (20), each followed by a restart: no request that
#                                        reached the backend may be missing from the ledger, or be in it twice
#   scripts/stress.sh r80                a broken file under load: nothing fails, the generation stays
#   scripts/stress.sh r81                1,000 reloads under 200 streams: nothing cut, nothing on a mixture
#   scripts/stress.sh r82                files that are replaced while they are read
#   scripts/stress.sh r85                without a file descriptor: 503, and back to work
#   scripts/stress.sh r86 [STREAMS]      the end under streams (1000) and idle connections
#   scripts/stress.sh r87                the end at its limit, and signals
#   scripts/stress.sh r90 [UPGRADES]     upgrades under load (10), and one to a binary that does not start
set -euo pipefail
cd "$(dirname "$0")/.."

# A package, a test program of it, and a filter.
run() {
  cargo test --locked -p "$1" --test "$2" -- --nocapture "$3"
}

case "${1:-}" in
  kill)
    OSTIA_TEST_KILLS=${2:-20} run ostia-cli process kill::after_any_kill_the_books_are_right
    ;;
  r80) run ostia-testkit it reload::a_bad_reading ;;
  r81) run ostia-testkit it reload::a_thousand ;;
  r82) run ostia-testkit it reload::r82 ;;
  r85) run ostia-cli process descriptors ;;
  r86) OSTIA_TEST_STREAMS=${2:-1000} run ostia-cli process stop::r86 ;;
  r87) run ostia-cli process stop::r87 ;;
  r90) OSTIA_TEST_UPGRADES=${2:-10} run ostia-cli process upgrade::r90 ;;
  *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac

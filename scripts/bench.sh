#!/bin/sh
# Measures Ostia next to nginx and HAProxy and prints a table; docs/PERFORMANCE.md says how to read it.
# All arguments go to `bench compare`:
#   scripts/bench.sh --quick
#   scripts/bench.sh --targets direct,nginx,haproxy,ostia --write
set -eu
cd "$(dirname "$0")/.."

missing=
for program in nginx haproxy; do
    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # The packages must not start servers of their own: those would share the measured core.
    # shellcheck disable=SC2086
    $sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi
PATH=$PATH:/usr/sbin:/usr/local/sbin
export PATH

target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet -p bench
# Ostia is built only if it is measured: by default, or when --targets names it.
case " $* " in
*--targets*ostia* | *--ostia*) build=yes ;;
*--targets*) build=no ;;
*) build=yes ;;
esac
case " $* " in *" --ostia"*) build=no ;; esac
if [ "$build" = yes ]; then
    cargo build --release --quiet -p ostia-cli
fi
# exec: a signal then reaches the comparison itself, which stops what it started.
exec "$target/release/bench" compare --ostia "$target/release/ostia" "$@"

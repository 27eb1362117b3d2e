#!/bin/sh
# Compares Ostia with nginx and HAProxy and prints a table; docs/PERFORMANCE.md explains how to read it.
# All arguments go to `bench compare`:
#   scripts/bench.sh --quick
#   scripts/bench.sh --cases plain,stream --targets nginx,ostia --rounds 9 --seconds 1
#   scripts/bench.sh --write
# vllm-router, sglang-router and LiteLLM are measured too where they are in PATH, for instance in a venv:
#   pip install vllm-router sglang-router "litellm[proxy]"
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/sbin
export PATH

missing=
for program in nginx haproxy; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
    # The packages may have started servers of their own, which would share the measured core.
    # shellcheck disable=SC2086
    $sudo systemctl disable --now $missing >/dev/null 2>&1 || true
fi

target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet -p bench
# Builds Ostia only if it will be measured, and if no other binary is named.
case " $* " in
*" --ostia"* | *" --help "* | *" -h "*) build=no ;;
*--targets*ostia*) build=yes ;;
*--targets*) build=no ;;
*) build=yes ;;
esac
if [ "$build" = yes ]; then
    cargo build --release --quiet -p ostia-cli
fi
# exec, so that a signal reaches the comparison itself, which then stops the processes that it started.
exec "$target/release/bench" compare --ostia "$target/release/ostia" "$@"

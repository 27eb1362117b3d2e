#!/bin/sh
# Counts the instructions of each stage of a request and fails if one takes a tenth more than its budget in
# scripts/instructions.budget; docs/PERFORMANCE.md says what the stages are. Counts are those of a debug build, which tests
# have made anyway: an optimized one takes minutes, and work that is added shows in both. --write sets the budgets anew.
set -eu
cd "$(dirname "$0")/.."

if ! command -v callgrind_control >/dev/null; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo apt-get install -y --no-install-recommends valgrind
fi

target=${CARGO_TARGET_DIR:-target}
# With the features of `cargo test`, so that nothing compiles twice.
cargo build --workspace --all-targets --locked --quiet
exec "$target/debug/bench" instructions --ostia "$target/debug/ostia" --budget scripts/instructions.budget "$@"

#!/usr/bin/env bash
# Uses the template of examples/custom-adapters as a site does: copied out of this workspace, with a path to it, it
# builds and answers. Needs no network if the workspace itself was built before.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
# The workspace's own, where most dependencies are compiled already.
target=$(realpath -m "${CARGO_TARGET_DIR:-$top/target}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$top/examples/custom-adapters" "$work/gateway"
cd "$work/gateway"
sed -i.old "s|path = \"../../crates/|path = \"$top/crates/|" Cargo.toml
cp "$top/Cargo.lock" .

CARGO_TARGET_DIR=$target cargo build --offline --quiet
env -i "$target/debug/custom-adapters" check
answer=$(env -i "$target/debug/custom-adapters" test greeting || true)
echo "$answer"
case $answer in *Salve*) ;; *) echo "the template does not answer" >&2; exit 1 ;; esac

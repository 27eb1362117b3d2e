#!/usr/bin/env bash
# Imports and serves a site of FIRST with 50 endpoints and Minerva beside them, and runs its clients: alcf-ai, openai and
# anthropic, in a virtual environment under target/.
#
# OSTIA_BIN names a binary to use instead of building one.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
target=${CARGO_TARGET_DIR:-$top/target}
export OSTIA_BIN=${OSTIA_BIN:-$target/debug/ostia}
[ -x "$OSTIA_BIN" ] || cargo build --locked --quiet --bin ostia

python=$target/first-site/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv "$target/first-site"
  "$target/first-site/bin/pip" install --quiet --requirement scripts/clients/requirements-first.txt
fi
"$python" scripts/clients/first_site.py

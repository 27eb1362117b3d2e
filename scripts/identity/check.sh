#!/usr/bin/env bash
# Signs in with the real Globus client at the fake identity provider of the tests, to show that the fake behaves like
# Globus and not like our idea of Globus. Keeps a Python environment under the target folder. If there is neither a
# package index nor an earlier environment, it says so and succeeds, so that the other tests go on.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
venv=$target/venv-globus
want=globus-sdk==4.9.1
if ! "$venv/bin/python" -c 'import globus_sdk' 2>/dev/null; then
    python3 -m venv "$venv"
    if ! "$venv/bin/pip" install --quiet --disable-pip-version-check "$want"; then
        echo "scripts/identity/check.sh: skipped, $want cannot be installed here" >&2
        exit 0
    fi
fi
# With the features of `cargo test`, so that nothing compiles twice.
cargo build --quiet --locked --workspace --all-targets
"$venv/bin/python" scripts/identity/globus_sdk_check.py "$target/debug/examples/fake_idp"

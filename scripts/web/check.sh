#!/usr/bin/env bash
# Tests the pages in headless Chromium. Installs what is missing: Debian's chromium and chromium-driver, selenium in an
# environment under target/, and axe-core for the accessibility audit. `--images FOLDER` takes a picture
# of every page there; docs/images has some of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
kept=$target/web
mkdir -p "$kept"
if ! command -v chromedriver > /dev/null || ! command -v chromium > /dev/null; then
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update && $sudo apt-get install -y --no-install-recommends chromium chromium-driver fonts-dejavu-core
fi
if ! cmp -s scripts/web/requirements.txt "$kept/requirements.txt"; then
  python3 -m venv "$kept/venv"
  "$kept/venv/bin/pip" install --quiet --disable-pip-version-check -r scripts/web/requirements.txt
  cp scripts/web/requirements.txt "$kept/requirements.txt"
fi
if ! cmp -s scripts/web/package.json "$kept/package.json"; then
  cp scripts/web/package.json "$kept/"
  (cd "$kept" && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error >&2) || {
    rm "$kept/package.json"
    exit 1
  }
fi
# With the features of `cargo test`, so that nothing compiles twice.
cargo build --quiet --locked --workspace --all-targets
"$kept/venv/bin/python" scripts/web/pages.py "$target/debug/examples/web_site" "$kept/node_modules/axe-core/axe.min.js" "$@"

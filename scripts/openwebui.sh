#!/usr/bin/env bash
# The real Open WebUI with two users behind one key: it lists models, chats and streams through Ostia, each row of the
# ledger is of the user who asked, and no forged name is accepted. docs/sign-in.md has the contract.
#
# Not part of scripts/test.sh: Open WebUI takes 800 MB under target/ and some minutes to install, once. It needs Python 3.11
# or 3.12. Exit code 69: it cannot be installed here. OSTIA_BIN names a binary to use instead of building one.
# OPEN_WEBUI_VENV names a virtual environment that has it.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
target=${CARGO_TARGET_DIR:-$top/target}
list=$top/scripts/openwebui/requirements.txt
venv=${OPEN_WEBUI_VENV:-$target/openwebui}

unavailable() {
  echo "Open WebUI cannot be installed here: $1" >&2
  exit 69
}
# The list is copied into the folder last, so it is there only if everything was installed.
if [ -z "${OPEN_WEBUI_VENV:-}" ] && ! cmp -s "$list" "$venv/installed"; then
  [ "$(df -Pk "$top" | awk 'NR == 2 { print $4 }')" -gt 2000000 ] || unavailable "it needs 2 GB of free disk while it unpacks"
  python=
  for name in python3.12 python3.11 python3; do
    "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || continue
    python=$name
    break
  done
  [ -n "$python" ] || unavailable "it needs Python 3.11 or 3.12"
  echo "installing Open WebUI: 800 MB, this once" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv" || unavailable "no Python with venv"
  pip=("$venv/bin/pip" install --quiet --disable-pip-version-check)
  "${pip[@]}" --no-deps --requirement "$list" || unavailable "see above"
  slim=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/requirements-slim.txt
  # pip names all that the short list leaves out, which is as it should be.
  "${pip[@]}" --only-binary :all: --requirement "$slim" 2>"$venv/pip.log" || {
    cat "$venv/pip.log" >&2
    unavailable "see above"
  }
  cp "$list" "$venv/installed"
fi

export OSTIA_BIN=${OSTIA_BIN:-$target/debug/ostia}
[ -x "$OSTIA_BIN" ] || cargo build --locked --quiet --bin ostia
exec "$venv/bin/python" scripts/openwebui/check.py

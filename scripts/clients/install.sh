#!/usr/bin/env bash
# Installs the client libraries under target/clients. Those that are there already in the right versions are kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
clients=$(cd "$here/../.." && pwd)/target/clients
mkdir -p "$clients"

# The list of packages is copied into the folder last, so it is there only if everything was installed.
installed() { cmp -s "$1" "$2/installed"; }

venv() { # NAME: from requirements-NAME.txt
  local list="$here/requirements-$1.txt" dir="$clients/$1"
  installed "$list" "$dir" && return
  echo "installing Python clients: $1" >&2
  rm -rf "$dir"
  python3 -m venv "$dir"
  # The pip of older Pythons resolves for minutes what a current one resolves at once.
  "$dir/bin/pip" install --quiet --disable-pip-version-check --upgrade pip
  "$dir/bin/pip" install --quiet --disable-pip-version-check -r "$list"
  cp "$list" "$dir/installed"
}

node_packages() { # LIST DIR
  local list=$1 dir="$clients/$2"
  installed "$list" "$dir" && return
  echo "installing Node packages: $2" >&2
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$list" "$dir/"
  (cd "$dir" && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error >&2)
  cp "$list" "$dir/installed"
}

venv openai
venv openai-1
venv rest
node_packages "$here/package.json" node
# Coding agents.
node_packages "$here/agents/package.json" agents
venv aider
venv mini

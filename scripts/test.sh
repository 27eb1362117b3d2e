#!/usr/bin/env bash
# Installs what the tests need if it is missing, then runs every test. The tests start their servers on free ports in
# temporary folders, and stop them.
set -euo pipefail
cd "$(dirname "$0")/.."

# For the tests, which start PostgreSQL themselves.
scripts/postgres.sh
# Limits over several replicas are kept in Redis or Valkey; the tests start a server of their own.
if ! command -v redis-server valkey-server > /dev/null; then
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update && $sudo apt-get install -y --no-install-recommends redis-server
fi

# All tests in Rust come first. --workspace, because `cargo test` alone takes only the default member.
cargo test --workspace --locked "$@"
# The scripts below use what was just built. `cargo build --bin ostia` would choose other features and compile it all again.
OSTIA_BIN=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/ostia
export OSTIA_BIN

# What a request costs.
[ $# -gt 0 ] || scripts/instructions.sh

# The fake identity provider with the real Globus client.
scripts/identity/check.sh

# Dashboards and alerting rules.
[ $# -gt 0 ] || scripts/monitoring.sh

# The pages, in a browser.
[ $# -gt 0 ] || scripts/web/check.sh

# Real client libraries against the simulated backend. If Rust tests are selected, these do not run.
if [ $# -eq 0 ]; then
  # README in a bare environment, and the template outside this workspace.
  scripts/first-hour.sh
  scripts/template.sh
  # Three replicas on one PostgreSQL.
  scripts/cluster.sh test
  scripts/clients/install.sh
  scripts/demo-clients.sh
fi

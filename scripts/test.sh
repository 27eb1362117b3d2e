#!/usr/bin/env bash
# Installs what the tests need and is missing, then runs every test. Servers are started on free ports in temporary
# folders by the tests themselves and stopped with them.
set -euo pipefail
cd "$(dirname "$0")/.."

# The tests start PostgreSQL by themselves.
scripts/postgres.sh
# Limits over several replicas are kept in Redis or Valkey; the tests start a server of their own.
if ! command -v redis-server valkey-server > /dev/null; then
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update && $sudo apt-get install -y --no-install-recommends redis-server
fi

# The front of the tests: everything in Rust. --workspace, because `cargo test` alone takes the default member only.
cargo test --workspace --locked "$@"

# The fake identity provider, before the real Globus client.
scripts/identity/check.sh

# Dashboards and alerting rules.
[ $# -gt 0 ] || scripts/monitoring.sh


# Real client libraries against the simulated backend. A run of chosen Rust tests leaves them out.
if [ $# -eq 0 ]; then
  # README in a bare environment, and the template outside this workspace.
  scripts/first-hour.sh
  scripts/template.sh
  # Three replicas on one PostgreSQL.
  scripts/cluster.sh test
  scripts/clients/install.sh
  scripts/demo-clients.sh
fi

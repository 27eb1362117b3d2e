#!/usr/bin/env bash
# Installs PostgreSQL and pgbouncer if their programs are missing. The tests start servers of their own with them; the
# service that Debian's package would start is disabled.
set -euo pipefail

found() {
  [ -x /usr/sbin/pgbouncer ] && found_server
}

found_server() {
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null
}

if ! found; then
  command -v apt-get >/dev/null || { echo "scripts/postgres.sh: install PostgreSQL 15 or later, and pgbouncer" >&2; exit 1; }
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql pgbouncer
  found || { echo "scripts/postgres.sh: PostgreSQL and pgbouncer were installed, and their programs are not there" >&2; exit 1; }
fi

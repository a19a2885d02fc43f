#!/bin/bash
# The package itself on a GPU, with the Node that travels beside it (build.mjs) or the one in PATH: node.mjs says what is done.
# Results go to $OUT. --tiny: the embedded model and short answers, for the driver of cuda/fake.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export OUT=${OUT:-$here/results}
mkdir -p "$OUT"
export OCTAVO_CUDA_PLUGIN="$here/octavo_cuda.so"
if [ -d "$here/fake" ]; then export LD_LIBRARY_PATH="$here/fake"; fi
program=${OCTAVO_GPU_SCRIPT:-node.mjs}
if [ -f "$here/node.xz" ] && [ ! -f "$here/node" ]; then
  xz -dc "$here/node.xz" > "$here/node.part" ||
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$here/node.xz" > "$here/node.part"
  chmod +x "$here/node.part" && mv "$here/node.part" "$here/node"
fi
node=$here/node
[ -x "$node" ] || node=node
exec timeout --kill-after=5 570 "$node" "$here/$program" "$@"

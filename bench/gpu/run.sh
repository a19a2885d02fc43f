#!/bin/bash
# What is checked and measured on a GPU, without Node: 12 minutes at most, everything compiled before (build.mjs), stopped at the
# first difference. Results go to $OUT (default: results beside this script). --tiny: sizes for the driver of cuda/fake.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export OUT=${OUT:-$here/results}
mkdir -p "$OUT"
rm -f "$OUT"/figures.tsv "$OUT"/run.json
export OCTAVO_CUDA_PLUGIN="$here/octavo_cuda.so"
if [ -d "$here/fake" ]; then export LD_LIBRARY_PATH="$here/fake"; fi
tiny=
case "${1:-}" in
  '') ;;
  --tiny) tiny=--tiny ;;
  *) echo "run.sh: expected --tiny or nothing, got $1" >&2; exit 2 ;;
esac

began=$SECONDS
# part NAME SECONDS COMMAND...: what it prints is in $OUT/NAME.log too
part() {
  local name=$1 limit=$2
  shift 2
  echo "== $name ($((SECONDS - began)) s)"
  local status=0
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee "$OUT/$name.log" || status=$?
  if [ "$status" -ne 0 ]; then
    echo "run.sh: $name ended with $status (124: it took more than $limit s); nothing after it was run" >&2
    exit 1
  fi
}
bench() { part "$1" "$2" "$here/octavo_gpu_bench" "$1" $tiny --out "$OUT" "${@:3}"; }

if command -v nvidia-smi > "$OUT/nvidia-smi.log" 2>&1; then nvidia-smi -q > "$OUT/nvidia-smi.log" 2>&1 || true; fi
bench limits 40
bench conformance 60
if [ -n "$tiny" ]; then bench equality 120 '-tc=device: gather*,device: rope*'; else bench equality 150; fi
bench shapes 90
if [ -z "$tiny" ] && python3 -c 'import torch; assert torch.cuda.is_available()' 2> "$OUT/torch.log"; then
  part torch 60 python3 "$here/torch-limits.py" --out "$OUT"
else
  echo "== torch: skipped, there is none here that sees a GPU"
fi
bench kernels 150
bench model 150
bench goals 10
echo "run.sh: all parts passed in $((SECONDS - began)) s; results in $OUT"

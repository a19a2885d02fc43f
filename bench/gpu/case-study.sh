#!/bin/bash
# A model of 13B parameters, from f16 without batching to 4 bits, an 8-bit cache and continuous batching: case-study.mjs says how.
# Results go to $OUT. --tiny: the embedded model and short answers, for the driver of cuda/fake.
set -euo pipefail
export OCTAVO_GPU_SCRIPT=case-study.mjs
exec "$(dirname "$0")/node.sh" "$@"

// linear_tile.cuh on halves. The last number: blocks that share a multiprocessor, where their registers suffice.
#include "kernels/linear/linear_tile.cuh"

OCTAVO_LINEAR_TILE(q4_0, f16, 1)
OCTAVO_LINEAR_TILE(q4_1, f16, 1)
OCTAVO_LINEAR_TILE(q5_0, f16, 1)
OCTAVO_LINEAR_TILE(q5_1, f16, 1)
OCTAVO_LINEAR_TILE(q8_0, f16, 1)
OCTAVO_LINEAR_TILE(q4_k, f16, 1)
OCTAVO_LINEAR_TILE(q5_k, f16, 1)
OCTAVO_LINEAR_TILE(q6_k, f16, 1)
OCTAVO_LINEAR_TILE(q2_k, f16, 1)
OCTAVO_LINEAR_TILE(q3_k, f16, 1)
OCTAVO_LINEAR_TILE(iq4_nl, f16, 1)
OCTAVO_LINEAR_TILE(mxfp4, f16, 1)
OCTAVO_LINEAR_TILE(nvfp4, f16, 1)
OCTAVO_LINEAR_TILE(levels, f16, 1)
OCTAVO_LINEAR_TILE(half_levels, f16, 1)

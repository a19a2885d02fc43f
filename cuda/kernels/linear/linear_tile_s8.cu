// linear_tile.cuh on whole numbers. The last number: blocks that share a multiprocessor, where their registers suffice.
#include "kernels/linear/linear_tile.cuh"

OCTAVO_LINEAR_TILE(q4_0, s8, 1)
OCTAVO_LINEAR_TILE(q4_1, s8, 1)
OCTAVO_LINEAR_TILE(q5_0, s8, 1)
OCTAVO_LINEAR_TILE(q5_1, s8, 1)
OCTAVO_LINEAR_TILE(q8_0, s8, 1)
OCTAVO_LINEAR_TILE(q4_k, s8, 1)
OCTAVO_LINEAR_TILE(q5_k, s8, 1)
OCTAVO_LINEAR_TILE(q6_k, s8, 1)
OCTAVO_LINEAR_TILE(q2_k, s8, 1)
OCTAVO_LINEAR_TILE(q3_k, s8, 1)
OCTAVO_LINEAR_TILE(iq4_nl, s8, 1)
OCTAVO_LINEAR_TILE(mxfp4, s8, 1)
OCTAVO_LINEAR_TILE(nvfp4, s8, 1)
OCTAVO_LINEAR_TILE(levels, s8, 1)
OCTAVO_LINEAR_TILE(half_levels, s8, 1)

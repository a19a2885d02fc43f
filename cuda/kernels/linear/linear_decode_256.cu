// linear_decode.cuh for the formats whose blocks of 256 weights have scales of scales.
#include "kernels/linear/linear_decode.cuh"

OCTAVO_LINEAR_DECODE(q4_k)
OCTAVO_LINEAR_DECODE(q5_k)
OCTAVO_LINEAR_DECODE(q6_k)
OCTAVO_LINEAR_DECODE(q2_k)
OCTAVO_LINEAR_DECODE(q3_k)
OCTAVO_LINEAR_DECODE(levels)
OCTAVO_LINEAR_DECODE(half_levels)

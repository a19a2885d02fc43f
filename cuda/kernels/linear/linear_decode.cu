// linear_decode.cuh for the formats with a scale, or a scale and a minimum, of their own for each 32 weights.
#include "kernels/linear/linear_decode.cuh"

OCTAVO_LINEAR_DECODE(q4_0)
OCTAVO_LINEAR_DECODE(q4_1)
OCTAVO_LINEAR_DECODE(q5_0)
OCTAVO_LINEAR_DECODE(q5_1)
OCTAVO_LINEAR_DECODE(q8_0)
OCTAVO_LINEAR_DECODE(iq4_nl)
OCTAVO_LINEAR_DECODE(mxfp4)
OCTAVO_LINEAR_DECODE(nvfp4)

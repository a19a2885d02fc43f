#define OCTAVO_ISA_AVX512VNNI
#define OCTAVO_TILES "cpu/isa/simd/tiles_amx.h"
#define OCTAVO_MATRIX matrix_amx
#include "cpu/isa/matrix.inc"

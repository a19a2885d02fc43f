#define OCTAVO_ISA_BASELINE
#define OCTAVO_TILES "cpu/isa/simd/tiles_plain.h"
#define OCTAVO_MATRIX matrix_plain
#include "cpu/isa/matrix.inc"

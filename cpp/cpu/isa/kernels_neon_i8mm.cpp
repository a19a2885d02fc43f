#define OCTAVO_ISA_NEON_I8MM
#define OCTAVO_ISA_NAME "neon_i8mm"
#define OCTAVO_KERNELS kernels_neon_i8mm
#include "cpu/isa/kernels.inc"

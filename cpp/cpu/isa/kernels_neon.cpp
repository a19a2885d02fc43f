#define OCTAVO_ISA_NEON
#define OCTAVO_ISA_NAME "neon"
#define OCTAVO_KERNELS kernels_neon
#include "cpu/isa/kernels.inc"

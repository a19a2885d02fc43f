#define OCTAVO_ISA_AVX2
#define OCTAVO_ISA_NAME "avx2"
#define OCTAVO_KERNELS kernels_avx2
#include "cpu/isa/kernels.inc"

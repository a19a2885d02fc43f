#define OCTAVO_ISA_AVX512VNNI
#define OCTAVO_ISA_NAME "avx512vnni"
#define OCTAVO_KERNELS kernels_avx512vnni
#include "cpu/isa/kernels.inc"

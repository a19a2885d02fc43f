#define OCTAVO_ISA_BASELINE
#define OCTAVO_ISA_NAME "baseline"
#define OCTAVO_KERNELS kernels_baseline
#include "cpu/isa/kernels.inc"

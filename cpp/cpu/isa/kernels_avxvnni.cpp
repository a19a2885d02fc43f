#define OCTAVO_ISA_AVXVNNI
#define OCTAVO_ISA_NAME "avxvnni"
#define OCTAVO_KERNELS kernels_avxvnni
#include "cpu/isa/kernels.inc"

#define OCTAVO_ISA_AVXVNNI
#define OCTAVO_AVXVNNI_EVEX
#define OCTAVO_ISA_NAME "avxvnni_evex"
#define OCTAVO_KERNELS kernels_avxvnni_evex
#include "cpu/isa/kernels.inc"

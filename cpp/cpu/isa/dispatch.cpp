// Chooses the kernels of the best instruction set that this CPU and its operating system support.
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "backend.h"
#include "cpu/isa/kernels.h"
#include "os/os.h"

namespace octavo {

namespace cpu {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool (*supported)();
};

// A set of kernels and the matrix registers beside its vectors.
[[maybe_unused]] Kernels with_matrix(Kernels kernels, const MatrixKernels& matrix, const char* isa) {
  kernels.isa = isa;
  kernels.matrix = &matrix;
  return kernels;
}
bool always() { return true; }
#if defined(OCTAVO_PLAIN_TILES)
const Kernels kernels_plain_tiles = with_matrix(kernels_baseline, matrix_plain, "plain_tiles");
#endif

#if defined(__x86_64__)
// The compiler's runtime checks also ask (xgetbv) whether the system saves the registers.
#if defined(__clang__) && __clang_major__ < 18  // knows fewer names; every CPU with AVX2 has f16c
bool has_f16c() { return __builtin_cpu_supports("avx2"); }
bool has_v4() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
bool has_f16c() { return __builtin_cpu_supports("f16c"); }
bool has_v4() { return __builtin_cpu_supports("x86-64-v4"); }
#endif
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
         __builtin_cpu_supports("bmi2");
}
bool has_avx512vnni() { return has_v4() && __builtin_cpu_supports("avx512vnni"); }
// Compilers that octavo builds with do not all know its name: bit 4 of EAX in CPUID's leaf 7, subleaf 1. It needs no
// more of the system than AVX2 does.
bool has_avxvnni() {
  unsigned subleaves = 0, a = 0, b = 0, c = 0, d = 0;
  return has_avx2() && __get_cpuid_count(7, 0, &subleaves, &b, &c, &d) && subleaves >= 1 &&
         __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) != 0;
}
// CPUID's leaf 7, EDX: AMX-TILE and AMX-INT8. Whether a process may use tiles is for the system to say.
bool has_avx512amx() {
  constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512vnni() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tile) != 0 && (d & int8) != 0 &&
         os::permit_tiles();
}
const Kernels kernels_avx512amx = with_matrix(kernels_avx512vnni, matrix_amx, "avx512amx");
// Best first. The copies are for tests and benchmarks, and behind what they stand in for.
const Candidate candidates[] = {{&kernels_avx512amx, has_avx512amx},
                                {&kernels_avx512vnni, has_avx512vnni},
                                {&kernels_avxvnni, has_avxvnni},
                                {&kernels_avx2, has_avx2},
#if defined(OCTAVO_KERNEL_COPIES)
                                {&kernels_avxvnni_evex, has_avx512vnni},
#endif
                                {&kernels_baseline, always},
#if defined(OCTAVO_PLAIN_TILES)
                                {&kernels_plain_tiles, always},
#endif
};
#else
bool has_neon_dot() {
  const os::ArmFeatures features = os::arm_features();
  return features.dot_product && features.half_precision;
}
bool has_neon_i8mm() { return has_neon_dot() && os::arm_features().int8_matrices; }
const Candidate candidates[] = {{&kernels_neon_i8mm, has_neon_i8mm},
                                {&kernels_neon, has_neon_dot},
                                {&kernels_baseline, always},
#if defined(OCTAVO_PLAIN_TILES)
                                {&kernels_plain_tiles, always},
#endif
};
#endif

}  // namespace

const Kernels* kernels_find(const char* isa) {
  for (const Candidate& c : candidates)
    if (c.supported() && (isa == nullptr || std::strcmp(isa, c.kernels->isa) == 0)) return c.kernels;
  return nullptr;
}

}  // namespace cpu

const char* const* cpu_isas() {
  struct List {
    const char* names[sizeof(cpu::candidates) / sizeof(cpu::candidates[0]) + 1] = {};
    List() {
      int n = 0;
      for (const cpu::Candidate& c : cpu::candidates)
        if (c.supported()) names[n++] = c.kernels->isa;
    }
  };
  static const List list;
  return list.names;
}

}  // namespace octavo

// Integer dots of cpp/cpu/isa/simd/simd.h on AVX-VNNI: vpdpbusd on 256 bits, as on AVX-512. Included by simd_avx2.h. The
// instruction is written out, so that one word of it decides how it is encoded: with EVEX in front the very same
// kernels run on a CPU with AVX-512 VNNI and VL that has no AVX-VNNI. Tests and benchmarks build such a copy
// (kernels_avxvnni_evex.cpp).

#if defined(OCTAVO_AVXVNNI_EVEX)
#define OCTAVO_DPBUSD "%{evex%} vpdpbusd"
#else
#define OCTAVO_DPBUSD "%{vex%} vpdpbusd"
#endif

SIMD_FN __m256i dot_half(__m256i acc, __m256i w, __m256i x) {
  __asm__(OCTAVO_DPBUSD " %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
  return acc;
}
SIMD_FN i32x16 dot_step(i32x16 acc, Codes w, Quad x) { return {dot_half(acc.a, w.a, x), dot_half(acc.b, w.b, x)}; }
constexpr int byte_offset = 128;
SIMD_FN Codes bytes_prepare(Codes c) { return c; }
#include "cpu/isa/simd/dots_wide.h"

// 12 independent chains of vpdpbusd, 64 operations each.
SIMD_FN double int8_operations_loop(std::int64_t rounds) {
  const __m256i ones = _mm256_set1_epi8(1);
  i32x16 acc[6] = {i_set(0), i_set(0), i_set(0), i_set(0), i_set(0), i_set(0)};
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      acc[i] = dot_step(acc[i], {ones, ones}, ones);
      __asm__ volatile("" : "+x"(acc[i].a), "+x"(acc[i].b));
    }
  }
  return static_cast<double>(rounds) * 12 * 64;
}

// 16 virtual lanes of f32 (f32x16) and int32 (i32x16), one implementation per instruction set, chosen by the macro that
// cpp/cpu/kernels_<isa>.cpp defines. Every operation is one correctly rounded step per lane, so the same kernel source
// gives the same bits everywhere. Everything is force-inlined in an unnamed namespace: nothing compiled for a higher
// instruction set can be picked by the linker for code that runs on a lower one.
//
// Integer dots: `Quad` is four int8 activations in every lane, `Codes` 16 lanes x 4 weight bytes.
//   small_*  weights 0..15; a group's sum of 32 products is collected in a SmallDot
//   unsigned_dot  weights 0..127
//   byte_*   weights stored with the sign bit flipped; byte_offset is what the stored form adds to them when it is used
//            as it is (128, to be taken back by the caller through the start value), or 0
// With unpacks_tiles all of them are the same operation on 64 bytes, which codes_store keeps,
// now and then less what they are above the weight's own numbers (codes_minus).
// RowPairs: 16 rows' two whole numbers, signed bytes side by side or (_low) the low nibbles of bytes. pairs_dot is
// first * a + second * b, for a and b of 16 bits. pair_factors makes the first or second of them ready to be multiplied
// with codes in their bytes, row_bias 128 - 4 * factor; codes_times is codes * factor, codes_times_plus codes * factor
// + bias. Every result must lie in 0..255. f_load_pair_high: the high nibble of the first or second of two bytes a row.
// f_stream stores past the caches (p at a cache line) where the machine can; stream_fence orders it before what
// follows. With paired_dots there is also pair_dots: whole groups of several tokens at once, by products of small
// matrices.
#pragma once
#include <cstdint>
#include <cstring>

// The baseline's operations are loops of their own: inlining them everywhere would only take the compiler minutes.
#if defined(OCTAVO_ISA_BASELINE)
#define SIMD_FN static inline
#else
#define SIMD_FN static inline __attribute__((always_inline))
#endif

#if defined(OCTAVO_ISA_AVX512VNNI)
#include "cpu/isa/simd/simd_avx512vnni.h"
#elif defined(OCTAVO_ISA_AVX2) || defined(OCTAVO_ISA_AVXVNNI)
#include "cpu/isa/simd/simd_avx2.h"
#elif defined(OCTAVO_ISA_NEON)
#include "cpu/isa/simd/simd_neon.h"
#elif defined(OCTAVO_ISA_NEON_I8MM)
#include "cpu/isa/simd/simd_neon.h"
#include "cpu/isa/simd/simd_neon_i8mm.h"
#else
#include "cpu/isa/simd/simd_baseline.h"
#endif

namespace {

#if defined(OCTAVO_ISA_NEON_I8MM)
constexpr bool paired_dots = true;
#else
constexpr bool paired_dots = false;
#endif

// exp(x) of docs/numerics.md, lane by lane, is (fma(p, f * f, f) + 1) * power, with power = 2^n.
struct ExpParts {
  f32x16 f, p, power;
};
SIMD_FN ExpParts f_exp_parts(f32x16 x) {
  const f32x16 n = f_rint(f_mul(x, f_set(1.44269504f)));
  f32x16 f = f_fma(n, f_set(-0.693359375f), x);
  f = f_fma(n, f_set(2.12194440e-4f), f);
  f32x16 p = f_set(1.9875691500e-4f);
  p = f_fma(p, f, f_set(1.3981999507e-3f));
  p = f_fma(p, f, f_set(8.3334519073e-3f));
  p = f_fma(p, f, f_set(4.1665795894e-2f));
  p = f_fma(p, f, f_set(1.6666665459e-1f));
  p = f_fma(p, f, f_set(5.0000001201e-1f));
  return {f, p, f_power_of_two(n)};
}
SIMD_FN f32x16 f_exp(f32x16 x) {
  const ExpParts e = f_exp_parts(f_min(f_max(x, f_set(-87.0f)), f_set(88.0f)));
  return f_mul(f_add(f_fma(e.p, f_mul(e.f, e.f), e.f), f_set(1.0f)), e.power);
}

}  // namespace

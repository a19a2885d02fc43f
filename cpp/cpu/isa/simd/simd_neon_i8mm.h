// What arm64 with int8 matrix products (smmla) adds to simd_neon.h: a product of 2 rows x 8 k with 8 k x 2 tokens has
// twice the multiplications of a dot product. Two neighbouring code vectors, woven together, are rows of 8 k.
#pragma once

namespace {

// A code vector's number as a type, for operands that differ in more than their address.
template <int v>
struct VectorNumber {
  static constexpr int value = v;
};

// [token pair][row pair]: lanes row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1.
template <int T>
struct PairSums {
  static constexpr int pairs = (T + 1) / 2;
  int32x4_t of[pairs][8];
};

SIMD_FN int8x16_t weave_low(int8x16_t x, int8x16_t y) {
  return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(x), vreinterpretq_s32_s8(y)));
}
SIMD_FN int8x16_t weave_high(int8x16_t x, int8x16_t y) {
  return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(x), vreinterpretq_s32_s8(y)));
}

template <int v, int end, int T, class Operand>
SIMD_FN void pair_steps(PairSums<T>& sums, const std::int8_t* q, int token_bytes, const Operand& operand) {
  if constexpr (v < end) {
    const Codes x = operand(VectorNumber<v>{}), y = operand(VectorNumber<v + 1>{});
    const int8x16_t rows[8] = {weave_low(x.a, y.a), weave_high(x.a, y.a), weave_low(x.b, y.b), weave_high(x.b, y.b),
                               weave_low(x.c, y.c), weave_high(x.c, y.c), weave_low(x.d, y.d), weave_high(x.d, y.d)};
#pragma GCC unroll 4
    for (int p = 0; p < PairSums<T>::pairs; ++p) {
      const std::int8_t* const first = q + 2 * p * token_bytes + 4 * v;  // an odd T: the last token twice
      const int8x16_t tokens = vcombine_s8(vld1_s8(first), vld1_s8(2 * p + 1 < T ? first + token_bytes : first));
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sums.of[p][i] = vmmlaq_s32(sums.of[p][i], rows[i], tokens);
    }
    pair_steps<v + 2, end>(sums, q, token_bytes, operand);
  }
}

// dots[t] = code vectors [begin, end) (both even) of 16 rows times token t's bytes 4 begin .. 4 end; tokens are
// token_bytes apart.
template <int begin, int end, int T, class Operand>
SIMD_FN void pair_dots(i32x16 (&dots)[T], const std::int8_t* q, int token_bytes, const Operand& operand) {
  PairSums<T> sums;
  for (auto& pair : sums.of)
    for (int32x4_t& sum : pair) sum = vdupq_n_s32(0);
  pair_steps<begin, end>(sums, q, token_bytes, operand);
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    const int32x4_t* const s = sums.of[t / 2];
    if (t % 2 == 0)
      dots[t] = {vuzp1q_s32(s[0], s[1]), vuzp1q_s32(s[2], s[3]), vuzp1q_s32(s[4], s[5]), vuzp1q_s32(s[6], s[7])};
    else dots[t] = {vuzp2q_s32(s[0], s[1]), vuzp2q_s32(s[2], s[3]), vuzp2q_s32(s[4], s[5]), vuzp2q_s32(s[6], s[7])};
  }
}

// 16 independent chains of smmla, 64 operations each.
SIMD_FN double int8_operations_loop(std::int64_t rounds) {
  const int8x16_t w = vdupq_n_s8(1), x = vdupq_n_s8(1);
  int32x4_t acc[16];
  for (int i = 0; i < 16; ++i) acc[i] = vdupq_n_s32(0);
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      acc[i] = vmmlaq_s32(acc[i], w, x);
      __asm__ volatile("" : "+w"(acc[i]));
    }
  }
  return static_cast<double>(rounds) * 16 * 64;
}

}  // namespace

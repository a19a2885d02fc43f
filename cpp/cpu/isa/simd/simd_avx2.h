// cpp/cpu/isa/simd/simd.h on AVX2 with FMA and F16C: 16 lanes are two registers. The integer dots are those of the set.
#pragma once
#include <immintrin.h>

namespace {

struct f32x16 {
  __m256 a, b;
};
struct i32x16 {
  __m256i a, b;
};

SIMD_FN f32x16 f_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
SIMD_FN f32x16 f_set(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
SIMD_FN f32x16 f_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
SIMD_FN void f_store(float* p, f32x16 v) {
  _mm256_storeu_ps(p, v.a);
  _mm256_storeu_ps(p + 8, v.b);
}
SIMD_FN void f_stream(float* p, f32x16 v) {
  _mm256_stream_ps(p, v.a);
  _mm256_stream_ps(p + 8, v.b);
}
SIMD_FN void stream_fence() { _mm_sfence(); }
SIMD_FN f32x16 f_add(f32x16 x, f32x16 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
SIMD_FN f32x16 f_sub(f32x16 x, f32x16 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
SIMD_FN f32x16 f_mul(f32x16 x, f32x16 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
SIMD_FN f32x16 f_div(f32x16 x, f32x16 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
SIMD_FN f32x16 f_fma(f32x16 x, f32x16 y, f32x16 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
SIMD_FN f32x16 f_max(f32x16 x, f32x16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
SIMD_FN f32x16 f_min(f32x16 x, f32x16 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
SIMD_FN f32x16 f_abs(f32x16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
SIMD_FN f32x16 f_rint(f32x16 x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SIMD_FN f32x16 f_from_int(i32x16 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
SIMD_FN __m128i load_eight_halves(const std::uint16_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
SIMD_FN f32x16 f_load_f16(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(load_eight_halves(p)), _mm256_cvtph_ps(load_eight_halves(p + 8))};
}
SIMD_FN f32x16 f_load_bf16(const std::uint16_t* p) {
  const __m256i a = _mm256_cvtepu16_epi32(load_eight_halves(p)), b = _mm256_cvtepu16_epi32(load_eight_halves(p + 8));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
}
SIMD_FN __m128i load_eight_bytes(const std::uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
SIMD_FN f32x16 f_load_u8(const std::uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_eight_bytes(p))),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_eight_bytes(p + 8)))};
}
SIMD_FN f32x16 f_load_i8(const std::uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_eight_bytes(p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_eight_bytes(p + 8)))};
}
SIMD_FN __m128i load_sixteen_bytes(const std::uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
template <int which>
SIMD_FN __m256 pair_high_half(__m256i words) {
  const __m256i high = _mm256_srli_epi32(words, which == 0 ? 4 : 20);
  return _mm256_cvtepi32_ps(which == 0 ? _mm256_and_si256(high, _mm256_set1_epi32(15)) : high);
}
template <int which>
SIMD_FN f32x16 f_load_pair_high(const std::uint8_t* p) {
  return {pair_high_half<which>(_mm256_cvtepu8_epi16(load_sixteen_bytes(p))),
          pair_high_half<which>(_mm256_cvtepu8_epi16(load_sixteen_bytes(p + 16)))};
}
// 64 codes of fp8 (dwords of 4), exactly and times 2^-96: member v of the 16 dwords is out[v]. s eeee mmm becomes the
// f32 s 0001eeee mmm0...; first as the upper half of it, in words. One code in some thousand is subnormal or
// zero: what the raised exponent made of it is settled then, since a product with a subnormal f32 takes these CPUs a
// hundred cycles.
SIMD_FN __m256 upper_fp8(__m256i words) {
  return _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0x87F00000u))),
                                             _mm256_set1_epi32(1 << 27)));
}
SIMD_FN __m256 lower_fp8(__m256i words) { return upper_fp8(_mm256_slli_epi32(words, 16)); }
constexpr float fp8_raised = 0x1p16f;
SIMD_FN __m256 settled_fp8(__m256 raised) {
  const __m256i bits = _mm256_castps_si256(raised), sign = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  const __m256i small =
      _mm256_cmpeq_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x07800000)), _mm256_setzero_si256());
  const __m256 above =
      _mm256_castsi256_ps(_mm256_add_epi32(_mm256_andnot_si256(sign, bits), _mm256_set1_epi32(1 << 23)));
  const __m256i magnitude = _mm256_castps_si256(_mm256_sub_ps(above, _mm256_set1_ps(0x1p-110f)));
  return _mm256_blendv_ps(raised, _mm256_castsi256_ps(_mm256_or_si256(magnitude, _mm256_and_si256(bits, sign))),
                          _mm256_castsi256_ps(small));
}
SIMD_FN void f_expand_fp8(const std::uint8_t* p, f32x16* out) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32));
  const __m256i even_a = _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 4), odd_a = _mm256_srai_epi16(a, 4),
                even_b = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 4), odd_b = _mm256_srai_epi16(b, 4);
  const auto expand = [&](auto settled) {
    out[0] = {settled(lower_fp8(even_a)), settled(lower_fp8(even_b))};
    out[1] = {settled(lower_fp8(odd_a)), settled(lower_fp8(odd_b))};
    out[2] = {settled(upper_fp8(even_a)), settled(upper_fp8(even_b))};
    out[3] = {settled(upper_fp8(odd_a)), settled(upper_fp8(odd_b))};
  };
  const auto without_exponent = [](__m256i codes) {
    return _mm256_cmpeq_epi8(_mm256_and_si256(codes, _mm256_set1_epi8(0x78)), _mm256_setzero_si256());
  };
  if (_mm256_movemask_epi8(_mm256_or_si256(without_exponent(a), without_exponent(b))) != 0) [[unlikely]]
    expand([](__m256 raised) { return settled_fp8(raised); });
  else
    expand([](__m256 raised) { return raised; });
}
// Saturates at 65504; min and max return their second operand for a NaN, which keeps it.
SIMD_FN __m128i saturated_halves(__m256 v) {
  v = _mm256_max_ps(_mm256_set1_ps(-65504.0f), _mm256_min_ps(_mm256_set1_ps(65504.0f), v));
  return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SIMD_FN void f_store_f16(std::uint16_t* p, f32x16 v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), saturated_halves(v.a));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), saturated_halves(v.b));
}
// 2^n for integral n in [-126, 127]
SIMD_FN __m256 power_of_two_half(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
SIMD_FN f32x16 f_power_of_two(f32x16 n) { return {power_of_two_half(n.a), power_of_two_half(n.b)}; }
// Lanes [begin, end) of a, elsewhere b.
SIMD_FN __m256 keep_half(__m256 x, int begin, int end, __m256 other, __m256i lanes) {
  const __m256i inside = _mm256_and_si256(_mm256_cmpgt_epi32(lanes, _mm256_set1_epi32(begin - 1)),
                                          _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lanes));
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(inside));
}
SIMD_FN f32x16 f_keep(f32x16 x, int begin, int end, f32x16 other) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {keep_half(x.a, begin, end, other.a, lanes), keep_half(x.b, begin - 8, end - 8, other.b, lanes)};
}
SIMD_FN float f_first(f32x16 x) { return _mm256_cvtss_f32(x.a); }
SIMD_FN float f_reduce_max(f32x16 x) {
  const __m256 m = _mm256_max_ps(x.a, x.b);
  const __m128 y = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
  const __m128 z = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(z, _mm_shuffle_ps(z, z, 1)));
}
// The largest |lane| of both; a NaN counts as the largest (its bits are above infinity's).
SIMD_FN __m256i magnitude_bits(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7FFFFFFF));
}
SIMD_FN float f_largest_magnitude(f32x16 x, f32x16 y) {
  const __m256i m = _mm256_max_epi32(_mm256_max_epi32(magnitude_bits(x.a), magnitude_bits(x.b)),
                                     _mm256_max_epi32(magnitude_bits(y.a), magnitude_bits(y.b)));
  __m128i z = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
  z = _mm_max_epi32(z, _mm_shuffle_epi32(z, 0x4E));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(z, _mm_shuffle_epi32(z, 0xB1))));
}
// The tree of docs/numerics.md: distance 8, 4, 2, 1.
SIMD_FN float f_sum_tree(f32x16 v) {
  const __m256 x = _mm256_add_ps(v.a, v.b);
  const __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 z = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(z, _mm_shuffle_ps(z, z, 1)));
}

// Pairs (u, v) in neighbouring lanes.
SIMD_FN f32x16 f_dup_even(f32x16 x) { return {_mm256_moveldup_ps(x.a), _mm256_moveldup_ps(x.b)}; }
SIMD_FN f32x16 f_dup_odd(f32x16 x) { return {_mm256_movehdup_ps(x.a), _mm256_movehdup_ps(x.b)}; }
SIMD_FN f32x16 f_swap_pairs(f32x16 x) { return {_mm256_permute_ps(x.a, 0xB1), _mm256_permute_ps(x.b, 0xB1)}; }
SIMD_FN f32x16 f_negate_even(f32x16 x) {
  const __m256 signs = _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000ll));
  return {_mm256_xor_ps(x.a, signs), _mm256_xor_ps(x.b, signs)};
}
// 8 pairs: first and second members.
SIMD_FN void load_eight_pairs(const float* p, __m256& first, __m256& second) {
  const __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
  const __m256 low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
  first = _mm256_shuffle_ps(low, high, 0x88);
  second = _mm256_shuffle_ps(low, high, 0xDD);
}
SIMD_FN void f_load_pairs(const float* p, f32x16& first, f32x16& second) {
  load_eight_pairs(p, first.a, second.a);
  load_eight_pairs(p + 16, first.b, second.b);
}

SIMD_FN __m256i load_32_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
SIMD_FN i32x16 i_load(const void* p) { return {load_32_bytes(p), load_32_bytes(static_cast<const char*>(p) + 32)}; }
SIMD_FN i32x16 i_add(i32x16 x, i32x16 y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
SIMD_FN i32x16 i_sub(i32x16 x, i32x16 y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
SIMD_FN i32x16 i_shift_left_7(i32x16 x) { return {_mm256_slli_epi32(x.a, 7), _mm256_slli_epi32(x.b, 7)}; }
SIMD_FN i32x16 i_shift_right_7(i32x16 x) { return {_mm256_srai_epi32(x.a, 7), _mm256_srai_epi32(x.b, 7)}; }
SIMD_FN i32x16 i_set(int v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
SIMD_FN i32x16 i_from_float(f32x16 x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }  // nearest even
SIMD_FN int i_reduce_add(i32x16 x) {
  const __m256i s = _mm256_add_epi32(x.a, x.b);
  __m128i y = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xB1)));
}
SIMD_FN void i_store_bytes(std::int8_t* p, i32x16 x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

using Quad = __m256i;
struct Codes {
  __m256i a, b;
};
SIMD_FN Quad quad_load(const std::int8_t* p) {
  int v;
  std::memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}
SIMD_FN Codes codes_load(const std::uint8_t* p) { return {load_32_bytes(p), load_32_bytes(p + 32)}; }
SIMD_FN void codes_store(std::uint8_t* p, Codes c) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), c.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), c.b);
}
SIMD_FN Codes codes_set(int v) {
  const __m256i all = _mm256_set1_epi8(static_cast<char>(v));
  return {all, all};
}
SIMD_FN Codes codes_minus(Codes c, Codes d) { return {_mm256_sub_epi8(c.a, d.a), _mm256_sub_epi8(c.b, d.b)}; }
SIMD_FN Codes codes_low(Codes c) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(c.a, mask), _mm256_and_si256(c.b, mask)};
}
SIMD_FN Codes codes_high(Codes c) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srli_epi16(c.a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(c.b, 4), mask)};
}

#if defined(OCTAVO_ISA_AVXVNNI)
#include "cpu/isa/simd/dots_avxvnni.h"
#else
#include "cpu/isa/simd/dots_avx2.h"
#endif

// codes | (bits moved up by `shift` & mask): the mask keeps what comes from a neighbouring byte out.
template <int shift, int mask>
SIMD_FN __m256i with_bits_half(__m256i codes, __m256i bits) {
  const __m256i moved = shift >= 0 ? _mm256_slli_epi16(bits, shift) : _mm256_srli_epi16(bits, -shift);
  return _mm256_or_si256(codes, _mm256_and_si256(moved, _mm256_set1_epi8(mask)));
}
template <int shift, int mask>
SIMD_FN Codes codes_with_bits(Codes codes, Codes bits) {
  return {with_bits_half<shift, mask>(codes.a, bits.a), with_bits_half<shift, mask>(codes.b, bits.b)};
}
SIMD_FN Codes codes_lookup(Codes nibbles, const std::uint8_t* table16) {
  const __m256i table = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table16)));
  return {_mm256_shuffle_epi8(table, nibbles.a), _mm256_shuffle_epi8(table, nibbles.b)};
}

template <int shift>
SIMD_FN Codes codes_pair(Codes c) {
  const __m256i mask = _mm256_set1_epi8(3);
  return {_mm256_and_si256(_mm256_srli_epi16(c.a, shift), mask), _mm256_and_si256(_mm256_srli_epi16(c.b, shift), mask)};
}
struct RowPairs {
  __m256i a, b;  // words
};
SIMD_FN RowPairs pairs_load(const std::uint8_t* p) {
  return {_mm256_cvtepi8_epi16(load_sixteen_bytes(p)), _mm256_cvtepi8_epi16(load_sixteen_bytes(p + 16))};
}
SIMD_FN RowPairs pairs_load_low(const std::uint8_t* p) {
  const RowPairs pairs = pairs_load(p);
  const __m256i mask = _mm256_set1_epi16(15);
  return {_mm256_and_si256(pairs.a, mask), _mm256_and_si256(pairs.b, mask)};
}
SIMD_FN __m256i pairs_dot_half(__m256i a, __m256i b, __m256i factors) {
  return _mm256_madd_epi16(_mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xAA), factors);
}
SIMD_FN i32x16 pairs_dot(i32x16 a, i32x16 b, RowPairs factors) {
  return {pairs_dot_half(a.a, b.a, factors.a), pairs_dot_half(a.b, b.b, factors.b)};
}
// A row's factor in both words of its dword: a word's product is that of its two bytes where none leaves its byte.
template <int which>
SIMD_FN Codes pair_factors(RowPairs pairs) {
  constexpr int twice = which == 0 ? 0x01000100 : 0x03020302, next = 0x04040404;
  const __m256i both =
      _mm256_broadcastsi128_si256(_mm_setr_epi32(twice, twice + next, twice + 2 * next, twice + 3 * next));
  return {_mm256_shuffle_epi8(pairs.a, both), _mm256_shuffle_epi8(pairs.b, both)};
}
SIMD_FN __m256i bias_half(__m256i factors) {  // 257 * (128 - 4 * factor)
  return _mm256_sub_epi16(_mm256_set1_epi8(-128), _mm256_mullo_epi16(factors, _mm256_set1_epi16(1028)));
}
SIMD_FN Codes row_bias(Codes factors) { return {bias_half(factors.a), bias_half(factors.b)}; }
SIMD_FN Codes codes_times(Codes c, Codes factors) {
  return {_mm256_mullo_epi16(c.a, factors.a), _mm256_mullo_epi16(c.b, factors.b)};
}
SIMD_FN Codes codes_times_plus(Codes c, Codes factors, Codes bias) {
  return {_mm256_add_epi16(_mm256_mullo_epi16(c.a, factors.a), bias.a),
          _mm256_add_epi16(_mm256_mullo_epi16(c.b, factors.b), bias.b)};
}

SIMD_FN void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

// 16 registers: half a tile at a time, and few tokens.
constexpr int small_panel = 4, medium_panel = 4, large_panel = 4, float_panel_tokens = 3, float_tiles_at_once = 2;
constexpr int halves_at_once = 1, attention_rows = 3, attention_int8_rows = 2, fma_chains = 6;
constexpr int one_token_chains = 1;
#if defined(OCTAVO_ISA_AVXVNNI)
constexpr bool unpacks_tiles = true;
#else
constexpr bool unpacks_tiles = false;
#endif

}  // namespace

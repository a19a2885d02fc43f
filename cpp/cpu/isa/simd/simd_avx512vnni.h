// cpp/cpu/isa/simd/simd.h on AVX-512 with VNNI: 16 lanes are one register.
#pragma once
// GCC's own header builds its "undefined" values in a way that its own warning objects to.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

namespace {

using f32x16 = __m512;
using i32x16 = __m512i;

SIMD_FN f32x16 f_zero() { return _mm512_setzero_ps(); }
SIMD_FN f32x16 f_set(float v) { return _mm512_set1_ps(v); }
SIMD_FN f32x16 f_load(const float* p) { return _mm512_loadu_ps(p); }
SIMD_FN void f_store(float* p, f32x16 v) { _mm512_storeu_ps(p, v); }
SIMD_FN void f_stream(float* p, f32x16 v) { _mm512_stream_ps(p, v); }
SIMD_FN void stream_fence() { _mm_sfence(); }
SIMD_FN f32x16 f_add(f32x16 a, f32x16 b) { return _mm512_add_ps(a, b); }
SIMD_FN f32x16 f_sub(f32x16 a, f32x16 b) { return _mm512_sub_ps(a, b); }
SIMD_FN f32x16 f_mul(f32x16 a, f32x16 b) { return _mm512_mul_ps(a, b); }
SIMD_FN f32x16 f_div(f32x16 a, f32x16 b) { return _mm512_div_ps(a, b); }
SIMD_FN f32x16 f_fma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_FN f32x16 f_max(f32x16 a, f32x16 b) { return _mm512_max_ps(a, b); }
SIMD_FN f32x16 f_min(f32x16 a, f32x16 b) { return _mm512_min_ps(a, b); }
SIMD_FN f32x16 f_abs(f32x16 a) { return _mm512_abs_ps(a); }
SIMD_FN f32x16 f_rint(f32x16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
SIMD_FN f32x16 f_from_int(i32x16 a) { return _mm512_cvtepi32_ps(a); }
SIMD_FN f32x16 f_load_f16(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SIMD_FN f32x16 f_load_bf16(const std::uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
SIMD_FN f32x16 f_load_u8(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
SIMD_FN f32x16 f_load_i8(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
template <int which>
SIMD_FN f32x16 f_load_pair_high(const std::uint8_t* p) {
  const __m512i words = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  const __m512i high = _mm512_srli_epi32(words, which == 0 ? 4 : 20);
  return _mm512_cvtepi32_ps(which == 0 ? _mm512_and_si512(high, _mm512_set1_epi32(15)) : high);
}
// 64 codes of fp8 (dwords of 4), exactly and times 2^-96: member v of the 16 dwords is out[v]. s eeee mmm becomes the
// f32 s 0001eeee mmm0...; first as the upper half of it, in words. One code in some thousand is subnormal or
// zero: what the raised exponent made of it is settled then, since a product with a subnormal f32 takes these CPUs a
// hundred cycles.
constexpr float fp8_raised = 0x1p16f;
SIMD_FN __m512 settled_fp8(__m512 raised) {
  const __m512i bits = _mm512_castps_si512(raised), sign = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  const __mmask16 small = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x07800000));
  const __m512 above =
      _mm512_castsi512_ps(_mm512_add_epi32(_mm512_andnot_si512(sign, bits), _mm512_set1_epi32(1 << 23)));
  const __m512i magnitude = _mm512_castps_si512(_mm512_sub_ps(above, _mm512_set1_ps(0x1p-110f)));
  return _mm512_mask_blend_ps(small, raised,
                              _mm512_castsi512_ps(_mm512_or_si512(magnitude, _mm512_and_si512(bits, sign))));
}
SIMD_FN void f_expand_fp8(const std::uint8_t* p, f32x16* out) {
  const __m512i x = _mm512_loadu_si512(p), mask = _mm512_set1_epi32(static_cast<int>(0x87F00000u));
  const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 4), odd = _mm512_srai_epi16(x, 4);
  const auto raised = [&](__m512i words) {
    constexpr int and_or = 0xEA;
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(words, mask, _mm512_set1_epi32(1 << 27), and_or));
  };
  out[0] = raised(_mm512_slli_epi32(even, 16));
  out[1] = raised(_mm512_slli_epi32(odd, 16));
  out[2] = raised(even);
  out[3] = raised(odd);
  if (_mm512_testn_epi8_mask(x, _mm512_set1_epi8(0x78)) != 0) [[unlikely]]
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) out[v] = settled_fp8(out[v]);
}
// Saturates at 65504; min and max return their second operand for a NaN, which keeps it.
SIMD_FN void f_store_f16(std::uint16_t* p, f32x16 v) {
  v = _mm512_max_ps(_mm512_set1_ps(-65504.0f), _mm512_min_ps(_mm512_set1_ps(65504.0f), v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
// 2^n for integral n in [-126, 127]
SIMD_FN f32x16 f_power_of_two(f32x16 n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}
// Lanes [begin, end) of a, elsewhere b.
SIMD_FN f32x16 f_keep(f32x16 a, int begin, int end, f32x16 b) {
  const unsigned mask = ((1u << end) - 1) & ~((1u << begin) - 1);
  return _mm512_mask_blend_ps(static_cast<__mmask16>(mask), b, a);
}
SIMD_FN float f_first(f32x16 a) { return _mm512_cvtss_f32(a); }
SIMD_FN float f_reduce_max(f32x16 a) { return _mm512_reduce_max_ps(a); }
// The largest |lane| of both; a NaN counts as the largest (its bits are above infinity's).
SIMD_FN float f_largest_magnitude(f32x16 a, f32x16 b) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  const __m512i x = _mm512_and_si512(_mm512_castps_si512(a), magnitude),
                y = _mm512_and_si512(_mm512_castps_si512(b), magnitude);
  const int bits = _mm512_reduce_max_epi32(_mm512_max_epi32(x, y));
  float largest;
  std::memcpy(&largest, &bits, 4);
  return largest;
}
// The tree of docs/numerics.md: distance 8, 4, 2, 1.
SIMD_FN float f_sum_tree(f32x16 a) {
  const __m256 x = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 z = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(z, _mm_shuffle_ps(z, z, 1)));
}

// Pairs (u, v) in neighbouring lanes.
SIMD_FN f32x16 f_dup_even(f32x16 a) { return _mm512_moveldup_ps(a); }
SIMD_FN f32x16 f_dup_odd(f32x16 a) { return _mm512_movehdup_ps(a); }
SIMD_FN f32x16 f_swap_pairs(f32x16 a) { return _mm512_permute_ps(a, 0xB1); }
SIMD_FN f32x16 f_negate_even(f32x16 a) {
  return _mm512_xor_ps(a, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000ll)));
}
// 16 pairs: first members, second members.
SIMD_FN void f_load_pairs(const float* p, f32x16& first, f32x16& second) {
  const __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  first = _mm512_permutex2var_ps(a, even, b);
  second = _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
}

SIMD_FN i32x16 i_load(const void* p) { return _mm512_loadu_si512(p); }
SIMD_FN i32x16 i_add(i32x16 a, i32x16 b) { return _mm512_add_epi32(a, b); }
SIMD_FN i32x16 i_sub(i32x16 a, i32x16 b) { return _mm512_sub_epi32(a, b); }
SIMD_FN i32x16 i_shift_left_7(i32x16 a) { return _mm512_slli_epi32(a, 7); }
SIMD_FN i32x16 i_shift_right_7(i32x16 a) { return _mm512_srai_epi32(a, 7); }
SIMD_FN i32x16 i_set(int v) { return _mm512_set1_epi32(v); }
SIMD_FN i32x16 i_from_float(f32x16 a) { return _mm512_cvtps_epi32(a); }  // nearest even
SIMD_FN int i_reduce_add(i32x16 a) { return _mm512_reduce_add_epi32(a); }
SIMD_FN void i_store_bytes(std::int8_t* p, i32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a));
}

using Quad = __m512i;
using Codes = __m512i;
SIMD_FN Quad quad_load(const std::int8_t* p) {
  int v;
  std::memcpy(&v, p, 4);
  return _mm512_set1_epi32(v);
}
// Loaded once: the compiler would fold the load into both the mask and the shift, and each reads the line for itself.
// For one token and in cache that costs a sixth of the kernel's speed.
SIMD_FN Codes codes_load(const std::uint8_t* p) {
  Codes codes = _mm512_loadu_si512(p);
  __asm__("" : "+v"(codes));
  return codes;
}
SIMD_FN void codes_store(std::uint8_t* p, Codes c) { _mm512_storeu_si512(p, c); }
SIMD_FN Codes codes_set(int v) { return _mm512_set1_epi8(static_cast<char>(v)); }
SIMD_FN Codes codes_minus(Codes c, Codes d) { return _mm512_sub_epi8(c, d); }
SIMD_FN Codes codes_low(Codes c) { return _mm512_and_si512(c, _mm512_set1_epi8(15)); }
SIMD_FN Codes codes_high(Codes c) { return _mm512_and_si512(_mm512_srli_epi16(c, 4), _mm512_set1_epi8(15)); }

SIMD_FN i32x16 dot_step(i32x16 acc, Codes w, Quad x) { return _mm512_dpbusd_epi32(acc, w, x); }
constexpr int byte_offset = 128;
SIMD_FN Codes bytes_prepare(Codes c) { return c; }
#include "cpu/isa/simd/dots_wide.h"

// codes | (bits moved up by `shift` & mask): the mask keeps what comes from a neighbouring byte out.
template <int shift, int mask>
SIMD_FN Codes codes_with_bits(Codes codes, Codes bits) {
  const __m512i moved = shift >= 0 ? _mm512_slli_epi16(bits, shift) : _mm512_srli_epi16(bits, -shift);
  return _mm512_ternarylogic_epi32(codes, moved, _mm512_set1_epi8(mask), 0xF8);
}
SIMD_FN Codes codes_lookup(Codes nibbles, const std::uint8_t* table16) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(table16)));
  return _mm512_shuffle_epi8(table, nibbles);
}

template <int shift>
SIMD_FN Codes codes_pair(Codes c) {
  return _mm512_and_si512(shift == 0 ? c : _mm512_srli_epi16(c, shift), _mm512_set1_epi8(3));
}
using RowPairs = __m512i;  // words
SIMD_FN RowPairs pairs_load(const std::uint8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SIMD_FN RowPairs pairs_load_low(const std::uint8_t* p) {
  return _mm512_and_si512(pairs_load(p), _mm512_set1_epi16(15));
}
SIMD_FN i32x16 pairs_dot(i32x16 a, i32x16 b, RowPairs factors) {
  return _mm512_madd_epi16(_mm512_mask_blend_epi16(0xAAAAAAAA, a, _mm512_slli_epi32(b, 16)), factors);
}
// A row's factor in both words of its dword: a word's product is that of its two bytes where none leaves its byte.
template <int which>
SIMD_FN Codes pair_factors(RowPairs pairs) {
  constexpr int twice = which == 0 ? 0x01000100 : 0x03020302, next = 0x04040404;
  return _mm512_shuffle_epi8(
      pairs, _mm512_broadcast_i32x4(_mm_setr_epi32(twice, twice + next, twice + 2 * next, twice + 3 * next)));
}
SIMD_FN Codes row_bias(Codes factors) {  // 257 * (128 - 4 * factor)
  return _mm512_sub_epi16(_mm512_set1_epi8(-128), _mm512_mullo_epi16(factors, _mm512_set1_epi16(1028)));
}
SIMD_FN Codes codes_times(Codes c, Codes factors) { return _mm512_mullo_epi16(c, factors); }
SIMD_FN Codes codes_times_plus(Codes c, Codes factors, Codes bias) {
  return _mm512_add_epi16(_mm512_mullo_epi16(c, factors), bias);
}

SIMD_FN void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

// Register blocking, measured: 32 rows x 5 tokens are 10 integer and 10 float accumulators of 32 registers.
constexpr int small_panel = 8, medium_panel = 6, large_panel = 5, float_panel_tokens = 8, float_tiles_at_once = 4;
constexpr int halves_at_once = 2, attention_rows = 8, attention_int8_rows = 8, fma_chains = 12;
constexpr int one_token_chains = 2;
constexpr bool unpacks_tiles = true;

// 12 independent chains of vpdpbusd, 128 operations each.
SIMD_FN double int8_operations_loop(std::int64_t rounds) {
  std::int64_t n = rounds;
  __asm__ volatile(
      "1:\n\t"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm0\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm1\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm2\n\t"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm3\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm4\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm5\n\t"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm6\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm7\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm8\n\t"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm9\n\tvpdpbusd %%zmm30, %%zmm31, %%zmm10\n\tvpdpbusd %%zmm30, %%zmm31, "
      "%%zmm11\n\t"
      "decq %0\n\tjnz 1b"
      : "+r"(n)
      :
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
  return static_cast<double>(rounds) * 12 * 128;
}

}  // namespace

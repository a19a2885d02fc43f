// cpp/cpu/isa/simd/simd.h on arm64 with dot product and fp16 (armv8.2): 16 lanes are four registers.
#pragma once
#include <arm_neon.h>

namespace {

struct f32x16 {
  float32x4_t a, b, c, d;
};
struct i32x16 {
  int32x4_t a, b, c, d;
};

SIMD_FN f32x16 f_set(float v) {
  const float32x4_t x = vdupq_n_f32(v);
  return {x, x, x, x};
}
SIMD_FN f32x16 f_zero() { return f_set(0.0f); }
SIMD_FN f32x16 f_load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
SIMD_FN void f_store(float* p, f32x16 v) {
  vst1q_f32(p, v.a);
  vst1q_f32(p + 4, v.b);
  vst1q_f32(p + 8, v.c);
  vst1q_f32(p + 12, v.d);
}
SIMD_FN void f_stream(float* p, f32x16 v) { f_store(p, v); }
SIMD_FN void stream_fence() {}
SIMD_FN f32x16 f_add(f32x16 x, f32x16 y) {
  return {vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b), vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d)};
}
SIMD_FN f32x16 f_sub(f32x16 x, f32x16 y) {
  return {vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b), vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d)};
}
SIMD_FN f32x16 f_mul(f32x16 x, f32x16 y) {
  return {vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b), vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d)};
}
SIMD_FN f32x16 f_div(f32x16 x, f32x16 y) {
  return {vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b), vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d)};
}
SIMD_FN f32x16 f_fma(f32x16 x, f32x16 y, f32x16 z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
SIMD_FN f32x16 f_max(f32x16 x, f32x16 y) {
  return {vmaxnmq_f32(x.a, y.a), vmaxnmq_f32(x.b, y.b), vmaxnmq_f32(x.c, y.c), vmaxnmq_f32(x.d, y.d)};
}
SIMD_FN f32x16 f_min(f32x16 x, f32x16 y) {
  return {vminnmq_f32(x.a, y.a), vminnmq_f32(x.b, y.b), vminnmq_f32(x.c, y.c), vminnmq_f32(x.d, y.d)};
}
SIMD_FN f32x16 f_abs(f32x16 x) { return {vabsq_f32(x.a), vabsq_f32(x.b), vabsq_f32(x.c), vabsq_f32(x.d)}; }
SIMD_FN f32x16 f_rint(f32x16 x) { return {vrndnq_f32(x.a), vrndnq_f32(x.b), vrndnq_f32(x.c), vrndnq_f32(x.d)}; }
SIMD_FN f32x16 f_from_int(i32x16 x) {
  return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)};
}
SIMD_FN f32x16 f_load_f16(const std::uint16_t* p) {
  const float16x8_t x = vreinterpretq_f16_u16(vld1q_u16(p)), y = vreinterpretq_f16_u16(vld1q_u16(p + 8));
  return {vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x), vcvt_f32_f16(vget_low_f16(y)), vcvt_high_f32_f16(y)};
}
SIMD_FN float32x4_t widen_bf16(uint16x4_t x) { return vreinterpretq_f32_u32(vshll_n_u16(x, 16)); }
SIMD_FN f32x16 f_load_bf16(const std::uint16_t* p) {
  return {widen_bf16(vld1_u16(p)), widen_bf16(vld1_u16(p + 4)), widen_bf16(vld1_u16(p + 8)),
          widen_bf16(vld1_u16(p + 12))};
}
SIMD_FN f32x16 f_load_u8(const std::uint8_t* p) {
  const uint8x16_t bytes = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
  return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
          vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))};
}
SIMD_FN f32x16 f_load_i8(const std::uint8_t* p) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
          vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))};
}
template <int which>
SIMD_FN f32x16 f_load_pair_high(const std::uint8_t* p) {
  std::uint8_t high[16];
  vst1q_u8(high, vshrq_n_u8(vld2q_u8(p).val[which], 4));
  return f_load_u8(high);
}
// 64 codes of fp8 (dwords of 4), exactly and times 2^-112: member v of the 16 dwords is out[v]. s eeee mmm becomes the
// f32 s 0000eeee mmm0..., subnormals included; first as the upper half of it, in words.
SIMD_FN float32x4_t upper_fp8(int16x8_t words) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_s16(words), vdupq_n_u32(0x87F00000u)));
}
SIMD_FN float32x4_t lower_fp8(int16x8_t words) {
  return upper_fp8(vreinterpretq_s16_s32(vshlq_n_s32(vreinterpretq_s32_s16(words), 16)));
}
constexpr float fp8_raised = 1;
SIMD_FN void f_expand_fp8(const std::uint8_t* p, f32x16* out) {
  int16x8_t even[4], odd[4];
  for (int i = 0; i < 4; ++i) {
    const int16x8_t x = vreinterpretq_s16_u8(vld1q_u8(p + 16 * i));
    even[i] = vshrq_n_s16(vshlq_n_s16(x, 8), 4);
    odd[i] = vshrq_n_s16(x, 4);
  }
  out[0] = {lower_fp8(even[0]), lower_fp8(even[1]), lower_fp8(even[2]), lower_fp8(even[3])};
  out[1] = {lower_fp8(odd[0]), lower_fp8(odd[1]), lower_fp8(odd[2]), lower_fp8(odd[3])};
  out[2] = {upper_fp8(even[0]), upper_fp8(even[1]), upper_fp8(even[2]), upper_fp8(even[3])};
  out[3] = {upper_fp8(odd[0]), upper_fp8(odd[1]), upper_fp8(odd[2]), upper_fp8(odd[3])};
}
// Saturates at 65504; vminq and vmaxq keep a NaN.
SIMD_FN void store_saturated_halves(std::uint16_t* p, float32x4_t v) {
  v = vmaxq_f32(vdupq_n_f32(-65504.0f), vminq_f32(vdupq_n_f32(65504.0f), v));
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}
SIMD_FN void f_store_f16(std::uint16_t* p, f32x16 v) {
  store_saturated_halves(p, v.a);
  store_saturated_halves(p + 4, v.b);
  store_saturated_halves(p + 8, v.c);
  store_saturated_halves(p + 12, v.d);
}
// 2^n for integral n in [-126, 127]
SIMD_FN float32x4_t power_of_two_quarter(float32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
SIMD_FN f32x16 f_power_of_two(f32x16 n) {
  return {power_of_two_quarter(n.a), power_of_two_quarter(n.b), power_of_two_quarter(n.c), power_of_two_quarter(n.d)};
}
// Lanes [begin, end) of a, elsewhere b.
SIMD_FN float32x4_t keep_quarter(float32x4_t x, int begin, int end, float32x4_t other) {
  const int first_lanes[4] = {0, 1, 2, 3};
  const int32x4_t lanes = vld1q_s32(first_lanes);
  return vbslq_f32(vandq_u32(vcgeq_s32(lanes, vdupq_n_s32(begin)), vcltq_s32(lanes, vdupq_n_s32(end))), x, other);
}
SIMD_FN f32x16 f_keep(f32x16 x, int begin, int end, f32x16 other) {
  return {keep_quarter(x.a, begin, end, other.a), keep_quarter(x.b, begin - 4, end - 4, other.b),
          keep_quarter(x.c, begin - 8, end - 8, other.c), keep_quarter(x.d, begin - 12, end - 12, other.d)};
}
SIMD_FN float f_first(f32x16 x) { return vgetq_lane_f32(x.a, 0); }
SIMD_FN float f_reduce_max(f32x16 x) { return vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(x.a, x.b), vmaxnmq_f32(x.c, x.d))); }
// The largest |lane| of both; a NaN counts as the largest.
SIMD_FN float f_largest_magnitude(f32x16 x, f32x16 y) {
  const f32x16 a = f_abs(x), b = f_abs(y);
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(vmaxq_f32(a.a, a.b), vmaxq_f32(a.c, a.d)),
                              vmaxq_f32(vmaxq_f32(b.a, b.b), vmaxq_f32(b.c, b.d))));
}
// The tree of docs/numerics.md: distance 8, 4, 2, 1.
SIMD_FN float f_sum_tree(f32x16 x) {
  const float32x4_t y = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
  const float32x2_t z = vadd_f32(vget_low_f32(y), vget_high_f32(y));
  return vget_lane_f32(z, 0) + vget_lane_f32(z, 1);
}

// Pairs (u, v) in neighbouring lanes.
SIMD_FN f32x16 f_dup_even(f32x16 x) {
  return {vtrn1q_f32(x.a, x.a), vtrn1q_f32(x.b, x.b), vtrn1q_f32(x.c, x.c), vtrn1q_f32(x.d, x.d)};
}
SIMD_FN f32x16 f_dup_odd(f32x16 x) {
  return {vtrn2q_f32(x.a, x.a), vtrn2q_f32(x.b, x.b), vtrn2q_f32(x.c, x.c), vtrn2q_f32(x.d, x.d)};
}
SIMD_FN f32x16 f_swap_pairs(f32x16 x) {
  return {vrev64q_f32(x.a), vrev64q_f32(x.b), vrev64q_f32(x.c), vrev64q_f32(x.d)};
}
SIMD_FN float32x4_t negate_even_quarter(float32x4_t x) {
  return vreinterpretq_f32_u64(veorq_u64(vreinterpretq_u64_f32(x), vdupq_n_u64(0x80000000ull)));
}
SIMD_FN f32x16 f_negate_even(f32x16 x) {
  return {negate_even_quarter(x.a), negate_even_quarter(x.b), negate_even_quarter(x.c), negate_even_quarter(x.d)};
}
// 16 pairs: first members, second members.
SIMD_FN void f_load_pairs(const float* p, f32x16& first, f32x16& second) {
  const float32x4x2_t a = vld2q_f32(p), b = vld2q_f32(p + 8), c = vld2q_f32(p + 16), d = vld2q_f32(p + 24);
  first = {a.val[0], b.val[0], c.val[0], d.val[0]};
  second = {a.val[1], b.val[1], c.val[1], d.val[1]};
}

SIMD_FN i32x16 i_load(const void* p) {
  const std::int32_t* q = static_cast<const std::int32_t*>(p);
  return {vld1q_s32(q), vld1q_s32(q + 4), vld1q_s32(q + 8), vld1q_s32(q + 12)};
}
SIMD_FN i32x16 i_add(i32x16 x, i32x16 y) {
  return {vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b), vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
}
SIMD_FN i32x16 i_sub(i32x16 x, i32x16 y) {
  return {vsubq_s32(x.a, y.a), vsubq_s32(x.b, y.b), vsubq_s32(x.c, y.c), vsubq_s32(x.d, y.d)};
}
SIMD_FN i32x16 i_shift_left_7(i32x16 x) {
  return {vshlq_n_s32(x.a, 7), vshlq_n_s32(x.b, 7), vshlq_n_s32(x.c, 7), vshlq_n_s32(x.d, 7)};
}
SIMD_FN i32x16 i_shift_right_7(i32x16 x) {
  return {vshrq_n_s32(x.a, 7), vshrq_n_s32(x.b, 7), vshrq_n_s32(x.c, 7), vshrq_n_s32(x.d, 7)};
}
SIMD_FN i32x16 i_set(int v) {
  const int32x4_t x = vdupq_n_s32(v);
  return {x, x, x, x};
}
SIMD_FN i32x16 i_from_float(f32x16 x) {
  return {vcvtnq_s32_f32(x.a), vcvtnq_s32_f32(x.b), vcvtnq_s32_f32(x.c), vcvtnq_s32_f32(x.d)};
}
SIMD_FN int i_reduce_add(i32x16 x) { return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d))); }
SIMD_FN void i_store_bytes(std::int8_t* p, i32x16 x) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(x.a), vqmovn_s32(x.b)),
                  high = vcombine_s16(vqmovn_s32(x.c), vqmovn_s32(x.d));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}

using Quad = int8x16_t;
struct Codes {
  int8x16_t a, b, c, d;
};
SIMD_FN Quad quad_load(const std::int8_t* p) {
  std::int32_t v;
  std::memcpy(&v, p, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(v));
}
SIMD_FN Codes codes_load(const std::uint8_t* p) {
  const std::int8_t* q = reinterpret_cast<const std::int8_t*>(p);
  return {vld1q_s8(q), vld1q_s8(q + 16), vld1q_s8(q + 32), vld1q_s8(q + 48)};
}
SIMD_FN void codes_store(std::uint8_t* p, Codes x) {
  std::int8_t* const q = reinterpret_cast<std::int8_t*>(p);
  vst1q_s8(q, x.a);
  vst1q_s8(q + 16, x.b);
  vst1q_s8(q + 32, x.c);
  vst1q_s8(q + 48, x.d);
}
SIMD_FN Codes codes_set(int v) {
  const int8x16_t all = vdupq_n_s8(static_cast<std::int8_t>(v));
  return {all, all, all, all};
}
SIMD_FN Codes codes_minus(Codes x, Codes y) {
  return {vsubq_s8(x.a, y.a), vsubq_s8(x.b, y.b), vsubq_s8(x.c, y.c), vsubq_s8(x.d, y.d)};
}
SIMD_FN Codes codes_low(Codes x) {
  const int8x16_t mask = vdupq_n_s8(15);
  return {vandq_s8(x.a, mask), vandq_s8(x.b, mask), vandq_s8(x.c, mask), vandq_s8(x.d, mask)};
}
SIMD_FN int8x16_t high_quarter(int8x16_t x) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(x), 4)); }
SIMD_FN Codes codes_high(Codes x) {
  return {high_quarter(x.a), high_quarter(x.b), high_quarter(x.c), high_quarter(x.d)};
}

SIMD_FN i32x16 dot_step(i32x16 acc, Codes w, Quad x) {
  return {vdotq_s32(acc.a, w.a, x), vdotq_s32(acc.b, w.b, x), vdotq_s32(acc.c, w.c, x), vdotq_s32(acc.d, w.d, x)};
}
constexpr int byte_offset = 0;
SIMD_FN Codes bytes_prepare(Codes x) {
  const int8x16_t flip = vdupq_n_s8(-128);
  return {veorq_s8(x.a, flip), veorq_s8(x.b, flip), veorq_s8(x.c, flip), veorq_s8(x.d, flip)};
}
#include "cpu/isa/simd/dots_wide.h"

// codes | (bits moved up by `shift` & mask)
template <int shift, int mask>
SIMD_FN int8x16_t with_bits_quarter(int8x16_t codes, int8x16_t bits) {
  const uint8x16_t moved = vshlq_u8(vreinterpretq_u8_s8(bits), vdupq_n_s8(shift));
  return vorrq_s8(codes, vandq_s8(vreinterpretq_s8_u8(moved), vdupq_n_s8(mask)));
}
template <int shift, int mask>
SIMD_FN Codes codes_with_bits(Codes codes, Codes bits) {
  return {with_bits_quarter<shift, mask>(codes.a, bits.a), with_bits_quarter<shift, mask>(codes.b, bits.b),
          with_bits_quarter<shift, mask>(codes.c, bits.c), with_bits_quarter<shift, mask>(codes.d, bits.d)};
}
SIMD_FN int8x16_t lookup_quarter(uint8x16_t table, int8x16_t nibbles) {
  return vreinterpretq_s8_u8(vqtbl1q_u8(table, vreinterpretq_u8_s8(nibbles)));
}
SIMD_FN Codes codes_lookup(Codes nibbles, const std::uint8_t* table16) {
  const uint8x16_t table = vld1q_u8(table16);
  return {lookup_quarter(table, nibbles.a), lookup_quarter(table, nibbles.b), lookup_quarter(table, nibbles.c),
          lookup_quarter(table, nibbles.d)};
}

template <int shift>
SIMD_FN int8x16_t pair_quarter(int8x16_t x) {
  const uint8x16_t moved = vshlq_u8(vreinterpretq_u8_s8(x), vdupq_n_s8(-shift));
  return vandq_s8(vreinterpretq_s8_u8(moved), vdupq_n_s8(3));
}
template <int shift>
SIMD_FN Codes codes_pair(Codes x) {
  return {pair_quarter<shift>(x.a), pair_quarter<shift>(x.b), pair_quarter<shift>(x.c), pair_quarter<shift>(x.d)};
}
// A row's factor in each byte of its dword.
SIMD_FN Codes in_four_bytes(int8x16_t factors) {
  const int32x4_t words[4] = {vdupq_n_s32(0x00000000), vdupq_n_s32(0x04040404), vdupq_n_s32(0x08080808),
                              vdupq_n_s32(0x0C0C0C0C)};
  const std::int32_t steps[4] = {0, 0x01010101, 0x02020202, 0x03030303};
  const int32x4_t step = vld1q_s32(steps);
  const auto quarter = [&](int i) {
    return vqtbl1q_s8(factors, vreinterpretq_u8_s32(vaddq_s32(words[i], step)));
  };
  return {quarter(0), quarter(1), quarter(2), quarter(3)};
}
using RowPairs = int8x16x2_t;
SIMD_FN RowPairs pairs_load(const std::uint8_t* p) { return vld2q_s8(reinterpret_cast<const std::int8_t*>(p)); }
SIMD_FN RowPairs pairs_load_low(const std::uint8_t* p) {
  const RowPairs pairs = pairs_load(p);
  return {{vandq_s8(pairs.val[0], vdupq_n_s8(15)), vandq_s8(pairs.val[1], vdupq_n_s8(15))}};
}
SIMD_FN i32x16 widen_bytes(int8x16_t x) {
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_s8(vget_high_s8(x));
  return {vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)),
          vmovl_s16(vget_high_s16(high))};
}
SIMD_FN i32x16 pairs_dot(i32x16 a, i32x16 b, RowPairs factors) {
  const i32x16 x = widen_bytes(factors.val[0]), y = widen_bytes(factors.val[1]);
  return {vmlaq_s32(vmulq_s32(a.a, x.a), b.a, y.a), vmlaq_s32(vmulq_s32(a.b, x.b), b.b, y.b),
          vmlaq_s32(vmulq_s32(a.c, x.c), b.c, y.c), vmlaq_s32(vmulq_s32(a.d, x.d), b.d, y.d)};
}
template <int which>
SIMD_FN Codes pair_factors(RowPairs pairs) {
  return in_four_bytes(pairs.val[which]);
}
SIMD_FN int8x16_t bias_quarter(int8x16_t factors) { return vsubq_s8(vdupq_n_s8(-128), vshlq_n_s8(factors, 2)); }
SIMD_FN Codes row_bias(Codes f) {
  return {bias_quarter(f.a), bias_quarter(f.b), bias_quarter(f.c), bias_quarter(f.d)};
}
SIMD_FN Codes codes_times(Codes x, Codes f) {
  return {vmulq_s8(x.a, f.a), vmulq_s8(x.b, f.b), vmulq_s8(x.c, f.c), vmulq_s8(x.d, f.d)};
}
SIMD_FN Codes codes_times_plus(Codes x, Codes f, Codes bias) {
  return {vmlaq_s8(bias.a, x.a, f.a), vmlaq_s8(bias.b, x.b, f.b), vmlaq_s8(bias.c, x.c, f.c),
          vmlaq_s8(bias.d, x.d, f.d)};
}

SIMD_FN void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

// 32 registers: half a tile at a time, 4 tokens are 16 integer accumulators.
constexpr int small_panel = 4, medium_panel = 4, large_panel = 4, float_panel_tokens = 3, float_tiles_at_once = 2;
constexpr int halves_at_once = 1, attention_rows = 3, attention_int8_rows = 3, fma_chains = 6;
constexpr int one_token_chains = 1;
constexpr bool unpacks_tiles = true;

#if !defined(OCTAVO_ISA_NEON_I8MM)
// 16 independent chains of sdot, 32 operations each.
SIMD_FN double int8_operations_loop(std::int64_t rounds) {
  int8x16_t w = vdupq_n_s8(1), x = vdupq_n_s8(1);
  int32x4_t acc[16];
  for (int i = 0; i < 16; ++i) acc[i] = vdupq_n_s32(0);
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      acc[i] = vdotq_s32(acc[i], w, x);
      __asm__ volatile("" : "+w"(acc[i]));
    }
  }
  return static_cast<double>(rounds) * 16 * 32;
}
#endif

}  // namespace

// What several kernels share of docs/numerics.md: exp, the soft cap, the sum over 16 virtual lanes, the largest magnitude, and whole
// numbers out of a matrix product as floats.
#pragma once
#include "kernels/device.cuh"

namespace octavo::gpu {

// exp(x) = y * 2^n with y = fma(p, f * f, f) + 1.
struct ExpParts {
  float f, p, power;  // power: 2^n
};
DEVICE ExpParts exp_parts(float x) {
  const float n = rintf(__fmul_rn(x, 1.44269504f));
  float f = __fmaf_rn(n, -0.693359375f, x);
  f = __fmaf_rn(n, 2.12194440e-4f, f);
  float p = 1.9875691500e-4f;
  p = __fmaf_rn(p, f, 1.3981999507e-3f);
  p = __fmaf_rn(p, f, 8.3334519073e-3f);
  p = __fmaf_rn(p, f, 4.1665795894e-2f);
  p = __fmaf_rn(p, f, 1.6666665459e-1f);
  p = __fmaf_rn(p, f, 5.0000001201e-1f);
  return {f, p, __int_as_float((__float2int_rz(n) + 127) << 23)};
}

// A NaN passes through both comparisons.
DEVICE float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

DEVICE float exp_exact(float x) {
  const ExpParts e = exp_parts(clamp(x, -87.0f, 88.0f));
  return __fmul_rn(__fadd_rn(__fmaf_rn(e.p, __fmul_rn(e.f, e.f), e.f), 1.0f), e.power);
}

// cap * tanh(t / cap)
DEVICE float softcap_exact(float t, float cap) {
  const ExpParts parts = exp_parts(clamp(__fmul_rn(t, __fdiv_rn(2.0f, cap)), -30.0f, 30.0f));
  const float y = __fmaf_rn(parts.p, __fmul_rn(parts.f, parts.f), parts.f);
  const float e = __fmaf_rn(parts.power, y, __fsub_rn(parts.power, 1.0f));
  return __fmul_rn(cap, __fdiv_rn(e, __fadd_rn(e, 2.0f)));
}

// The tree of sum16: lane l of a warp holds virtual lane l % 16; every lane gets the sum of its half of the warp. Which of
// two summands comes first makes no difference.
DEVICE float tree16(float lane_sum) {
#pragma unroll
  for (int i = 8; i > 0; i /= 2) lane_sum = __fadd_rn(lane_sum, __shfl_xor_sync(~0u, lane_sum, i));
  return lane_sum;
}

// The largest |x| over a warp by bit patterns, so that a NaN or an infinity wins.
DEVICE float warp_magnitude(float x) {
  unsigned bits = __float_as_uint(x) & 0x7FFFFFFFu;
#pragma unroll
  for (int i = 16; i > 0; i /= 2) bits = max(bits, __shfl_xor_sync(~0u, bits, i));
  return __uint_as_float(bits);
}

DEVICE float silu_gate(float g, float u) {
  return __fmul_rn(__fdiv_rn(g, __fadd_rn(1.0f, exp_exact(-g))), u);
}

// A whole number below 2^22 in magnitude, added to these bits, are the bits of the float 1.5 * 2^23 plus that number: a matrix
// product that starts there needs no conversion, only a subtraction, which is exact.
constexpr int magic_bits = 0x4B400000;
constexpr float magic = 12582912.0f;  // 1.5 * 2^23

// From bits of magic + 2^shift * n, the float n.
template <int shift>
DEVICE float from_magic(int bits) {
  constexpr float unit = 1.0f / (1 << shift);
  if (shift == 0) return __fsub_rn(__int_as_float(bits), magic);
  return __fmaf_rn(__int_as_float(bits), unit, -magic * unit);
}

}  // namespace octavo::gpu

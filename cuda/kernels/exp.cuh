// exp of docs/numerics.md (Cephes' polynomial): exp(x) = fma(p, f * f, f) + 1, times a power of two. Rounding to a
// whole number is adding 1.5 * 2^23, whose low bits then hold it. A NaN stays one.
#pragma once
#include "kernels/device.cuh"

namespace octavo::gpu {

struct ExpParts {
  float f, p, power;
};
// |x| below 2^21.
DEVICE ExpParts exp_parts(float x) {
  constexpr float magic = 12582912.0f;
  const float t = __fadd_rn(__fmul_rn(x, 1.44269504f), magic), n = __fsub_rn(t, magic);
  float f = __fmaf_rn(n, -0.693359375f, x);
  f = __fmaf_rn(n, 2.12194440e-4f, f);
  float p = 1.9875691500e-4f;
  p = __fmaf_rn(p, f, 1.3981999507e-3f);
  p = __fmaf_rn(p, f, 8.3334519073e-3f);
  p = __fmaf_rn(p, f, 4.1665795894e-2f);
  p = __fmaf_rn(p, f, 1.6666665459e-1f);
  p = __fmaf_rn(p, f, 5.0000001201e-1f);
  return {f, p, __uint_as_float((__float_as_uint(t) << 23) + 0x3F800000u)};
}

// Within [low, high]; a NaN stays.
DEVICE float clamped(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

DEVICE float exp_spec(float x) {
  const ExpParts e = exp_parts(clamped(x, -87.0f, 88.0f));
  return __fmul_rn(__fadd_rn(__fmaf_rn(e.p, __fmul_rn(e.f, e.f), e.f), 1.0f), e.power);
}

}  // namespace octavo::gpu

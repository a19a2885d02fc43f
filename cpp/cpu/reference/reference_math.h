// What the parts of the reference backend share: exp and the 16-lane sum of docs/numerics.md, one scalar operation
// after the other.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace octavo::reference {

inline constexpr int lanes = 16;  // virtual lanes of sum16

// exp(x) = y * 2^n with y = fma(p, f * f, f) + 1.
struct ExpParts {
  float f, p, power;  // power: 2^n
};
inline ExpParts exp_parts(float x) {
  const float n = std::nearbyint(x * 1.44269504f);
  float f = std::fma(n, -0.693359375f, x);
  f = std::fma(n, 2.12194440e-4f, f);
  float p = 1.9875691500e-4f;
  p = std::fma(p, f, 1.3981999507e-3f);
  p = std::fma(p, f, 8.3334519073e-3f);
  p = std::fma(p, f, 4.1665795894e-2f);
  p = std::fma(p, f, 1.6666665459e-1f);
  p = std::fma(p, f, 5.0000001201e-1f);
  return {f, p, std::bit_cast<float>(static_cast<std::uint32_t>(static_cast<int>(n) + 127) << 23)};
}

inline float exp_spec(float x) {
  if (std::isnan(x)) return x;
  const ExpParts e = exp_parts(std::min(std::max(x, -87.0f), 88.0f));
  return (std::fma(e.p, e.f * e.f, e.f) + 1.0f) * e.power;
}

inline float softcap_spec(float t, float cap) {
  if (std::isnan(t)) return t;
  const ExpParts parts = exp_parts(std::min(std::max(t * (2.0f / cap), -30.0f), 30.0f));
  const float e = std::fma(parts.power, std::fma(parts.p, parts.f * parts.f, parts.f), parts.power - 1.0f);
  return cap * (e / (e + 2.0f));
}

inline float tree16(float (&l)[lanes]) {
  for (int half = lanes / 2; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) l[i] += l[i + half];
  return l[0];
}

// The largest |x| by bit pattern: for numbers the order of |x|, and a NaN or infinity wins.
inline float largest_magnitude(const float* x, int n) {
  std::uint32_t bits = 0;
  for (int i = 0; i < n; ++i) bits = std::max(bits, std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu);
  return std::bit_cast<float>(bits);
}

// Magnitude of an e4m3 code 0..126 with its exponents lowered by 8: exponent 4 bits, mantissa 3 bits. That is
// (1 + mantissa / 8) * 2^(exponent - 15), or mantissa * 2^-17 where exponent is 0. Bits, because ldexp is slow.
inline float fp8_magnitude(int code) {
  const std::uint32_t exponent = static_cast<std::uint32_t>(code) >> 3, mantissa = static_cast<std::uint32_t>(code) & 7;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-17f;
  return std::bit_cast<float>((exponent - 15 + 127) << 23 | mantissa << 20);
}

inline constexpr int fp8_codes = 127;

// The first code whose magnitude is not below this one, or fp8_codes.
inline int fp8_code_from(double magnitude) {
  static const auto magnitudes = [] {
    std::array<double, fp8_codes> all;
    for (int code = 0; code < fp8_codes; ++code) all[static_cast<std::size_t>(code)] = fp8_magnitude(code);
    return all;
  }();
  return static_cast<int>(std::lower_bound(magnitudes.begin(), magnitudes.end(), magnitude) - magnitudes.begin());
}

}  // namespace octavo::reference

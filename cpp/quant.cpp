#include "quant.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace octavo {

float f16_to_f32(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t exp = (h >> 10) & 31u, frac = h & 0x3FFu;
  if (exp == 0) {  // zero and subnormals: frac * 2^-24 is exact in f32
    const float v = static_cast<float>(frac) * 5.9604644775390625e-8f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) | sign);
  }
  const std::uint32_t out_exp = exp == 31 ? 255u : exp + 112u;
  return std::bit_cast<float>(sign | (out_exp << 23) | (frac << 13));
}

std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t mag = bits & 0x7FFFFFFFu;
  if (mag > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u | ((mag >> 13) & 0x3FFu));  // NaN stays quiet
  if (mag >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);                          // rounds to 65536 and above
  if (mag < 0x38800000u) {  // below 2^-14: subnormal; adding 0.5 aligns the last bit with 2^-24 and rounds to even
    const float aligned = std::bit_cast<float>(mag) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3F000000u));
  }
  const std::uint32_t rounded = mag + 0xFFFu + ((mag >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float bf16_to_f32(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

namespace {

std::uint16_t load_u16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}

void dequantise_q4(const std::uint8_t* p, std::size_t groups, bool has_min, float* out) {
  for (std::size_t g = 0; g < groups; ++g, out += 32) {
    const float d = f16_to_f32(load_u16(p));
    const float m = has_min ? f16_to_f32(load_u16(p + 2)) : 0.0f;
    const std::uint8_t* qs = p + (has_min ? 4 : 2);
    for (int j = 0; j < 16; ++j) {
      const int low = qs[j] & 15, high = qs[j] >> 4;
      out[j] = has_min ? std::fma(d, static_cast<float>(low), m) : d * static_cast<float>(low - 8);
      out[j + 16] = has_min ? std::fma(d, static_cast<float>(high), m) : d * static_cast<float>(high - 8);
    }
    p += has_min ? 20 : 18;
  }
}

}  // namespace

void dequantise_row(Format f, const void* row, std::size_t k, float* out) {
  const std::uint8_t* p = static_cast<const std::uint8_t*>(row);
  switch (f) {
    case Format::f32: std::memcpy(out, p, k * 4); return;
    case Format::f16:
      for (std::size_t i = 0; i < k; ++i) out[i] = f16_to_f32(load_u16(p + 2 * i));
      return;
    case Format::bf16:
      for (std::size_t i = 0; i < k; ++i) out[i] = bf16_to_f32(load_u16(p + 2 * i));
      return;
    case Format::q4_0: dequantise_q4(p, k / 32, false, out); return;
    case Format::q4_1: dequantise_q4(p, k / 32, true, out); return;
    case Format::q8_0:
      for (std::size_t g = 0; g < k / 32; ++g, p += 34) {
        const float d = f16_to_f32(load_u16(p));
        for (int j = 0; j < 32; ++j) out[g * 32 + j] = d * static_cast<float>(static_cast<std::int8_t>(p[2 + j]));
      }
      return;
  }
}

}  // namespace octavo

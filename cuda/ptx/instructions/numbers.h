// Small floating-point types as numbers, and what PTX says about NaN: arithmetic makes one NaN only, whatever came in.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace octavo::ptx {

inline constexpr std::uint32_t nan_f32 = 0x7fffffffu;
inline constexpr std::uint64_t nan_f64 = 0x7ff8000000000000u;

inline float canonical(float x) { return x != x ? std::bit_cast<float>(nan_f32) : x; }
inline double canonical(double x) { return x != x ? std::bit_cast<double>(nan_f64) : x; }
inline float flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

enum class Rounding { nearest, zero, down, up };

// A number with `exponent_bits` and `mantissa_bits`, IEEE style, as a double.
template <int exponent_bits, int mantissa_bits>
double small_to_double(std::uint32_t bits) {
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const std::uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const double sign = (bits >> (exponent_bits + mantissa_bits)) & 1 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) return mantissa ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1u << mantissa_bits), exponent - bias - mantissa_bits);
}
inline float half_to_float(std::uint16_t bits) {
  // Exponents are moved by a product, which is exact, subnormal ones too; infinity and NaN have the largest exponent.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fff) << 13;
  float x = std::bit_cast<float>(magnitude) * 0x1p112f;
  if ((bits & 0x7c00) == 0x7c00) x = std::bit_cast<float>(magnitude | 0x7f800000u);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) | static_cast<std::uint32_t>(bits & 0x8000) << 16);
}
inline float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

// x rounded to a multiple of its last place in a format of `mantissa_bits` whose smallest exponent is `least`.
inline double round_to(double x, int mantissa_bits, int least, Rounding rounding) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent;
  std::frexp(x, &exponent);  // |x| in [2^(exponent - 1), 2^exponent)
  const int place = std::max(exponent - 1, least) - mantissa_bits;
  const double scaled = std::ldexp(x, -place);
  double whole;
  switch (rounding) {
    case Rounding::nearest:
      whole = std::nearbyint(scaled);
      break;
    case Rounding::zero:
      whole = std::trunc(scaled);
      break;
    case Rounding::down:
      whole = std::floor(scaled);
      break;
    default:
      whole = std::ceil(scaled);
  }
  return std::copysign(std::ldexp(whole, place), x);
}

// x as bits of such a format with infinities and NaN; values beyond the largest become infinite, or the largest where
// the rounding leads inwards.
template <int exponent_bits, int mantissa_bits>
std::uint32_t double_to_small(double x, Rounding rounding, std::uint32_t nan) {
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  constexpr std::uint32_t infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
  if (x != x) return nan;
  const std::uint32_t sign = std::signbit(x) ? 1u << (exponent_bits + mantissa_bits) : 0;
  const double r = std::fabs(round_to(x, mantissa_bits, 1 - bias, rounding));
  if (r > std::ldexp(2.0 - std::ldexp(1.0, -mantissa_bits), bias)) {
    const bool inwards = std::isfinite(x) && (rounding == Rounding::zero || (rounding == Rounding::down && x > 0) ||
                                              (rounding == Rounding::up && x < 0));
    return sign | (inwards ? infinity - 1 : infinity);
  }
  if (r == 0) return sign;
  int exponent;
  const double fraction = std::frexp(r, &exponent);
  if (exponent - 1 < 1 - bias) return sign | static_cast<std::uint32_t>(std::ldexp(r, bias - 1 + mantissa_bits));
  const auto mantissa = static_cast<std::uint32_t>(std::ldexp(fraction, mantissa_bits + 1)) - (1u << mantissa_bits);
  return sign | static_cast<std::uint32_t>(exponent - 1 + bias) << mantissa_bits | mantissa;
}
inline std::uint16_t to_half(double x, Rounding rounding = Rounding::nearest) {
  return static_cast<std::uint16_t>(double_to_small<5, 10>(x, rounding, 0x7fff));
}
inline std::uint16_t to_bf16(double x, Rounding rounding = Rounding::nearest) {
  return static_cast<std::uint16_t>(double_to_small<8, 7>(x, rounding, 0x7fff));
}

// FP8 E4M3: no infinity, S.1111.111 is NaN, the largest number is 448.
inline float e4m3_to_float(std::uint8_t bits) {
  if ((bits & 0x7f) == 0x7f) return std::bit_cast<float>(nan_f32);
  const int exponent = (bits >> 3) & 15;
  const float magnitude = exponent ? std::ldexp(8.0f + (bits & 7), exponent - 10) : std::ldexp(bits & 7, -9);
  return bits & 0x80 ? -magnitude : magnitude;
}
// To nearest even; values beyond the largest become the largest (.satfinite).
inline std::uint8_t to_e4m3(float x) {
  if (x != x) return 0x7f;
  const std::uint8_t sign = std::signbit(x) ? 0x80 : 0;
  const double r = std::fabs(round_to(x, 3, -6, Rounding::nearest));
  if (r >= 448) return sign | 0x7e;
  if (r < 0x1p-6) return sign | static_cast<std::uint8_t>(r * 512);
  int exponent;
  const double fraction = std::frexp(r, &exponent);
  return sign | static_cast<std::uint8_t>((exponent + 6) << 3) | static_cast<std::uint8_t>(fraction * 16 - 8);
}

}  // namespace octavo::ptx

// Double-precision log, exp, sin and cos made of +, -, * and / only: the C library picks different code per CPU, these
// give the same bits everywhere (docs/numerics.md). Relative error about 2e-16 for exp and log; absolute about 2e-16
// for sin and cos with |x| < 1e6. Used where speed does not matter: RoPE angles, sampling noise, log-probabilities.
#pragma once
#include <bit>
#include <cstdint>

namespace octavo {

// x > 0 and normal. log x = e ln 2 + 2 atanh((m - 1) / (m + 1)), m in [1/sqrt 2, sqrt 2).
inline double exact_log(double x) {
  std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  int e = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e += 1;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 0;  // sum of z^i / (2i + 1); z < 0.0295, so 12 terms reach 1e-18
  for (int i = 12; i >= 1; --i) p = (p + 1.0 / (2 * i + 1)) * z;
  return e * 0.693147180369123816490 + (e * 1.90821492927058770002e-10 + (2 * s + 2 * s * p));
}

// |x| < 700. exp x = 2^n exp(f), |f| <= ln 2 / 2, Taylor series to f^13 / 13!.
inline double exact_exp(double x) {
  const double t = x * 1.44269504088896338700;
  const int n = static_cast<int>(t + (t < 0 ? -0.5 : 0.5));
  const double f = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double p = 1;
  for (int i = 13; i >= 1; --i) p = 1 + p * f / i;
  return p * std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52);
}

// |x| < 1e6. Cody and Waite reduction by pi/2 in three parts (33 bits each, so that n * part is exact), Taylor series.
inline void exact_sincos(double x, double* sin_out, double* cos_out) {
  const double t = x * 0.63661977236758134308;
  const long n = static_cast<long>(t + (t < 0 ? -0.5 : 0.5));
  const double k = static_cast<double>(n);
  const double r =
      ((x - k * 1.57079632673412561417e+00) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21;
  const double z = r * r;
  double s = 1, c = 1;
  for (int i = 8; i >= 1; --i) s = 1 - s * z / ((2 * i) * (2 * i + 1));
  for (int i = 9; i >= 1; --i) c = 1 - c * z / ((2 * i - 1) * (2 * i));
  s *= r;
  switch (n & 3) {
    case 0: *sin_out = s; *cos_out = c; break;
    case 1: *sin_out = c; *cos_out = -s; break;
    case 2: *sin_out = -s; *cos_out = -c; break;
    default: *sin_out = -c; *cos_out = s; break;
  }
}

}  // namespace octavo

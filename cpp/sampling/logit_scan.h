// The passes over a whole row of logits: maxima of groups of 64 and sums of weights. A weight is exp((l - highest) /
// T) as a multiple of 2^-40, an integer: so sums are exact in every order, and a filter that compares sums with p *
// total means the same set whatever algorithm finds it. Built of +, -, * and bit operations on four f32 lanes (a
// compiler vector type: SSE and NEON, same bits), no fma, no C library.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace octavo {

inline constexpr int scan_group = 64;

typedef float F32x4 __attribute__((vector_size(16)));
typedef std::int32_t I32x4 __attribute__((vector_size(16)));
typedef float F32x2 __attribute__((vector_size(8)));
typedef double F64x2 __attribute__((vector_size(16)));
typedef std::int64_t I64x2 __attribute__((vector_size(16)));

inline F32x4 load4(const float* p) {
  F32x4 v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// group_max[ceil(vocab / 64)]; NaN counts as -infinity. Returns the highest.
inline float scan_maxima(const float* logits, int vocab, float* group_max) {
  constexpr float low = -std::numeric_limits<float>::infinity();
  float highest = low;
  int group = 0, i = 0;
  for (; i + scan_group <= vocab; i += scan_group, ++group) {
    F32x4 m[4] = {{low, low, low, low}, {low, low, low, low}, {low, low, low, low}, {low, low, low, low}};
    for (int j = 0; j < scan_group; j += 16) {
      for (int a = 0; a < 4; ++a) {
        const F32x4 x = load4(logits + i + j + 4 * a);
        m[a] = x > m[a] ? x : m[a];
      }
    }
    m[0] = m[0] > m[1] ? m[0] : m[1];
    m[2] = m[2] > m[3] ? m[2] : m[3];
    m[0] = m[0] > m[2] ? m[0] : m[2];
    float best = m[0][0];
    for (int a = 1; a < 4; ++a) best = m[0][a] > best ? m[0][a] : best;
    group_max[group] = best;
    highest = best > highest ? best : highest;
  }
  if (i < vocab) {
    float best = low;
    for (; i < vocab; ++i) best = logits[i] > best ? logits[i] : best;
    group_max[group] = best;
    highest = best > highest ? best : highest;
  }
  return highest;
}

// scan_maxima of what a mask allows (bits, two words a group), in the same pass: other logits become -infinity, but those
// of groups of which none is allowed stay unread as they are: their maximum is -infinity, and nobody looks into them.
// finite: whether a finite logit was read, allowed or not.
struct AllowedMaxima {
  float highest;
  bool finite;
};
inline AllowedMaxima scan_allowed(float* logits, int vocab, const std::uint32_t* mask, float* group_max) {
  constexpr float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  constexpr F32x4 lows = {low, low, low, low};
  float highest = low;
  F32x4 most = lows;  // of finite logits in groups of which some are allowed
  bool finite = false;
  int group = 0, i = 0;
  for (; i + scan_group <= vocab; i += scan_group, ++group) {
    const std::uint32_t words[2] = {mask[i / 32], mask[i / 32 + 1]};
    group_max[group] = low;
    if ((words[0] | words[1]) == 0) continue;
    F32x4 m[2] = {lows, lows};
    if ((words[0] & words[1]) == 0xffffffffu) {
      for (int j = 0; j < scan_group; j += 8) {
        for (int a = 0; a < 2; ++a) {
          const F32x4 x = load4(logits + i + j + 4 * a);
          m[a] = x > m[a] ? x : m[a];
        }
      }
    } else {
      for (int half = 0; half < 2; ++half) {
        const std::int32_t bits = static_cast<std::int32_t>(words[half]);
        const I32x4 word = {bits, bits, bits, bits};
        I32x4 bit = {1, 2, 4, 8};
        for (int j = 0; j < 32; j += 4, bit <<= 4) {
          float* const p = logits + i + 32 * half + j;
          const F32x4 x = load4(p), kept = (word & bit) != 0 ? x : lows, number = x < high ? x : lows;
          most = number > most ? number : most;
          m[half] = kept > m[half] ? kept : m[half];
          std::memcpy(p, &kept, sizeof(kept));
        }
      }
    }
    m[0] = m[0] > m[1] ? m[0] : m[1];
    float best = m[0][0];
    for (int a = 1; a < 4; ++a) best = m[0][a] > best ? m[0][a] : best;
    group_max[group] = best;
    highest = best > highest ? best : highest;
  }
  if (i < vocab) {
    group_max[group] = low;
    for (; i < vocab; ++i) {
      finite = finite || (logits[i] > low && logits[i] < high);
      if (((mask[i / 32] >> (i % 32)) & 1) == 0) logits[i] = low;
      group_max[group] = logits[i] > group_max[group] ? logits[i] : group_max[group];
    }
    highest = group_max[group] > highest ? group_max[group] : highest;
  }
  for (int a = 0; a < 4; ++a) finite = finite || most[a] > low;
  return {highest, finite};
}

// Below this (l - highest) / T a weight is 0: exp(-28.5) < 2^-41.
inline constexpr float weightless = -28.5f;

// exp of lanes in [-32, 0]: n = nearest(x log2 e), exp(f) by Cephes' expf polynomial (docs/numerics.md, without fma).
inline F32x4 exp4(F32x4 x) {
  const F32x4 t = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the integer part lands in the low bits
  const F32x4 n = t - 12582912.0f;
  const F32x4 f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  F32x4 p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  const F32x4 y = p * (f * f) + f + 1.0f;
  return std::bit_cast<F32x4>(std::bit_cast<I32x4>(y) + (std::bit_cast<I32x4>(t) << 23));
}

// The two lower lanes.
inline F64x2 to_double(F32x4 x) {
#ifdef __SSE2__
  return _mm_cvtps_pd(x);  // compilers make two scalar conversions of the form below
#else
  return __builtin_convertvector((F32x2){x[0], x[1]}, F64x2);
#endif
}

// Weights of four logits, as two pairs.
struct Weights4 {
  I64x2 low, high;
};
inline Weights4 weights4(F32x4 logits, float highest, float inverse_temperature) {
  const F32x4 floor = {-32, -32, -32, -32};
  F32x4 z = (logits - highest) * inverse_temperature;
  z = z > floor ? z : floor;  // NaN and -infinity too
  const F32x4 e = exp4(z);
  // Adding 1.5 * 2^12 rounds to a multiple of 2^-40, which then are the low bits of the double.
  const F64x2 magic = {6144, 6144};
  const F64x2 a = to_double(e) + magic;
  const F64x2 b = to_double(__builtin_shufflevector(e, e, 2, 3, 2, 3)) + magic;
  const I64x2 zero = std::bit_cast<I64x2>(magic);
  return {std::bit_cast<I64x2>(a) - zero, std::bit_cast<I64x2>(b) - zero};
}

inline std::int64_t weight(float logit, float highest, float inverse_temperature) {
  return weights4(F32x4{logit, logit, logit, logit}, highest, inverse_temperature).low[0];
}

// Weights of one group of up to 64 logits into out[64]; returns their sum.
inline std::int64_t group_weights(const float* logits, int count, float highest, float inverse_temperature,
                                  std::int64_t* out) {
  I64x2 sum = {0, 0};
  int j = 0;
  for (; j + 4 <= count; j += 4) {
    const Weights4 w = weights4(load4(logits + j), highest, inverse_temperature);
    sum += w.low + w.high;
    std::memcpy(out + j, &w.low, sizeof(w.low));
    std::memcpy(out + j + 2, &w.high, sizeof(w.high));
  }
  std::int64_t total = sum[0] + sum[1];
  for (; j < count; ++j) total += out[j] = weight(logits[j], highest, inverse_temperature);
  return total;
}

// Sum of the weights of a row.
inline std::int64_t scan_total(const float* logits, int vocab, const float* group_max, float highest,
                               float inverse_temperature) {
  I64x2 sum = {0, 0};
  std::int64_t rest = 0;
  for (int i = 0, group = 0; i < vocab; i += scan_group, ++group) {
    if ((group_max[group] - highest) * inverse_temperature < weightless) continue;
    if (i + scan_group <= vocab) {
      for (int j = i; j < i + scan_group; j += 4) {
        const Weights4 w = weights4(load4(logits + j), highest, inverse_temperature);
        sum += w.low + w.high;
      }
    } else {
      for (int j = i; j < vocab; ++j) rest += weight(logits[j], highest, inverse_temperature);
    }
  }
  return sum[0] + sum[1] + rest;
}

}  // namespace octavo

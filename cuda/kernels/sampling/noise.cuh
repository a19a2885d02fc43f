// The sampler's noise on the device: cpp/sampling/gumbel.h and exact_log of cpp/exact_math.h, operation by operation,
// in double precision.
#pragma once
#include "kernels/device.cuh"
#include "kernels/sampling/params_sample.h"

namespace octavo::gpu {

constexpr unsigned long long splitmix_step = 0x9E3779B97F4A7C15ull;

DEVICE unsigned long long splitmix_finalise(unsigned long long x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

DEVICE double exact_log(double x) {
  const unsigned long long bits = static_cast<unsigned long long>(__double_as_longlong(x));
  int e = static_cast<int>(bits >> 52) - 1023;
  double m = __longlong_as_double(static_cast<long long>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull));
  if (m > 1.4142135623730951) {
    m = __dmul_rn(m, 0.5);
    e += 1;
  }
  const double s = __ddiv_rn(__dsub_rn(m, 1), __dadd_rn(m, 1)), z = __dmul_rn(s, s);
  double p = 0;
  for (int i = 12; i >= 1; --i) p = __dmul_rn(__dadd_rn(p, __ddiv_rn(1.0, 2 * i + 1)), z);
  const double twice = __dmul_rn(2, s), low = __dadd_rn(twice, __dmul_rn(twice, p));
  return __dadd_rn(__dmul_rn(e, 0.693147180369123816490), __dadd_rn(__dmul_rn(e, 1.90821492927058770002e-10), low));
}

DEVICE double noise_uniform(unsigned long long hash) {
  return __dmul_rn(__dadd_rn(static_cast<double>(hash >> 12), 0.5), 0x1p-52);
}

struct Noise {
  unsigned long long token_key, group_key;
  DEVICE Noise(unsigned long long seed, unsigned position) {
    token_key = hash(splitmix_finalise(seed + splitmix_step), position);
    group_key = splitmix_finalise(token_key ^ 0x6A09E667F3BCC909ull);
  }
  // The number after `index` others of the generator that begins at `key`.
  DEVICE static unsigned long long hash(unsigned long long key, unsigned index) {
    return splitmix_finalise(key + (index + 1ull) * splitmix_step);
  }
  DEVICE unsigned long long group_hash(int group) const { return hash(group_key, static_cast<unsigned>(group)); }
  DEVICE unsigned long long token_hash(int token) const { return hash(token_key, static_cast<unsigned>(token)); }
  DEVICE static bool is_least(int token, unsigned long long group_hash) {
    return static_cast<unsigned>(token) % sample_group == group_hash % sample_group;
  }

  DEVICE double gumbel(int token, unsigned long long group_hash) const {
    const double least = __dmul_rn(-exact_log(noise_uniform(group_hash)), 1.0 / sample_group);
    if (is_least(token, group_hash)) return -exact_log(least);
    return -exact_log(__dsub_rn(least, exact_log(noise_uniform(token_hash(token)))));
  }

  // Lower bounds of the exponential that a gumbel is made of.
  DEVICE static double group_bound(unsigned long long group_hash) {
    return __dmul_rn(__dsub_rn(1, noise_uniform(group_hash)), 1.0 / sample_group);
  }
  DEVICE double token_bound(int token, unsigned long long group_hash) const {
    const double bound = group_bound(group_hash);
    return is_least(token, group_hash) ? bound : __dadd_rn(bound, __dsub_rn(1, noise_uniform(token_hash(token))));
  }
  // False only when no noise of such a bound lifts a score by `deficit`.
  DEVICE static bool can_reach(double bound, double deficit) {
    const double t = __dmul_rn(1.4426950408889634, __dsub_rn(1e-9, deficit));
    if (!(t > -900)) return false;
    if (t > 8) return true;
    const double power = __dmul_rn(__dadd_rn(t, 1023), 0x1p52);
    return bound <= __longlong_as_double(static_cast<long long>(power));
  }
};

}  // namespace octavo::gpu

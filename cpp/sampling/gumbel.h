// Gumbel noise as a pure function of (seed, position, token) that can be searched without computing it for every token.
//
// A Gumbel variable is -log of an exponential one, so the largest noise is the smallest exponential. The vocabulary
// is cut into groups of 64 tokens and the exponentials are made top down (Maddison, Tarlow, Minka 2014, "A*
// sampling"): a hash of the group gives the smallest of its 64, distributed as Exp(1) / 64, and which token has it;
// every other token adds its own Exp(1) to that (an exponential has no memory). The 64 are exactly independent
// Exp(1), and one hash tells how far the noise of a whole group can reach: a draw computes a handful of tokens
// instead of all.
//
// Hash: SplitMix64's counter and finaliser (splitmix.h) under keys derived from seed and position.
// Uniforms are (k + 1/2) / 2^52, never 0 or 1, so the noise lies within [-5, 41].
#pragma once
#include <bit>
#include <cstdint>

#include "exact_math.h"
#include "splitmix.h"

namespace octavo {

inline constexpr int noise_group = 64;

inline double noise_uniform(std::uint64_t hash) {
  return (static_cast<double>(hash >> 12) + 0.5) * 0x1p-52;
}

class Noise {
 public:
  Noise(std::uint64_t seed, std::uint32_t position)
      : token_key_(hash(splitmix_finalise(seed + splitmix_step), position)),
        group_key_(splitmix_finalise(token_key_ ^ 0x6A09E667F3BCC909ull)) {}

  std::uint64_t group_hash(std::uint32_t group) const { return hash(group_key_, group); }
  std::uint64_t token_hash(std::uint32_t token) const { return hash(token_key_, token); }

  // Exp(1) of a token whose group has this hash.
  double exponential(std::uint32_t token, std::uint64_t group_hash) const {
    const double least = -exact_log(noise_uniform(group_hash)) * (1.0 / noise_group);
    if (token % noise_group == group_hash % noise_group) return least;
    return least - exact_log(noise_uniform(token_hash(token)));
  }
  double gumbel(std::uint32_t token, std::uint64_t group_hash) const {
    return -exact_log(exponential(token, group_hash));
  }

  // Lower bounds of exponential(), cheap because -log u >= 1 - u.
  static double group_bound(std::uint64_t group_hash) { return (1 - noise_uniform(group_hash)) * (1.0 / noise_group); }
  double token_bound(std::uint32_t token, std::uint64_t group_hash) const {
    const double bound = group_bound(group_hash);
    return token % noise_group == group_hash % noise_group ? bound : bound + (1 - noise_uniform(token_hash(token)));
  }

  // False only when no noise with an exponential of at least `bound` lifts a score above or to `deficit` over it. The
  // condition is bound <= exp(-deficit); 2^n (1 + f) >= 2^(n + f) replaces exp, and the margin covers every rounding.
  static bool can_reach(double bound, double deficit) {
    const double t = 1.4426950408889634 * (1e-9 - deficit);
    if (!(t > -900)) return false;
    if (t > 8) return true;
    return bound <= std::bit_cast<double>(static_cast<std::int64_t>((t + 1023) * 0x1p52));
  }

 private:
  // The number after `index` others of the generator that begins at `key`.
  static std::uint64_t hash(std::uint64_t key, std::uint32_t index) {
    return splitmix_finalise(key + (index + 1ull) * splitmix_step);
  }

  std::uint64_t token_key_, group_key_;
};

}  // namespace octavo

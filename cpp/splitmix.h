// SplitMix64 (Steele, Lea and Flood 2014): a counter that steps by a fixed odd number, and a finaliser that makes each
// of its values look like noise. The finaliser is a bijection. What hashes, draws or fills with seeded numbers is built
// on these two.
#pragma once
#include <cstdint>

namespace octavo {

inline constexpr std::uint64_t splitmix_step = 0x9E3779B97F4A7C15ull;  // 2^64 / golden ratio

inline std::uint64_t splitmix_finalise(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace octavo

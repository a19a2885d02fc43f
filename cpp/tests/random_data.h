// Seeded values that are hard on arithmetic, and weight rows in a file's layout. The tests spend much of their time here:
// what is not in this header is compiled with optimisation also where sanitizers check the rest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "files/quant.h"

namespace octavo::testing {

// splitmix64 (Steele, Lea and Flood 2014).
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int one_in) { return below(one_in) == 0; }
  double uniform();  // [0, 1)
  float normal();    // sum of uniforms: mean 0, deviation 1, near enough
  template <typename T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(static_cast<int>(from.size())))];
  }

 private:
  std::uint64_t state_;
};

template <typename T>
void shuffle(std::vector<T>& values, Rng& rng) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<std::size_t>(rng.below(static_cast<int>(i)))]);
}

// Activations: groups of 32 of very different sizes, among them all-zero ones and ones on both sides of the smallest
// that is quantised, with zeros of both signs, subnormals, and values that lie halfway between two quantised ones.
std::vector<float> random_activations(std::size_t n, Rng& rng);

std::vector<float> random_normals(std::size_t n, Rng& rng, float size = 1);

// A finite f16 as a scale: ordinary, now and then negative, zero, subnormal or the largest.
std::uint16_t random_scale(Rng& rng);

// A stored block of a quantised format: random bits, and scales as above.
void random_block(Format format, std::uint8_t* block, Rng& rng);

// `rows` rows of k weights in the layout of quant.h.
std::vector<std::uint8_t> random_rows(Format format, std::int64_t rows, std::int64_t k, Rng& rng);

}  // namespace octavo::testing

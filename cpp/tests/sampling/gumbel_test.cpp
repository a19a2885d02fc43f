// The noise that tokens are drawn with: its distribution, its independence, and the bounds that let a draw skip most of it.
#include "sampling/gumbel.h"
#include "sampling/sampler.h"

#include <doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "tests/sampling/chi_square.h"
#include "sampling/sampler.h"

TEST_CASE("sampler: noise is Gumbel distributed, and independent of its neighbours") {
  // Uniforms of noise at (seed, position, token) and a partner beside it, in 16 x 16 cells.
  const auto uniform = [](std::uint64_t s, std::uint32_t p, std::uint32_t t) {
    return std::exp(-std::exp(-octavo::gumbel_noise(s, p, t)));
  };
  const int n = draws();
  struct Neighbour {
    int seed, position, token, group;
  };
  for (const Neighbour d :
       {Neighbour{0, 0, 1, 0}, {0, 1, 0, 0}, {1, 0, 0, 0}, {0, 0, 64, 0}, {0, 1, 64, 0}, {0, 0, 0, 1}, {1, 1, 0, 0}}) {
    std::vector<double> cells(256, 0);
    double mean = 0, square = 0;
    for (int i = 0; i < n; ++i) {
      const std::uint64_t s = static_cast<std::uint64_t>(i / 5000) * 2;
      const std::uint32_t p = static_cast<std::uint32_t>(i % 100) * 2,
                          t = static_cast<std::uint32_t>(i / 100 % 50) * 128 + 7;
      const double a = uniform(s, p, t), g = octavo::gumbel_noise(s, p, t);
      const double b = d.group ? uniform(s, p, t / 64 * 64 + (t + 29) % 64)
                               : uniform(s + static_cast<unsigned>(d.seed), p + static_cast<unsigned>(d.position),
                                         t + static_cast<unsigned>(d.token));
      ++cells[static_cast<std::size_t>(static_cast<int>(a * 16) * 16 + static_cast<int>(b * 16))];
      mean += g / n;
      square += g * g / n;
    }
    CHECK(chi_square_p(cells, std::vector<double>(256, n / 256.0)) > 1e-3);
    CHECK(std::abs(mean - 0.5772156649) < 5 * 1.2825 / std::sqrt(n));
    CHECK(std::abs(square - mean * mean - 1.6449340668) < 5 * 3.4 / std::sqrt(n));
  }
}

TEST_CASE("sampler: the smallest exponential of each group of 64 is where and as large as the hash says") {
  std::vector<double> places(64, 0), sizes(50, 0);
  const int groups = 50000;
  for (int g = 0; g < groups; ++g) {
    const octavo::Noise noise(3, static_cast<std::uint32_t>(g));
    const std::uint64_t hash = noise.group_hash(5);
    double least = 1e300;
    int place = 0;
    for (int j = 0; j < (g < 2000 ? 64 : 1); ++j) {
      const std::uint32_t token = 5 * 64 + (g < 2000 ? static_cast<unsigned>(j) : static_cast<unsigned>(hash % 64));
      const double e = noise.exponential(token, hash);
      CHECK(e >= noise.token_bound(token, hash) * (1 - 1e-12));
      CHECK(noise.token_bound(token, hash) >= octavo::Noise::group_bound(hash));
      if (e < least) least = e, place = static_cast<int>(token % 64);
    }
    ++places[static_cast<std::size_t>(place)];
    ++sizes[static_cast<std::size_t>(50 * (1 - std::exp(-64 * least)))];
  }
  CHECK(chi_square_p(places, std::vector<double>(64, groups / 64.0)) > 1e-3);
  CHECK(chi_square_p(sizes, std::vector<double>(50, groups / 50.0)) > 1e-3);
}

TEST_CASE("sampler: pruning never drops a score that could win") {
  std::mt19937_64 random(10);
  std::uniform_real_distribution<double> deficit(-5, 60);
  long kept = 0;
  for (int i = 0; i < 500000; ++i) {
    const double d = deficit(random), exact = std::exp(-d);
    for (double factor : {0.5, 1 - 1e-10, 1.0, 1 + 1e-10}) {
      if (exact * factor < 2) REQUIRE(octavo::Noise::can_reach(exact * factor, d));
    }
    kept += octavo::Noise::can_reach(exact * 1.1, d);
  }
  CHECK(kept < 50000);  // and it does prune
  CHECK_FALSE(octavo::Noise::can_reach(1e-18, std::numeric_limits<double>::infinity()));
  CHECK_FALSE(octavo::Noise::can_reach(1e-18, 1e60));
  CHECK(octavo::Noise::can_reach(1, -std::numeric_limits<double>::infinity()));
}

TEST_CASE("sampler: every bit of seed, position and token changes half of the hash") {
  double worst = 0;
  const auto flips = [&](auto hash_of) {
    double total = 0;
    const int n = 4000;
    for (int i = 0; i < n; ++i) total += hash_of(i);
    worst = std::max(worst, std::abs(total / n - 32));
  };
  for (int bit = 0; bit < 64; ++bit) {
    flips([&](int i) {
      const std::uint64_t s = static_cast<std::uint64_t>(i);
      return std::popcount(octavo::Noise(s, 9).token_hash(4) ^ octavo::Noise(s ^ 1ull << bit, 9).token_hash(4));
    });
  }
  for (int bit = 0; bit < 32; ++bit) {
    flips([&](int i) {
      const std::uint32_t t = static_cast<std::uint32_t>(i);
      return std::popcount(octavo::Noise(1, t).token_hash(4) ^ octavo::Noise(1, t ^ 1u << bit).token_hash(4));
    });
    flips([&](int i) {
      const octavo::Noise noise(1, 9);
      const std::uint32_t t = static_cast<std::uint32_t>(i);
      return std::popcount(noise.token_hash(t) ^ noise.token_hash(t ^ 1u << bit));
    });
    flips([&](int i) {
      const octavo::Noise noise(1, 9);
      const std::uint32_t t = static_cast<std::uint32_t>(i);
      return std::popcount(noise.group_hash(t) ^ noise.token_hash(t ^ 1u << bit));
    });
  }
  CHECK(worst < 0.35);  // mean of 4000 x 64 fair bits: standard deviation 0.063
}

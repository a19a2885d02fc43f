// RoPE frequencies against Hugging Face transformers (test/goldens/rope-goldens.h, computed in float64), the table
// against the C library, bad values against the error they must give.
#include <doctest.h>

#include <cmath>

#include "../../../test/goldens/rope-goldens.h"
#include "tests/compare.h"
#include "error.h"

using namespace octavo;

TEST_CASE("frequencies and magnitudes equal those of transformers") {
  // Both sides are double. base^(2i / dims) is exp(log(base) 2i / dims) here: an exponent up to 14 carries half a unit
  // of its last place (2^-50), and what follows is a handful of roundings: 4e-15 in all. yarn and llama3 blend f and f
  // / factor by a weight that has that error itself; where the weight is small and f / factor dominates it counts
  // `factor` times.
  for (const RopeGolden& golden : rope_goldens) {
    CAPTURE(std::string(golden.name));
    const std::vector<double> found = rope_frequencies(golden.dims, golden.base, golden.scaling);
    REQUIRE(found.size() == golden.frequencies.size());
    const double bound = 4e-15 * golden.scaling.factor;
    double worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      worst = std::max(worst, std::fabs(found[i] / golden.frequencies[i] - 1));
    CAPTURE(worst);
    CHECK(worst < bound);
    CHECK(std::fabs(rope_magnitude(golden.scaling) / golden.magnitude - 1) < bound);
  }
}

TEST_CASE("without scaling a frequency is base^(-2i / dims)") {
  const std::vector<double> found = rope_frequencies(128, 500000.0);
  for (int i = 0; i < 64; ++i)
    CHECK(std::fabs(found[static_cast<std::size_t>(i)] * std::pow(500000.0, i / 64.0) - 1) < 1e-14);
  CHECK(found[0] == 1);
  CHECK(rope_magnitude({}) == 1);
}

TEST_CASE("yarn without extrapolation is interpolation with yarn's magnitude") {
  const RopeScaling linear{.kind = RopeScaling::Kind::linear, .factor = 4};
  const RopeScaling yarn{
      .kind = RopeScaling::Kind::yarn, .factor = 4, .original_context = 4096, .extrapolation_factor = 0};
  CHECK(rope_frequencies(64, 10000, yarn) == rope_frequencies(64, 10000, linear));
  CHECK(rope_magnitude(yarn) == doctest::Approx(1 + 0.1 * std::log(4.0)).epsilon(1e-14));
}

TEST_CASE("the table holds cos and sin of position times frequency, rounded to f32 once") {
  const std::vector<double> frequencies = rope_frequencies(64, 10000.0);
  const std::vector<std::int32_t> positions = {0, 1, 2, 17, 4095, 131071, 999999};
  const double magnitude = 1.25;
  std::vector<float> table(positions.size() * 64);
  rope_table(frequencies, magnitude, positions.data(), static_cast<int>(positions.size()), table.data());
  double worst = 0;
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::size_t i = 0; i < 32; ++i) {
      const double angle = positions[t] * frequencies[i];
      worst = std::max(worst, std::fabs(table[(t * 32 + i) * 2] - std::cos(angle) * magnitude));
      worst = std::max(worst, std::fabs(table[(t * 32 + i) * 2 + 1] - std::sin(angle) * magnitude));
    }
  }
  CHECK(worst <= 0x1p-24 + 1e-15);  // half a unit in the last place of an f32 in [1, 2), and the double's own error
  CHECK(table[0] == 1.25f);
  CHECK(table[1] == 0.0f);
}

TEST_CASE("rows of the table that are made once have its bits, the first time and again") {
  const std::vector<double> frequencies = rope_frequencies(32, 10000);
  const std::vector<std::int32_t> positions = {5, 0, 4000, 5, RopeRows::kept, RopeRows::kept - 1, 77, RopeRows::kept};
  std::vector<float> expected(positions.size() * 32), rows(expected.size());
  rope_table(frequencies, 1.25, positions.data(), static_cast<int>(positions.size()), expected.data());
  RopeRows made;
  for (int i = 0; i < 2; ++i) {
    std::fill(rows.begin(), rows.end(), 0.0f);
    made.table(frequencies, 1.25, positions.data(), static_cast<int>(positions.size()), rows.data());
    CHECK(rows == expected);
  }
}

TEST_CASE("values that give no frequencies are an error that names them") {
  using Kind = RopeScaling::Kind;
  const auto rejected = [](int dims, double base, const RopeScaling& scaling, const std::string& name) {
    CAPTURE(name);
    try {
      rope_frequencies(dims, base, scaling);
      FAIL_CHECK("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == Code::model_invalid);
      CHECK(std::string(error.what()).find(name) != std::string::npos);
    }
  };
  rejected(63, 10000, {}, "dimensions");
  rejected(0, 10000, {}, "dimensions");
  rejected(64, 1, {}, "base");
  rejected(64, NAN, {}, "base");
  rejected(64, 10000, {.kind = Kind::linear, .factor = 0}, "scaling factor");
  rejected(64, 10000, {.kind = Kind::linear, .factor = 1e-300}, "frequency");
  rejected(64, 10000, {.kind = Kind::llama3, .factor = 8}, "original context");
  rejected(64, 10000, {.kind = Kind::llama3, .factor = 8, .original_context = 8192, .low_freq_factor = 4},
           "high frequency");
  rejected(64, 10000, {.kind = Kind::yarn, .factor = 8, .original_context = 4096, .beta_slow = -1}, "beta slow");
  rejected(64, 10000, {.kind = Kind::yarn, .factor = 8, .original_context = 4096, .attention_factor = 0}, "magnitude");
  rejected(64, 10000, {.kind = Kind::factors, .factors = {1, 2}}, "factors");
  rejected(4, 10000, {.kind = Kind::factors, .factors = {1, -2}}, "factor");
  rejected(4, 10000, {.kind = Kind::factors, .factors = {1, 2}, .magnitude = INFINITY}, "magnitude");
}

// The double-precision functions against the C library's long double ones, over wide seeded ranges. The bounds are what
// cpp/exact_math.h promises in units of 2^-52; a series cut too early or a wrong constant exceeds them by far.
#include <doctest.h>

#include <cmath>

#include "tests/compare.h"
#include "exact_math.h"

using namespace octavo;
using octavo::testing::Rng;

namespace {

constexpr int samples = 200000;
constexpr double unit = 0x1p-52;

double relative(double found, long double expected) {
  return static_cast<double>(std::fabs((found - expected) / expected));
}

}  // namespace

TEST_CASE("exact_log") {
  Rng rng(1);
  double worst = 0;
  for (int i = 0; i < samples; ++i) {
    const double wide = std::ldexp(1 + rng.uniform(), rng.between(-1022, 1023)), near_one = 0.5 + rng.uniform();
    worst = std::max(worst, relative(exact_log(wide), std::log(static_cast<long double>(wide))));
    worst = std::max(worst, relative(exact_log(near_one), std::log(static_cast<long double>(near_one))));
  }
  INFO("worst relative error in 2^-52: " << worst / unit);
  CHECK(worst < 1.5 * unit);
  CHECK(exact_log(1) == 0);
}

TEST_CASE("exact_exp") {
  Rng rng(2);
  double worst = 0;
  for (int i = 0; i < samples; ++i) {
    const double wide = (rng.uniform() * 2 - 1) * 699, small = rng.uniform() * 2 - 1;
    worst = std::max(worst, relative(exact_exp(wide), std::exp(static_cast<long double>(wide))));
    worst = std::max(worst, relative(exact_exp(small), std::exp(static_cast<long double>(small))));
  }
  INFO("worst relative error in 2^-52: " << worst / unit);
  CHECK(worst < unit);
  CHECK(exact_exp(0) == 1);
}

TEST_CASE("exact_sincos") {
  Rng rng(3);
  double worst = 0, identity = 0;
  const auto check = [&](double x) {
    double s, c;
    exact_sincos(x, &s, &c);
    worst = std::max(worst, static_cast<double>(std::fabs(s - std::sin(static_cast<long double>(x)))));
    worst = std::max(worst, static_cast<double>(std::fabs(c - std::cos(static_cast<long double>(x)))));
    identity = std::max(identity, std::fabs(s * s + c * c - 1));
  };
  for (int i = 0; i < samples; ++i) {
    check((rng.uniform() * 2 - 1) * 1e6);
    check((rng.uniform() * 2 - 1) * 4);
    check(static_cast<double>(rng.below(636619)) * 1.5707963267948966);  // near the zeros
  }
  INFO("worst absolute error in 2^-52: " << worst / unit << ", sin^2 + cos^2 - 1: " << identity / unit);
  CHECK(worst < unit);
  CHECK(identity < 4 * unit);
  double s, c;
  exact_sincos(0, &s, &c);
  CHECK((s == 0 && c == 1));
}

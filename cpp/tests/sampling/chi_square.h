// Pearson's chi-square test for the tests of what is drawn at random.
#pragma once
#include <cmath>
#include <cstdlib>
#include <vector>

// Regularised upper incomplete gamma function Q(a, x): the p-value of chi-square with 2a degrees of freedom at 2x.
inline double upper_gamma(double a, double x) {
  const double front = std::exp(-x + a * std::log(x) - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (int n = 1; n < 2000; ++n) sum += term *= x / (a + n);
    return 1 - front * sum;
  }
  double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;
  for (int n = 1; n < 2000; ++n) {
    const double an = -n * (n - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    h *= d * c;
  }
  return front * h;
}

// 1e-3 and more: observed counts that fit the expected ones; cells of fewer than 10 count as one.
inline double chi_square_p(const std::vector<double>& observed, const std::vector<double>& expected) {
  double statistic = 0, rest_observed = 0, rest_expected = 0;
  int cells = 0;
  const auto add = [&](double o, double e) {
    statistic += (o - e) * (o - e) / e;
    ++cells;
  };
  for (std::size_t i = 0; i < observed.size(); ++i) {
    if (expected[i] == 0 && observed[i] > 0) return 0;
    if (expected[i] >= 10) add(observed[i], expected[i]);
    else rest_observed += observed[i], rest_expected += expected[i];
  }
  if (rest_expected >= 1) add(rest_observed, rest_expected);
  return cells < 2 ? 1 : upper_gamma((cells - 1) / 2.0, statistic / 2);
}

inline int draws() { return std::getenv("OCTAVO_DEEP") ? 2000000 : 60000; }

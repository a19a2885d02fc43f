// Frequencies and tables of cpp/model/rope.h. Frequencies are positive and descend from 1 before scaling.
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"
#include "exact_math.h"

namespace octavo {
namespace {

constexpr double two_pi = 6.283185307179586476925;
constexpr double frequency_limit = 1000;  // any int32 position times this fits exact_sincos's integer quotient

void require(bool ok, const char* name, const char* expected, double found) {
  if (ok) return;
  const std::string value = std::to_string(found);
  throw Error(Code::model_invalid, std::string("RoPE ") + name + ": expected " + expected + ", found " + value,
              {{"name", name}, {"expected", expected}, {"found", value}});
}

bool positive(double x) { return std::isnormal(x) && x > 0; }

double llama3_frequency(double frequency, const RopeScaling& s) {
  const double rotations = s.original_context * frequency / two_pi;  // over the original context
  if (rotations > s.high_freq_factor) return frequency;
  if (rotations < s.low_freq_factor) return frequency / s.factor;
  const double keep = (rotations - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - keep) * (frequency / s.factor) + keep * frequency;
}

// The (fractional) index of the frequency that makes `rotations` turns over the original context.
double yarn_dimension(double rotations, int dims, double base, double original_context) {
  return dims * exact_log(original_context / (rotations * two_pi)) / (2 * exact_log(base));
}

void scale_yarn(std::vector<double>& frequencies, int dims, double base, const RopeScaling& s) {
  const double low = std::max(0.0, std::floor(yarn_dimension(s.beta_fast, dims, base, s.original_context)));
  double high = std::min(dims - 1.0, std::ceil(yarn_dimension(s.beta_slow, dims, base, s.original_context)));
  if (high == low) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double keep = (1 - ramp) * s.extrapolation_factor;
    frequencies[i] = frequencies[i] / s.factor * (1 - keep) + frequencies[i] * keep;
  }
}

void check_scaling(int dims, const RopeScaling& s) {
  using Kind = RopeScaling::Kind;
  if (s.kind == Kind::linear || s.kind == Kind::llama3 || s.kind == Kind::yarn)
    require(positive(s.factor), "scaling factor", "a positive number", s.factor);
  if (s.kind == Kind::llama3 || s.kind == Kind::yarn)
    require(positive(s.original_context), "original context", "a positive number", s.original_context);
  if (s.kind == Kind::llama3) {
    require(positive(s.low_freq_factor), "low frequency factor", "a positive number", s.low_freq_factor);
    require(std::isfinite(s.high_freq_factor) && s.high_freq_factor > s.low_freq_factor, "high frequency factor",
            "more than the low one", s.high_freq_factor);
  }
  if (s.kind == Kind::yarn) {
    require(positive(s.beta_fast), "beta fast", "a positive number", s.beta_fast);
    require(positive(s.beta_slow), "beta slow", "a positive number", s.beta_slow);
    require(std::isfinite(s.extrapolation_factor), "extrapolation factor", "a finite number", s.extrapolation_factor);
  }
  if (s.kind == Kind::factors) {
    require(s.factors.size() * 2 == static_cast<std::size_t>(dims), "factors", "one for each pair of dimensions",
            static_cast<double>(s.factors.size()));
    for (const double f : s.factors) require(positive(f), "factor", "a positive number", f);
  }
  const double magnitude = rope_magnitude(s);
  require(positive(magnitude), "magnitude", "a positive number", magnitude);
}

}  // namespace

std::vector<double> rope_frequencies(int dims, double base, const RopeScaling& scaling) {
  require(dims > 0 && dims % 2 == 0, "dimensions", "a positive even number", dims);
  require(std::isfinite(base) && base > 1, "base", "a number above 1", base);
  check_scaling(dims, scaling);
  std::vector<double> frequencies(static_cast<std::size_t>(dims) / 2);
  const double log_base = exact_log(base);
  for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = exact_exp(-log_base * (2.0 * i / dims));
  switch (scaling.kind) {
    case RopeScaling::Kind::none: break;
    case RopeScaling::Kind::linear:
      for (double& f : frequencies) f /= scaling.factor;
      break;
    case RopeScaling::Kind::llama3:
      for (double& f : frequencies) f = llama3_frequency(f, scaling);
      break;
    case RopeScaling::Kind::yarn: scale_yarn(frequencies, dims, base, scaling); break;
    case RopeScaling::Kind::factors:
      for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= scaling.factors[i];
      break;
  }
  for (const double f : frequencies) require(f >= 0 && f <= frequency_limit, "frequency", "a number from 0 to 1000", f);
  return frequencies;
}

double rope_magnitude(const RopeScaling& scaling) {
  if (scaling.kind == RopeScaling::Kind::factors) return scaling.magnitude;
  if (scaling.kind != RopeScaling::Kind::yarn) return 1;
  const double stretch = scaling.factor > 1 ? 0.1 * exact_log(scaling.factor) + 1 : 1;
  return stretch * scaling.attention_factor;
}

void rope_table(const std::vector<double>& frequencies, double magnitude, const std::int32_t* positions, int T,
                float* out) {
  for (int t = 0; t < T; ++t) {
    for (const double frequency : frequencies) {
      double s, c;
      exact_sincos(static_cast<double>(positions[t]) * frequency, &s, &c);
      *out++ = static_cast<float>(c * magnitude);
      *out++ = static_cast<float>(s * magnitude);
    }
  }
}

void RopeRows::table(const std::vector<double>& frequencies, double magnitude, const std::int32_t* positions, int T,
                     float* out) {
  const std::size_t dims = 2 * frequencies.size();
  for (int t = 0; t < T; ++t, out += dims) {
    const std::size_t position = static_cast<std::size_t>(positions[t]);
    if (position >= kept) {
      rope_table(frequencies, magnitude, positions + t, 1, out);
      continue;
    }
    if (position >= made_.size()) {
      made_.resize(std::min<std::size_t>(kept, std::max(position + 1, 2 * made_.size())));
      rows_.resize(made_.size() * dims);
    }
    float* const row = rows_.data() + position * dims;
    if (!made_[position]) rope_table(frequencies, magnitude, positions + t, 1, row);
    made_[position] = true;
    std::copy_n(row, dims, out);
  }
}

}  // namespace octavo

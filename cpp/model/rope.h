// Rotary position embedding on the host: the frequency of each pair of dimensions, with the scaling that stretches a
// model's context, and the table of cos and sin that Backend::rope takes. All in double by cpp/exact_math.h and rounded
// to f32 once, so that the table has the same bits on every machine (docs/numerics.md, "rope").
//
// Sources: Su et al. 2021 (RoPE); Chen et al. 2023 (linear: position interpolation); Meta's Llama 3.1 (llama3: low
// frequencies are divided, high ones kept, a linear blend between); Peng et al. 2023 (yarn: the same idea by a ramp
// over dimensions, and a magnitude); Ding et al. 2024 (longrope: a divisor per frequency; `factors`).
#pragma once
#include <cstdint>
#include <vector>

namespace octavo {

// The fields of RopeScaling in lib/base/native.ts; those of other kinds are ignored.
struct RopeScaling {
  enum class Kind : std::uint8_t { none, linear, llama3, yarn, factors } kind = Kind::none;
  double factor = 1;                                 // linear, llama3, yarn
  double original_context = 0;                       // llama3, yarn: tokens
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn: rotations over the original context
  double extrapolation_factor = 1;                   // yarn: 1 = the whole ramp, 0 = interpolation only
  double attention_factor = 1;                       // yarn: multiplies the magnitude
  std::vector<double> factors = {};                  // factors: dims / 2 divisors
  double magnitude = 1;                              // factors
};

// dims / 2 angles per position. Throws model_invalid for values that give none (dims odd, base <= 1, factor <= 0, ...).
std::vector<double> rope_frequencies(int dims, double base, const RopeScaling& scaling = {});
// What cos and sin are multiplied by.
double rope_magnitude(const RopeScaling& scaling);
// out[T, dims / 2, 2]: (cos, sin) of positions[t] * frequencies[i], times magnitude. Positions below a million.
void rope_table(const std::vector<double>& frequencies, double magnitude, const std::int32_t* positions, int T,
                float* out);

// The same row by row, where most positions come more than once: rows of positions below `kept` are made once.
class RopeRows {
 public:
  static constexpr int kept = 16384;
  // out[T, dims / 2, 2]
  void table(const std::vector<double>& frequencies, double magnitude, const std::int32_t* positions, int T,
             float* out);

 private:
  std::vector<float> rows_;
  std::vector<bool> made_;
};

}  // namespace octavo

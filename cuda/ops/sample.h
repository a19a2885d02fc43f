// Drawing tokens from rows of logits as launches (kernels/sampling/params_sample.h says what they are given).
#pragma once
#include "kernels/sampling/params_sample.h"
#include "ops/launch.h"

namespace octavo::cuda {

// The most log-probabilities beside the drawn token's, and the largest vocabulary: what callers check.
inline constexpr int most_top_tokens = 128, largest_vocabulary = 1 << 22;

inline int sample_groups(int vocab) { return (vocab + gpu::sample_group - 1) / gpu::sample_group; }

void add_sample(Launches& launches, const gpu::SampleParams& params, int rows);
void add_feed(Launches& launches, const gpu::FeedParams& params);

}  // namespace octavo::cuda

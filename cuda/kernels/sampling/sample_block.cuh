// What a block of threads that draws a row does together: largest and sum of all threads' numbers, the maxima of a
// row's groups, and its highest logit.
#pragma once
#include "kernels/sampling/select.cuh"

namespace octavo::gpu {

constexpr float largest_float = 3.402823466e38f;

// A candidate of the draw: higher score first, lower id first among equals.
struct Scored {
  double score;
  int token;
  DEVICE void take(const Scored& other) {
    if (other.score > score || (other.score == score && other.token < token)) *this = other;
  }
};

struct SampleShared {
  SelectShared select;
  float maxima[sample_warps];
  Sum sums[sample_warps];
  Scored best[sample_warps];
  float top_logits[128];  // as most_top_tokens of ops/sample.h
  int top_tokens[128];
  int found;
};

// In every thread of the block. `scratch` is free again behind the next barrier.
template <class T, class Join>
DEVICE T of_all_threads(T value, T* scratch, Join join) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int step = 16; step >= 1; step /= 2) value = join(value, __shfl_xor_sync(every_lane, value, step));
  __syncthreads();
  if (thread % 32 == 0) scratch[thread / 32] = value;
  __syncthreads();
  value = scratch[0];
  for (int i = 1; i < sample_warps; ++i) value = join(value, scratch[i]);
  return value;
}
DEVICE float greater(float a, float b) { return b > a ? b : a; }

DEVICE float highest_of(SampleShared& shared, const float* group_max, int groups) {
  float highest = minus_infinity();
  for (int g = static_cast<int>(threadIdx.x); g < groups; g += sample_threads) highest = greater(highest, group_max[g]);
  return of_all_threads(highest, shared.maxima, greater);
}

// The maximum of a group in every thread of a half of a warp; a NaN counts as -infinity. All threads of the warp take
// part, those without a group with an empty one.
DEVICE float group_maximum(const float* logits, int vocab, int group, int groups) {
  const int lane = static_cast<int>(threadIdx.x) % 16;
  float m = minus_infinity();
  if (group < groups)
    for (int i = group * sample_group + lane; i < (group + 1) * sample_group && i < vocab; i += 16)
      m = greater(m, logits[i]);
  for (int step = 8; step >= 1; step /= 2) m = greater(m, __shfl_xor_sync(every_lane, m, step));
  return m;
}

DEVICE void scan_groups(const float* logits, int vocab, float* group_max) {
  const int groups = (vocab + sample_group - 1) / sample_group, half = static_cast<int>(threadIdx.x) / 16;
  __syncthreads();
  for (int first = half / 2 * 2; first < groups; first += sample_threads / 16) {
    const int group = first + half % 2;
    const float m = group_maximum(logits, vocab, group, groups);
    if (group < groups && threadIdx.x % 16 == 0) group_max[group] = m;
  }
  __syncthreads();
}

// The highest logit of a row whose groups were scanned; -infinity if none is finite. Beside a finite one, an infinity
// becomes the largest float, here and in the row.
DEVICE float settle(SampleShared& shared, float* logits, int vocab, float* group_max) {
  const int groups = (vocab + sample_group - 1) / sample_group, thread = static_cast<int>(threadIdx.x);
  const float highest = highest_of(shared, group_max, groups);
  if (highest <= largest_float) return highest;
  float finite = 0;
  for (int i = thread; i < vocab; i += sample_threads)
    if (fabsf(logits[i]) <= largest_float) finite = 1;
  if (of_all_threads(finite, shared.maxima, greater) == 0) return minus_infinity();
  for (int i = thread; i < vocab; i += sample_threads)
    if (logits[i] > largest_float) logits[i] = largest_float;
  scan_groups(logits, vocab, group_max);
  return highest_of(shared, group_max, groups);
}

}  // namespace octavo::gpu

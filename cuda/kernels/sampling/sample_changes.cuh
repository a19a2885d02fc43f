// What a request asks to be changed in a row of logits before the draw, in this order: the mask of a grammar, biases,
// the repetition penalty, presence and frequency penalties (cpp/sampling/sampler.cpp). Tokens are counted by atomics in
// a row of zeros, which is left as zeros; of a token that occurs more than once, one thread makes the change.
#pragma once
#include "kernels/sampling/sample_block.cuh"

namespace octavo::gpu {

DEVICE bool is_finite(float x) { return fabsf(x) <= largest_float; }  // false for a NaN
DEVICE float at_most_largest(float x) { return x > largest_float ? largest_float : x; }
// Finite logits stay finite; of others, an infinity becomes the largest float.
DEVICE float lowered(float old, float value) {
  return at_most_largest(is_finite(old) ? (value < -largest_float ? -largest_float : value) : old);
}

DEVICE void apply_mask(float* logits, int vocab, const unsigned* mask) {
  for (int i = static_cast<int>(threadIdx.x); i < vocab; i += sample_threads)
    if ((mask[i / 32] >> (i % 32) & 1u) == 0) logits[i] = minus_infinity();
}

// A token's biases add up in their order.
DEVICE void apply_bias(float* logits, const int* tokens, const float* values, int length) {
  for (int i = static_cast<int>(threadIdx.x); i < length; i += sample_threads) {
    bool first = true;
    for (int j = 0; j < i; ++j) first = first && tokens[j] != tokens[i];
    if (!first) continue;
    float l = logits[tokens[i]];
    for (int j = i; j < length; ++j)
      if (tokens[j] == tokens[i]) l = at_most_largest(__fadd_rn(l, values[j]));
    logits[tokens[i]] = l;
  }
}

DEVICE void apply_penalties(float* logits, const SampleRow& row, const int* history, int* counts) {
  const int thread = static_cast<int>(threadIdx.x);
  if (row.repetition_penalty != 1) {
    for (int i = thread; i < row.history_length; i += sample_threads) {
      const int token = history[i];
      if (atomicAdd(&counts[token], 1) > 0) continue;
      const float l = logits[token];
      logits[token] = lowered(l, l > 0 ? __fdiv_rn(l, row.repetition_penalty) : __fmul_rn(l, row.repetition_penalty));
    }
    __syncthreads();
    for (int i = thread; i < row.history_length; i += sample_threads) atomicMin(&counts[history[i]], 0);
    __syncthreads();
  }
  if (row.presence_penalty == 0 && row.frequency_penalty == 0) return;
  const int output = row.prompt_length < 0 ? 0 : min(row.prompt_length, row.history_length);
  for (int i = output + thread; i < row.history_length; i += sample_threads) atomicAdd(&counts[history[i]], 1);
  __syncthreads();
  for (int i = output + thread; i < row.history_length; i += sample_threads) {
    const int token = history[i], count = atomicMin(&counts[token], 0);
    if (count == 0) continue;
    const float l = logits[token], once = __fsub_rn(l, row.presence_penalty);
    logits[token] = lowered(l, __fsub_rn(once, __fmul_rn(row.frequency_penalty, static_cast<float>(count))));
  }
}

DEVICE bool has_changes(const SampleRow& row) { return row.mask >= 0 || row.bias_length > 0 || row.counts >= 0; }
DEVICE void change(const SampleParams& p, const SampleRow& row, float* logits) {
  const int thread = static_cast<int>(threadIdx.x);
  const int* history = p.history + row.history;
  __syncthreads();
  if (row.logprobs >= 0) {
    for (int i = thread; i < row.bias_length; i += sample_threads)
      p.bias_raw[row.bias + i] = logits[p.bias_tokens[row.bias + i]];
    for (int i = thread; row.counts >= 0 && i < row.history_length; i += sample_threads)
      p.history_raw[row.history + i] = logits[history[i]];
    __syncthreads();
  }
  if (row.mask >= 0) apply_mask(logits, row.drawable, p.masks + row.mask);
  __syncthreads();
  apply_bias(logits, p.bias_tokens + row.bias, p.bias_values + row.bias, row.bias_length);
  __syncthreads();
  if (row.counts >= 0) apply_penalties(logits, row, history, p.counts + static_cast<long long>(row.counts) * p.vocab);
  __syncthreads();
}

// The logit of a token before its changes.
DEVICE float raw_logit(SampleShared& shared, const SampleParams& p, const SampleRow& row, const float* logits,
                       int token) {
  const int thread = static_cast<int>(threadIdx.x), history_length = row.counts >= 0 ? row.history_length : 0;
  if (thread == 0) shared.found = row.bias_length + history_length;
  __syncthreads();
  for (int i = thread; i < row.bias_length; i += sample_threads)
    if (p.bias_tokens[row.bias + i] == token) atomicMin(&shared.found, i);
  for (int i = thread; i < history_length; i += sample_threads)
    if (p.history[row.history + i] == token) atomicMin(&shared.found, row.bias_length + i);
  __syncthreads();
  const int found = shared.found;
  if (found < row.bias_length) return p.bias_raw[row.bias + found];
  if (found < row.bias_length + history_length) return p.history_raw[row.history + found - row.bias_length];
  return logits[token];
}

}  // namespace octavo::gpu

// Parameters of the kernels that draw tokens from rows of logits (cpp/sampling/sampler.h says what everything means).
#pragma once

namespace octavo::gpu {

constexpr int sample_group = 64;  // tokens of a group: they share a maximum, and the noise's smallest exponential

// A row to draw. Offsets are elements of SampleParams' arrays.
struct SampleRow {
  unsigned long long seed;
  float temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  int top_k;
  int logprobs;  // -1: none; n: of the token and of the n most likely, at most SampleParams::most_top
  int target;    // -1: draw; else the token whose log-probability is wanted
  int scanned;   // tokens that log-probabilities know, or `drawable` where none are wanted
  int drawable;  // tokens that may be drawn
  int position;  // of the token to be drawn: the noise's counter
  int history, history_length, prompt_length;  // tokens before it; room for one more where next_ids are made
  int bias, bias_length;
  int mask;    // words of bits; -1: all tokens may be drawn
  int counts;  // which row of `counts` is its own; -1: no penalties
};

// octavo_sample_scan, octavo_sample.
struct SampleParams {
  float* logits;     // [rows][vocab]; changed by masks, bias and penalties
  float* group_max;  // [rows][groups of vocab]
  const SampleRow* rows;
  int* history;
  const int* bias_tokens;
  const float* bias_values;
  const unsigned* masks;
  int* counts;          // [...][vocab]: zeros between launches
  float* bias_raw;      // as bias_values, and
  float* history_raw;   // as history: their tokens' logits before any change
  int* tokens;          // [rows]: results; -1: no finite logit, -2: none that the mask allows
  float* logprobs;      // [rows]
  int* top_counts;      // [rows]
  int* top_tokens;      // [rows][most_top], descending, the lowest id first on a tie
  float* top_logprobs;  // [rows][most_top]
  int* next_ids;        // [rows]: tokens again, as the ids of the next step; histories get theirs as well. May be null
  int vocab, most_top;
};

// A token that is what a row of the step before drew.
struct Feed {
  int row, token;  // of that step's rows, of this step's tokens
  int history;     // where it stands in SampleParams::history; -1: in none
};
// octavo_feed.
struct FeedParams {
  const int* tokens;  // drawn by the step before
  int* ids;           // of this step
  int* history;
  const Feed* feeds;  // [count]
  int count;
};

}  // namespace octavo::gpu

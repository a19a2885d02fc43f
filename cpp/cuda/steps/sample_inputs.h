// Rows to draw as the device is given them: numbers and offsets into arrays that all rows of a step share
// (cuda/kernels/sampling/params_sample.h).
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "../../../cuda/kernels/sampling/params_sample.h"
#include "../../../cuda/ops/sample.h"
#include "error.h"
#include "sampling/sampler.h"

namespace octavo::cuda {

inline void check_vocabulary(int V) {
  if (V <= largest_vocabulary) return;
  const std::string what = "a vocabulary of " + std::to_string(V) + " tokens";
  throw Error(Code::model_unsupported, what + " is not computed on CUDA devices", {{"found", what}});
}

// fed: the last so many tokens of every history are on the device already, and those before them too: none is given.
// room: for so many tokens behind what was given first. counts: rows of counts that there are; rows that far apart share
// one.
struct SampleInputs {
  int fed = 0, room = 0, counts = std::numeric_limits<int>::max();
  std::vector<gpu::SampleRow> rows;
  std::vector<std::int32_t> history, bias_tokens;
  std::size_t history_words = 0;  // of all histories, with room
  std::vector<float> bias_values;
  std::vector<std::uint32_t> masks;
  int counted = 0, most_top = 1;

  // Throws invalid_argument, as sample_row does.
  void add(const SampleRow& from, int V) {
    static const SamplerParams none;
    const SamplerParams& params = from.params == nullptr ? none : *from.params;
    const bool draws = from.target < 0;
    if (draws)
      check_sampler_params(params);
    else
      check_token(from.target, V, "target");
    gpu::SampleRow row{};
    row.seed = params.seed;
    row.temperature = params.temperature, row.top_p = params.top_p, row.min_p = params.min_p, row.top_k = params.top_k;
    row.repetition_penalty = params.repetition_penalty, row.presence_penalty = params.presence_penalty;
    row.frequency_penalty = params.frequency_penalty;
    row.logprobs = std::min(params.logprobs, V), row.target = from.target;
    if (row.logprobs > most_top_tokens)
      throw Error(Code::invalid_argument, "too many log-probabilities for this device");
    row.drawable = draws && params.vocabulary > 0 ? std::min(params.vocabulary, V) : V;
    row.scanned = row.logprobs >= 0 || !draws ? V : row.drawable;
    row.position = from.history_length, row.prompt_length = params.prompt_length;
    row.bias = static_cast<int>(bias_tokens.size()), row.bias_length = static_cast<int>(params.bias.size());
    for (const auto& [token, value] : params.bias) {
      check_token(token, V, "bias");
      bias_tokens.push_back(token), bias_values.push_back(value);
    }
    row.history = static_cast<int>(history_words), row.counts = -1, row.mask = -1;
    if (draws && has_penalties(params)) {
      row.history_length = from.history_length, row.counts = counted++ % counts;
      history_words += static_cast<std::size_t>(from.history_length - fed + room);
      if (fed == 0) add_history(from, V);
    }
    if (from.mask != nullptr) {
      // Rows in the same state of a grammar have the same one.
      const auto [place, is_new] = known_masks_.try_emplace(from.mask, static_cast<int>(masks.size()));
      row.mask = place->second;
      if (is_new) masks.insert(masks.end(), from.mask, from.mask + (V + 31) / 32);
    }
    most_top = std::max(most_top, row.logprobs);
    rows.push_back(row);
  }

 private:
  std::unordered_map<const std::uint32_t*, int> known_masks_;
  void add_history(const SampleRow& from, int V) {
    for (int i = 0; i < from.history_length; ++i) check_token(from.history[i], V, "history");
    history.insert(history.end(), from.history, from.history + from.history_length);
    history.resize(history_words);
  }
  static void check_token(std::int32_t token, int V, const char* where) {
    if (token >= 0 && token < V) return;
    throw Error(Code::invalid_argument, std::string("a token of ") + where + " is outside of the vocabulary",
                {{"expected", "0 to " + std::to_string(V - 1)}, {"found", std::to_string(token)}});
  }
};

// What rows brought, on the host.
struct SampleResults {
  const std::int32_t* tokens;
  const float* logprobs;
  const std::int32_t *top_counts, *top_tokens;  // null: none were asked for
  const float* top_logprobs;
  int most_top;

  void put(int index, SampleRow& row) const {
    row.token = tokens[index], row.logprob = logprobs[index];
    row.top.clear();
    if (top_counts == nullptr) return;
    const std::ptrdiff_t first = std::ptrdiff_t{index} * most_top;
    for (std::ptrdiff_t i = first; i < first + top_counts[index]; ++i)
      row.top.push_back({top_tokens[i], top_logprobs[i]});
  }
};

}  // namespace octavo::cuda

// Sampling with counter-based noise, one implementation for every backend. Order of operations on a row of raw logits:
//
//   log-probabilities (if asked) of the raw logits -> mask of a grammar -> logit bias -> repetition penalty (tokens of
//   prompt and output) -> presence and frequency penalties (tokens of the output) -> temperature -> top-k -> top-p ->
//   min-p -> draw
//
// temperature 0 is argmax, the lowest id on a tie. Otherwise the token is argmax over the kept set of
// logit / T + Gumbel(seed, position, token) (the Gumbel-max trick), so a draw depends on nothing but the row, the
// parameters and those three numbers: speculative and ordinary decoding give the same sequence at every temperature.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace octavo {

namespace grammar {
struct Source;
}

struct SamplerParams {
  float temperature = 0;         // >= 0
  int top_k = 0;                 // 0 = off
  float top_p = 1;               // (0, 1]; 1 = off
  float min_p = 0;               // [0, 1]; 0 = off
  float repetition_penalty = 1;  // > 0; 1 = off (Keskar et al. 2019: positive logits divided, negative multiplied)
  float presence_penalty = 0;    // subtracted once from every token of the output
  float frequency_penalty = 0;   // subtracted per occurrence in the output
  std::uint64_t seed = 0;
  int logprobs = -1;             // -1 none; n >= 0: the drawn token's and the n most likely tokens' log-probabilities
  int vocabulary = 0;  // ids from here on are never drawn (a padded model has rows without a token); 0 = all may be
  int prompt_length = 0;         // tokens before the output begins; a request that is recomputed keeps its own
  std::vector<std::pair<std::int32_t, float>> bias;  // token, added to its logit; -infinity bans it
  std::shared_ptr<const grammar::Source> grammar;    // what the output must be; null: anything
};

struct TokenLogprob {
  std::int32_t token;
  float logprob;
};

// One row to draw. Inputs first.
struct SampleRow {
  const SamplerParams* params;
  const std::int32_t* history;  // every token before the one to be drawn: prompt and output
  int history_length;           // = the position of the token to be drawn: the noise's counter
  const std::uint32_t* mask = nullptr;  // [ceil(vocab / 32)]: bits of the tokens that may be drawn; null: all may
  std::int32_t target = -1;  // >= 0: no draw, the log-probability of this token instead (scoring); params may be null
  // Results
  std::int32_t token = -1;      // -1: the row has no finite logit (NUMERIC_ERROR); -2: none that the mask allows
  float logprob = 0;            // log-softmax of the raw logits at `token` (params->logprobs >= 0, or a target)
  std::vector<TokenLogprob> top;  // params->logprobs most likely, descending, lowest id first on ties
};

// Draws (or scores) one row; scratch is reused between calls by one thread. Throws invalid_argument for tokens
// outside the vocabulary in history, bias or target.
struct Candidate {
  float logit;
  std::int32_t token;
  std::int64_t weight;  // exp((logit - highest) / T) in units of 2^-40
};
struct SamplerScratch {
  std::vector<float> group_max, order;
  std::vector<Candidate> kept;
  std::vector<std::int32_t> counts;                     // zeros between calls
  std::vector<std::pair<std::int32_t, float>> changed;  // token, raw logit
};
// Throws invalid_argument naming the parameter that is out of its range; sample_row checks likewise.
void check_sampler_params(const SamplerParams& params);
// Whether the draw depends on the tokens before (SampleRow::history).
bool has_penalties(const SamplerParams& params);
void sample_row(float* logits, int vocab, SampleRow& row, SamplerScratch& scratch);

// The noise: Gumbel(0, 1), independent for every (seed, position, token), made of two hashes (cpp/sampling/gumbel.h).
double gumbel_noise(std::uint64_t seed, std::uint32_t position, std::uint32_t token);

}  // namespace octavo

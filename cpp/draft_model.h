// A second, smaller model of the same vocabulary that guesses what the first one draws: it draws with the very noise of
// (seed, position, token), so that where the two agree closely their draws are equal at every temperature (speculative
// decoding, Leviathan et al. 2023, Chen et al. 2023, with shared noise in the place of rejection sampling).
//
// An engine of its own mirrors each sequence of the target: keys and values of the tokens that both have stay, those of
// wrong guesses are cut off, those that lack are computed with the next guess, some of a long prompt in each step. All
// requests of a step are drafted for together. It never changes a token, so it may fall short: without room in its pool,
// or as long as it lacks much of a prompt, it guesses nothing.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine.h"

namespace octavo {

class DraftModel {
 public:
  struct Ask {
    int sequence;                             // the target's
    const std::string* salt;                  // of its prefix index
    const std::vector<std::int32_t>* tokens;  // that it has computed
    std::int32_t last;                        // the one after them
    const SamplerParams* params;
    int most;
    std::int32_t* out;  // [max_drafts]
    DraftReport* report;
  };

  // vocabulary: the target's; no guess lies outside of it.
  DraftModel(std::shared_ptr<const Model> model, const EngineOptions& options, std::shared_ptr<Signals> signals,
             int vocabulary);

  // False: interrupted.
  bool propose(const std::vector<Ask>& asks);
  // The target's sequence is gone.
  void release(int sequence);
  std::size_t bytes() const;
  KvCache& kv() { return engine_.kv(); }
  // For measurements: what the model is taken to have drawn at each position of a sequence, whatever it did draw. Its work
  // stays the same.
  void plant(int sequence, std::vector<std::int32_t> draws) { planted_.insert_or_assign(sequence, std::move(draws)); }

 private:
  bool begin(const Ask& ask, Step& step);
  int open(const Ask& ask);
  std::int32_t drawn(const Ask& ask, int round, std::int32_t token) const;

  Engine engine_;
  const int vocabulary_;  // of both models
  std::unordered_map<int, std::vector<std::int32_t>> planted_;  // by the target's sequence
  std::unordered_map<int, int> mirrors_;  // target's sequence -> the draft's
};

}  // namespace octavo

#include "draft_model.h"

#include <algorithm>

namespace octavo {

namespace {

// Of prompts that it lacks so many tokens are computed in one step: everybody's tokens wait for them.
constexpr int most_behind = 128;
// What a mirror lacks as a rule: the last token, and before it the last guess when all were right.
constexpr int usual_lack = 2;

}  // namespace

DraftModel::DraftModel(std::shared_ptr<const Model> model, const EngineOptions& options,
                       std::shared_ptr<Signals> signals, int vocabulary)
    : engine_(std::move(model), options, std::move(signals)),
      vocabulary_(std::min(vocabulary, engine_.model().desc().vocabulary)) {}

std::size_t DraftModel::bytes() const { return engine_.kv_bytes() + engine_.scratch_bytes(); }

void DraftModel::release(int sequence) {
  planted_.erase(sequence);
  const auto found = mirrors_.find(sequence);
  if (found == mirrors_.end()) return;
  engine_.release(found->second);
  mirrors_.erase(found);
}

int DraftModel::open(const Ask& ask) {
  const auto found = mirrors_.find(ask.sequence);
  if (found != mirrors_.end()) return found->second;
  const int sequence = engine_.create(*ask.salt);
  mirrors_.emplace(ask.sequence, sequence);
  SamplerParams params = *ask.params;
  params.logprobs = -1;
  params.grammar = nullptr;  // a guess that it forbids is wrong, no more
  // Models of one vocabulary may be padded to different sizes.
  params.vocabulary = params.vocabulary == 0 ? vocabulary_ : std::min(params.vocabulary, vocabulary_);
  std::erase_if(params.bias, [this](const auto& bias) { return bias.first >= vocabulary_; });
  engine_.set_sampler(sequence, std::move(params));
  engine_.kv().match(sequence, ask.tokens->data(), static_cast<int>(ask.tokens->size()));
  return sequence;
}

// Adds to a step what the mirror lacks and, if that is all of it, the token to guess after. False: no guess this time.
bool DraftModel::begin(const Ask& ask, Step& step) {
  const int sequence = open(ask);
  KvCache& kv = engine_.kv();
  const std::vector<std::int32_t>& tokens = *ask.tokens;
  const std::vector<std::int32_t>& known = kv.tokens(sequence);
  const auto differs = std::mismatch(known.begin(), known.end(), tokens.begin(), tokens.end()).first;
  const int common = static_cast<int>(differs - known.begin());
  if (common < kv.length(sequence)) kv.truncate(sequence, common);
  const int lacks = static_cast<int>(tokens.size()) - common;
  const int room = std::min(most_behind, engine_.options().max_step_tokens) - static_cast<int>(step.tokens.size());
  const bool complete = lacks < room;
  const int before = complete ? lacks : room;  // those before the token to guess after
  const auto from = tokens.begin() + common;
  const auto strange = [this](std::int32_t token) { return token >= vocabulary_; };
  if (before < 0 || before + complete < 1 || strange(ask.last) || std::any_of(from, from + before, strange))
    return false;
  if (!kv.reserve(sequence, before + complete)) return false;
  if (before + complete > usual_lack) ask.report->behind = before;
  step.segments.push_back({sequence, before + complete, complete ? 1 : 0, false, -1});
  step.tokens.insert(step.tokens.end(), from, from + before);
  if (complete) step.tokens.push_back(ask.last);
  return complete;
}

std::int32_t DraftModel::drawn(const Ask& ask, int round, std::int32_t token) const {
  const auto found = planted_.find(ask.sequence);
  const std::size_t position = ask.tokens->size() + 1 + static_cast<std::size_t>(round);
  return found == planted_.end() || position >= found->second.size() ? token
                                                                     : std::min(found->second[position], vocabulary_ - 1);
}

bool DraftModel::propose(const std::vector<Ask>& asks) {
  Step step;
  std::vector<const Ask*> drafting;
  for (const Ask& ask : asks)
    if (begin(ask, step)) drafting.push_back(&ask);
  for (int round = 0; !step.segments.empty(); ++round) {
    const std::vector<Segment> segments = step.segments;
    engine_.submit(std::move(step));
    if (!engine_.wait()) return false;
    step = {};
    std::vector<const Ask*> left;
    std::size_t row = 0;
    for (const Segment& s : segments) {
      if (s.rows == 0) continue;
      const Ask* const ask = drafting[row];
      const std::int32_t token = drawn(*ask, round, engine_.result().rows[row++].token);
      if (token < 0) continue;
      ask->out[round] = token;
      ask->report->proposed = round + 1;
      ask->report->source = DraftSource::model;
      if (round + 1 >= ask->most || !engine_.kv().reserve(s.sequence, 1)) continue;
      step.segments.push_back({s.sequence, 1, 1, false, -1});
      step.tokens.push_back(token);
      left.push_back(ask);
    }
    drafting.swap(left);
  }
  return true;
}

}  // namespace octavo

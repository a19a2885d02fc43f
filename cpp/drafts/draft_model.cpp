#include "drafts/draft_model.h"

#include <algorithm>

namespace octavo {

DraftModel::DraftModel(std::shared_ptr<const Model> model, const EngineOptions& options,
                       std::shared_ptr<Signals> signals)
    : engine_(std::move(model), options, std::move(signals)) {}

std::size_t DraftModel::bytes() const { return engine_.kv_bytes() + engine_.scratch_bytes(); }

void DraftModel::release(int sequence) {
  const auto found = mirrors_.find(sequence);
  if (found == mirrors_.end()) return;
  engine_.release(found->second);
  mirrors_.erase(found);
}

int DraftModel::open(const Ask& ask) {
  const auto found = mirrors_.find(ask.sequence);
  if (found != mirrors_.end()) return found->second;
  const int sequence = engine_.create("");
  mirrors_.emplace(ask.sequence, sequence);
  SamplerParams params = *ask.params;
  params.logprobs = -1;
  // Models of one vocabulary may be padded to different sizes.
  const int known = engine_.model().desc().vocabulary;
  params.vocabulary = params.vocabulary == 0 ? known : std::min(params.vocabulary, known);
  std::erase_if(params.bias, [known](const auto& bias) { return bias.first >= known; });
  engine_.set_sampler(sequence, std::move(params));
  return sequence;
}

// Adds to a step what the mirror lacks and, if that is all of it, the token to guess after. False: no guess this time.
bool DraftModel::begin(const Ask& ask, Step& step) {
  const int sequence = open(ask);
  KvCache& kv = engine_.kv();
  const std::vector<std::int32_t>& tokens = *ask.tokens;
  if (kv.length(sequence) == 0 && kv.table(sequence).empty())
    kv.match(sequence, tokens.data(), static_cast<int>(tokens.size()));
  const std::vector<std::int32_t>& known = kv.tokens(sequence);
  const auto differs = std::mismatch(known.begin(), known.end(), tokens.begin(), tokens.end()).first;
  const int common = static_cast<int>(differs - known.begin());
  if (common < kv.length(sequence)) kv.truncate(sequence, common);
  const int lacks = static_cast<int>(tokens.size()) - common;
  const int room = engine_.options().max_step_tokens - static_cast<int>(step.tokens.size());
  const bool complete = lacks < room;
  const int count = complete ? lacks + 1 : room;
  const auto from = tokens.begin() + common;
  const auto strange = [this](std::int32_t token) { return token >= engine_.model().desc().vocabulary; };
  if (count < 1 || strange(ask.last) || std::any_of(from, from + std::min(lacks, count), strange)) return false;
  if (!kv.reserve(sequence, count)) return false;
  step.segments.push_back({sequence, count, complete ? 1 : 0, false, -1});
  step.tokens.insert(step.tokens.end(), from, from + std::min(lacks, count));
  if (complete) step.tokens.push_back(ask.last);
  return complete;
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
      const std::int32_t token = engine_.result().rows[row++].token;
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

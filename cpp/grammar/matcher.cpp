#include "grammar/matcher.h"

#include <algorithm>

#include "error.h"

namespace octavo::grammar {

namespace {

// Automata that no request uses are kept for the next one up to this size.
constexpr std::size_t most_idle_bytes = std::size_t{64} << 20;

}  // namespace

// ---- masks ----------------------------------------------------------------------------------------------------------

Mask MaskCache::get(Automaton& automaton, int state) {
  const Key key{automaton.generation(), automaton.mask_key(state)};
  const auto found = known_.find(key);
  if (found != known_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->mask;
  }
  auto words = std::make_shared<std::vector<std::uint32_t>>(static_cast<std::size_t>(automaton.tokens().words()), 0u);
  automaton.fill_mask(key.state, words->data());
  const std::size_t size = 4 * words->size() + sizeof(Entry);
  while (!entries_.empty() && bytes_ + size > most_bytes_) {
    bytes_ -= 4 * entries_.back().mask->size() + sizeof(Entry);
    known_.erase(entries_.back().key);
    entries_.pop_back();
  }
  bytes_ += size;
  entries_.push_front({key, std::move(words)});
  known_.emplace(key, entries_.begin());
  return entries_.front().mask;
}

// ---- a sequence -----------------------------------------------------------------------------------------------------

Matcher::Matcher(std::shared_ptr<Automaton> automaton, bool drop_space)
    : automaton_(std::move(automaton)), drop_space_(drop_space) {}

void Matcher::truncate(std::size_t length) {
  tokens_.resize(std::min(length, tokens_.size()));
  states_.resize(std::min(length + 1, states_.size()));
}

void Matcher::push(std::int32_t token) { tokens_.push_back(token); }

// States up to the last token.
void Matcher::catch_up() {
  if (generation_ != automaton_->generation()) states_.clear();
  generation_ = automaton_->generation();
  if (states_.empty()) states_.push_back(automaton_->start(drop_space_));
  while (states_.size() <= tokens_.size()) {
    const int last = states_.back();
    states_.push_back(last == Automaton::dead ? last : automaton_->after(last, tokens_[states_.size() - 1]));
  }
}

// Once more with an empty cache when it is full.
template <typename Body>
bool Matcher::attempt(Body body) {
  for (int tries = 0; tries < 2; ++tries) {
    try {
      catch_up();
      body();
      return true;
    } catch (const Overflow&) {
      automaton_->reset();
    }
  }
  return false;
}

Mask Matcher::mask(MaskCache& cache) {
  Mask mask;
  if (attempt([&] { mask = cache.get(*automaton_, states_.back()); })) return mask;
  return std::make_shared<std::vector<std::uint32_t>>(static_cast<std::size_t>(automaton_->tokens().words()), 0u);
}

bool Matcher::alive() {
  bool alive = false;
  return attempt([&] { alive = states_.back() != Automaton::dead; }) && alive;
}

bool Matcher::accepting() {
  bool accepting = false;
  return attempt([&] { accepting = automaton_->accepting(states_.back()); }) && accepting;
}

// ---- the grammars of an engine --------------------------------------------------------------------------------------

void Grammars::set_tokens(std::shared_ptr<const TokenTrie> tokens) {
  tokens_ = std::move(tokens);
  known_.clear();
}

Matcher Grammars::matcher(const Source& source) {
  if (!tokens_)
    throw Error(Code::invalid_argument, "a grammar without a vocabulary", {{"expected", "setVocabulary before"}});
  auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
    return known.key == source.key && known.program == source.program;
  });
  if (found == known_.end()) {
    auto program = std::make_shared<const Program>(source.program.data(), source.program.size());
    known_.push_front({source.key, source.program, std::make_shared<Automaton>(std::move(program), tokens_)});
    found = known_.begin();
  }
  known_.splice(known_.begin(), known_, found);
  forget();
  return Matcher(known_.front().automaton, source.drop_space);
}

// The automata used last that fit; those in use stay in any case.
void Grammars::forget() {
  std::size_t idle = 0;
  for (auto known = std::next(known_.begin()); known != known_.end();) {
    const bool used = known->automaton.use_count() > 1;
    if (!used) idle += known->automaton->bytes() + 4 * known->program.size();
    if (!used && idle > most_idle_bytes)
      known = known_.erase(known);
    else
      ++known;
  }
}

}  // namespace octavo::grammar

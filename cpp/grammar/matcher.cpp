#include "grammar/matcher.h"

#include <algorithm>

#include "error.h"

namespace octavo::grammar {

namespace {

// Automata that no request uses are kept for the next one up to this size.
constexpr std::size_t most_idle_bytes = std::size_t{64} << 20;

}  // namespace

// ---- masks ----------------------------------------------------------------------------------------------------------

template <typename Fill>
Mask MaskCache::get(std::uint64_t generation, int state, std::size_t words, Fill fill) {
  const Key key{generation, state};
  const auto found = known_.find(key);
  if (found != known_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->mask;
  }
  auto mask = std::make_shared<std::vector<std::uint32_t>>(words, 0u);
  if (!fill(mask->data())) mask.reset();
  const std::size_t size = 4 * words + sizeof(Entry);
  while (!entries_.empty() && bytes_ + size > most_bytes_) {
    bytes_ -= entries_.back().bytes;
    known_.erase(entries_.back().key);
    entries_.pop_back();
  }
  bytes_ += size;
  entries_.push_front({key, std::move(mask), size});
  known_.emplace(key, entries_.begin());
  return entries_.front().mask;
}

Mask MaskCache::get(Automaton& automaton, int state) {
  const int key = automaton.mask_key(state);
  return get(automaton.generation(), key, static_cast<std::size_t>(automaton.tokens().words()),
             [&](std::uint32_t* words) {
               automaton.fill_mask(key, words);
               return true;
             });
}

// ---- a sequence -----------------------------------------------------------------------------------------------------

Matcher::Matcher(std::shared_ptr<Automaton> automaton, const Source& source)
    : automaton_(std::move(automaton)),
      marks_(source.marks.empty() ? nullptr : std::make_shared<const Marks>(source.marks)),
      drop_space_(source.drop_space),
      reasoning_(source.reasoning) {}

// Free, it looks for marks; behind one it is in the grammar, until its text is complete. What a token goes on with
// behind a mark and the grammar does not take is free, too: the mark was none.
Matcher::Step Matcher::after(int state, std::int32_t token) {
  const TokenTrie& tokens = automaton_->tokens();
  if (token < 0 || token >= tokens.size()) return {Automaton::dead, true};
  if (state >= 0 && (!marks_ || tokens.ends(token) || tokens.begin(token) == tokens.end(token)))
    return {automaton_->after(state, token), true};
  const bool began_free = state < 0;
  bool goes_on = true;
  for (const std::uint8_t *p = tokens.begin(token), *const end = tokens.end(token); p < end; ++p) {
    if (state < 0) {
      const bool reasoning = (-1 - state) % 2 == 1;
      const int node = marks_->next((-1 - state) / 2, *p);
      const MarkKind kind = marks_->kind(node);
      if (kind == MarkKind::begin && !reasoning)
        state = automaton_->start(false);
      else
        state = free_state(node, kind == MarkKind::open || (reasoning && kind != MarkKind::close));
    } else {
      state = automaton_->next(state, *p);
      if (state == Automaton::dead) {
        if (!began_free) break;
        state = free_state(0, false);
        goes_on = false;
      } else if (automaton_->accepting(state)) {
        state = free_state(0, false);
      }
    }
  }
  return {state, goes_on};
}

// All tokens but those that complete a mark and go on with what no text of the grammar begins with.
Mask Matcher::free_mask(MaskCache& cache, int state) {
  const TokenTrie& tokens = automaton_->tokens();
  return cache.get(automaton_->generation(), state, static_cast<std::size_t>(tokens.words()),
                   [&](std::uint32_t* words) {
                     bool all = true;
                     for (int t = 0; t < tokens.size(); ++t) {
                       const bool good = after(state, t).goes_on;
                       if (good) words[t / 32] |= 1u << (t % 32);
                       all = all && good;
                     }
                     return !all;
                   });
}

void Matcher::truncate(std::size_t length) {
  tokens_.resize(std::min(length, tokens_.size()));
  states_.resize(std::min(length + 1, states_.size()));
}

void Matcher::push(std::int32_t token) { tokens_.push_back(token); }

// States up to the last token.
void Matcher::catch_up() {
  if (generation_ != automaton_->generation()) states_.clear();
  generation_ = automaton_->generation();
  if (states_.empty()) states_.push_back(marks_ ? free_state(0, reasoning_) : automaton_->start(drop_space_));
  while (states_.size() <= tokens_.size()) {
    const int last = states_.back();
    states_.push_back(last == Automaton::dead ? last : after(last, tokens_[states_.size() - 1]).state);
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
  const auto find = [&] {
    const int state = states_.back();
    mask = state < 0 ? free_mask(cache, state) : cache.get(*automaton_, state);
  };
  if (attempt(find)) return mask;
  return std::make_shared<std::vector<std::uint32_t>>(static_cast<std::size_t>(automaton_->tokens().words()), 0u);
}

bool Matcher::alive() {
  bool alive = false;
  return attempt([&] { alive = states_.back() != Automaton::dead; }) && alive;
}

bool Matcher::accepting() {
  bool accepting = false;
  return attempt([&] { accepting = states_.back() < 0 || automaton_->accepting(states_.back()); }) && accepting;
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
  return Matcher(known_.front().automaton, source);
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

// The grammars of an engine, their masks, and where a sequence stands in its grammar: a state after each token of its
// output, so that going back is to drop the last ones. States are a cache (automaton.h): they are found again from the
// tokens when it was dropped.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/marks.h"

namespace octavo::grammar {

// A grammar as a request brings it.
struct Source {
  std::string key;  // names the program and the marks
  std::vector<std::int32_t> program;
  bool drop_space = false;  // a space at the very beginning of the output is no part of its text
  // There are some: the output is free until one that begins a text of the grammar, and again behind that text.
  std::vector<Mark> marks;
  bool reasoning = false;  // it begins within the model's reasoning
};

using Mask = std::shared_ptr<const std::vector<std::uint32_t>>;

// Masks by automaton and state, the last used ones.
class MaskCache {
 public:
  explicit MaskCache(std::size_t most_bytes) : most_bytes_(most_bytes) {}
  // `fill` fills an empty mask; throws Overflow.
  template <typename Fill>
  Mask get(std::uint64_t generation, int state, std::size_t words, Fill fill);
  Mask get(Automaton& automaton, int state);  // throws Overflow
  std::size_t bytes() const { return bytes_; }

 private:
  struct Key {
    std::uint64_t generation;  // names the automaton, too
    int state;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return (key.generation * 0x9e3779b97f4a7c15ull + static_cast<std::uint64_t>(key.state)) * 0xff51afd7ed558ccdull;
    }
  };
  struct Entry {
    Key key;
    Mask mask;
    std::size_t bytes;
  };
  const std::size_t most_bytes_;
  std::size_t bytes_ = 0;
  std::list<Entry> entries_;  // last used first
  std::unordered_map<Key, std::list<Entry>::iterator, Hash> known_;
};

class Matcher {
 public:
  Matcher(std::shared_ptr<Automaton> automaton, const Source& source);

  std::size_t length() const { return tokens_.size(); }
  void truncate(std::size_t length);
  void push(std::int32_t token);
  // Of the place it has come to; null: anything may follow. All zeros: nothing may, or the grammar is too large here.
  Mask mask(MaskCache& cache);
  // Whether the tokens so far are the beginning of a text, and whether they are one.
  bool alive();
  bool accepting();

 private:
  // Where a sequence is free: below 0, the node of the marks and whether it is in reasoning.
  static int free_state(int node, bool reasoning) { return -1 - 2 * node - (reasoning ? 1 : 0); }
  struct Step {
    int state;
    bool goes_on;  // false: the token completed a mark and went on with something else
  };
  Step after(int state, std::int32_t token);
  Mask free_mask(MaskCache& cache, int state);
  void catch_up();
  template <typename Body>
  bool attempt(Body body);

  std::shared_ptr<Automaton> automaton_;
  std::shared_ptr<const Marks> marks_;  // null: the output is a text of the grammar
  bool drop_space_, reasoning_;
  std::uint64_t generation_ = 0;
  std::vector<std::int32_t> tokens_;
  std::vector<int> states_;  // [0..tokens]: states that are known
};

class Grammars {
 public:
  void set_tokens(std::shared_ptr<const TokenTrie> tokens);
  Matcher matcher(const Source& source);  // throws invalid_argument
  MaskCache& masks() { return masks_; }
  int vocabulary() const { return tokens_ ? tokens_->size() : 0; }

 private:
  struct Known {
    std::string key;
    std::vector<std::int32_t> program;
    std::shared_ptr<Automaton> automaton;
  };
  void forget();

  std::shared_ptr<const TokenTrie> tokens_;
  MaskCache masks_{std::size_t{32} << 20};
  std::list<Known> known_;  // last used first
};

}  // namespace octavo::grammar

// A grammar at work: a pushdown automaton over bytes, made deterministic as far as it is walked.
//
// What is still to come is a list of frames (a node, with counters where it repeats), interned: a continuation is a
// number. An item is a place within a frame that takes bytes: a literal, an automaton over characters, a name. A state
// is the set of items in which the bytes so far may have led, interned too, so that (state, byte) -> state is computed
// once and then looked up. State 0 is dead: no text of the grammar begins with these bytes.
//
// The mask of a state is one walk of the token trie. Counters that reach beyond the longest token make no difference to
// it, so masks belong to states in which they are cut down (mask_key): a string of up to 100,000 characters has a few.
//
// All that is interned is a cache: when it outgrows `most_bytes`, Overflow is thrown, reset() drops it, and states are
// found again from the tokens (matcher.h).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "grammar/interner.h"
#include "grammar/program.h"
#include "grammar/token_trie.h"

namespace octavo::grammar {

struct Overflow {};

class Automaton {
 public:
  static constexpr int dead = 0;
  static constexpr std::size_t most_bytes = std::size_t{32} << 20;
  static constexpr int most_frames = 1000;  // to come, at any time: nothing nests deeper

  Automaton(std::shared_ptr<const Program> program, std::shared_ptr<const TokenTrie> tokens);

  // drop_space: a space at the very beginning is no part of the text (the first token of SentencePiece models).
  int start(bool drop_space);
  int next(int state, std::uint8_t byte) {
    const int known = moves_[static_cast<std::size_t>(state) / page_states][moves_at(state, byte)];
    return known >= 0 ? known : move(state, byte);
  }
  int after(int state, std::int32_t token);
  bool accepting(int state) const;

  int mask_key(int state);
  void fill_mask(int key, std::uint32_t* words);  // [tokens().words()], zeros before

  const TokenTrie& tokens() const { return *tokens_; }
  std::size_t bytes() const;
  // Another one after each reset; no two automata of the process ever have the same.
  std::uint64_t generation() const { return generation_; }
  void reset();
  int states() const { return states_.size(); }

 private:
  // Rows of moves come in pages, which never move: to copy all of them takes long.
  static constexpr std::size_t page_states = 16;
  static std::size_t moves_at(int state, std::uint8_t byte) {
    return static_cast<std::size_t>(state) % page_states * 256 + byte;
  }

  enum ItemKind { accept, ended, prefix, literal, text, leaf, name };
  struct Frame {
    int node, i, need, can, next;
  };
  struct Item {
    int kind, node, i, need, can, a, b, c, k;
  };
  // Whatever of these bytes comes, so many times at most, a text goes on.
  struct Run {
    ByteSet bytes;
    int length;  // -1: not computed yet
  };
  // Which names may come at a place of an object.
  struct Names {
    int from, to;  // listed ones; none: from > to
    bool others;
  };

  Frame frame(int k) const;
  Item item(int id) const;
  int cons(int node, int i, int need, int can, int next);
  int cons(int node, int next) { return cons(node, 0, 0, 0, next); }
  void push(int k);
  void add(const Item& item);
  void close();
  void expand(int k);
  void expand_array(const Frame& f, const Node& n);
  void expand_list(const Frame& f, const Node& n);
  void expand_object(const Frame& f, const Node& n);
  void step(int id, std::uint8_t byte);
  bool step_character(const TextAutomaton& t, int& q, int& within, std::uint8_t byte) const;
  void step_text(const Item& it, std::uint8_t byte);
  void step_name(const Item& it, std::uint8_t byte);
  void after_name(const Item& it, int i, int value);
  Names names(const Object& o, int i, int need, int can) const;
  int move(int state, std::uint8_t byte);
  int intern_items();
  std::vector<int> list_of(int state) const;
  int cut(int k);
  int plain_characters(const Item& it) const;
  Run run(int state);
  bool takes_plain(const Item& it) const;
  const Node& node(int i) const { return program_->nodes[static_cast<std::size_t>(i)]; }

  const std::shared_ptr<const Program> program_;
  const std::shared_ptr<const TokenTrie> tokens_;
  Interner frames_, items_, states_;
  std::vector<int> depths_;                    // [frames]: how many there are with it
  std::vector<std::unique_ptr<int[]>> moves_;  // [states / page_states][page_states * 256], -1: not computed yet
  std::vector<Run> runs_;                      // [states]
  std::vector<int> keys_;                      // [states], -1 likewise
  std::vector<int> cuts_;                      // [frames]
  std::vector<unsigned> stamps_;               // [frames]: pushed in this closure
  unsigned stamp_ = 0;
  std::vector<int> open_;  // frames to expand
  std::vector<int> out_;   // items of the state being made
  std::vector<int> path_;  // states along a walk
  int start_ = -1, start_dropping_ = -1, ended_ = -1;
  std::uint64_t generation_ = 0;
};

}  // namespace octavo::grammar

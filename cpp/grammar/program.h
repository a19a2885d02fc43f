// A compiled grammar: what lib/grammar/ writes as one array of int32 (lib/grammar/program.ts has the layout), checked
// number by number and laid out for the automaton. A program that passes here can be run without further checks.
//
// A grammar is a tree of nodes over bytes. JSON's punctuation and white space are nodes 0 to 7 of every program.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "grammar/token_trie.h"

namespace octavo::grammar {

inline constexpr int unbounded = 1 << 30;  // counters: no limit

enum class Kind { bytes, seq, alt, text, trie, star, array, list, object };
inline constexpr int kind_count = 9;

// Nodes that every program begins with.
enum Punctuation { open_array, close_array, open_object, close_object, comma, colon, quote, space, punctuation_count };

struct Node {
  Kind kind;
  int a, b, c;
  // bytes   a: first byte in Program::bytes, b: how many
  // seq     a: first child in Program::children, b: how many          alt likewise
  // text    a: automaton, b, c: characters at least and at most
  // trie    a: trie; whatever its labels are, a leaf is a match
  // star    a: child, b, c: repetitions at least and at most
  // array   a: index into Program::arrays, b, c: elements at least and at most
  // list    a: index into Program::lists
  // object  a: index into Program::objects, b, c: properties at least and at most
};

// Bytes -> characters, each of one of `classes` classes. cells[state * 256 + byte]: >= 0 the state in the midst of a
// character, -1 no character begins like this, -2 - c the end of a character of class c.
struct Classifier {
  int states, classes;
  std::vector<std::int16_t> cells;
  std::vector<std::uint64_t> reach;  // [states * words()]: classes that a character begun like this may have
  bool all_plain;                    // every character that stands for itself in a JSON string is one
  int words() const { return (classes + 63) / 64; }
};

// A finite automaton over characters. Every state reaches an accepting one.
struct TextAutomaton {
  int classifier, states, classes;
  std::vector<int> next;               // [states * classes], -1: none
  std::vector<int> label;              // [states], -1: not accepting
  std::vector<int> shortest, longest;  // [states]: characters to an accepting state; lengths between them all occur
  std::vector<std::uint8_t> open;      // [states]: some character may follow
  std::vector<std::uint8_t> free;      // [states]: accepting, and every character leads back to it
  std::vector<std::uint64_t> live;     // [states * words of the classifier]: classes that may follow
  std::vector<ByteSet> run;            // [states]: whatever of these ASCII bytes comes, ...
  std::vector<int> run_length;         // [states]: ... so many times, it goes on. Unbounded: in this state
  int need_cap, can_cap;               // beyond a token's length counters above these make no difference
};

// Byte strings. Children of a state are sorted by byte.
struct Trie {
  std::vector<int> begin;  // [states + 1] into bytes and targets
  std::vector<std::uint8_t> bytes;
  std::vector<int> targets;
  std::vector<int> label;        // [states], -1: no string ends here
  std::vector<int> below_begin;  // [states + 1] into below
  std::vector<int> below;        // labels of the strings that begin like this, ascending
  int next(int state, std::uint8_t byte) const;
  bool any_below(int state, int from, int to) const;  // a label in [from, to]
};

struct Array {
  std::vector<int> prefix;  // nodes
  int rest;                 // node, -1: no more elements
};

// Elements as a finite automaton, where counting them is not enough. State 0 is the start.
struct List {
  struct Edge {
    int node, to;
  };
  std::vector<int> begin;  // [states + 1] into edges
  std::vector<Edge> edges;
  std::vector<std::uint8_t> accept;
};

// Listed properties in their order, then others, whose names run through an automaton that says what their values are.
struct Object {
  int names;                                   // a trie labelled with indices of listed properties; -1: none are listed
  int others;                                  // an automaton labelled with nodes; -1: no others
  bool other_needed;                           // one that is not listed must be there
  std::vector<int> values;                     // [listed]: node, -1: the name may not occur
  std::vector<std::uint8_t> required;          // [listed]
  std::vector<int> required_from, alive_from;  // [listed + 1]: so many required, so many possible ones from here on
  std::vector<int> next_required;              // [listed + 1]: the first one from here on; listed: none
};

class Program {
 public:
  // Throws invalid_argument.
  Program(const std::int32_t* words, std::size_t count);

  int start;
  std::vector<Node> nodes;
  std::vector<std::uint8_t> bytes;
  std::vector<int> children;
  std::vector<Classifier> classifiers;
  std::vector<TextAutomaton> automata;
  std::vector<Trie> tries;
  std::vector<Array> arrays;
  std::vector<List> lists;
  std::vector<Object> objects;
};

}  // namespace octavo::grammar

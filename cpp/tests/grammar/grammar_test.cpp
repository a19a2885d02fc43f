// Grammars: the automaton against texts that are known to belong or not, masks against each token tried byte by byte,
// going back and starting again, and programs that are broken.
#include <doctest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>

#include "engine.h"
#include "error.h"
#include "grammar/matcher.h"
#include "tests/one_layer_model.h"

using namespace octavo;
using namespace octavo::grammar;

namespace {

// Lays a program out as lib/grammar/program.ts does.
class Writer {
 public:
  Writer() {
    for (const char c : std::string("[]{},:\"")) bytes(std::string(1, c));
    // White space: none, one space, or a line break and what follows.
    const int spaces = bytes_classifier(" \n\t");
    text(automaton(spaces, 3, {1, 2, 1, -1, -1, -1, 2, -1, 2}, {0, 0, 0}, {0, 0, 0}, {unbounded, 0, unbounded}), 0, 49);
  }

  int node(Kind kind, int a, int b = 0, int c = 0) {
    nodes_.insert(nodes_.end(), {static_cast<int>(kind), a, b, c});
    return static_cast<int>(nodes_.size()) / 4 - 1;
  }
  int bytes(const std::string& text) {
    const int first = static_cast<int>(bytes_.size());
    for (const char c : text) bytes_.push_back(static_cast<unsigned char>(c));
    return node(Kind::bytes, first, static_cast<int>(text.size()));
  }
  int list_node(Kind kind, const std::vector<int>& children) {
    const int first = static_cast<int>(children_.size());
    children_.insert(children_.end(), children.begin(), children.end());
    return node(kind, first, static_cast<int>(children.size()));
  }
  int seq(const std::vector<int>& children) { return list_node(Kind::seq, children); }
  int alt(const std::vector<int>& children) { return list_node(Kind::alt, children); }
  int text(int automaton, int min, int max) { return node(Kind::text, automaton, min, max); }

  // Rows of 256 cells.
  int classifier(int classes, const std::vector<std::vector<int>>& rows, bool all_plain) {
    std::vector<int> words{static_cast<int>(rows.size()), classes, all_plain};
    for (const std::vector<int>& row : rows)
      for (const int cell : row) words.insert(words.end(), {1, cell});
    return section(classifiers_, words);
  }
  int bytes_classifier(const std::string& bytes) {
    std::vector<int> row(256, -1);
    for (std::size_t i = 0; i < bytes.size(); ++i) row[static_cast<unsigned char>(bytes[i])] = -2 - static_cast<int>(i);
    return classifier(static_cast<int>(bytes.size()), {row}, false);
  }
  // One class: characters of a JSON string; of escapes only those of one letter.
  int string_classifier() {
    std::vector<std::vector<int>> rows(8, std::vector<int>(256, -1));
    const auto fill = [&](int row, int first, int last, int cell) {
      for (int b = first; b <= last; ++b) rows[static_cast<std::size_t>(row)][static_cast<std::size_t>(b)] = cell;
    };
    fill(0, 0x20, 0x7f, -2);
    fill(0, '"', '"', -1), fill(0, '\\', '\\', 1);
    fill(0, 0xc2, 0xdf, 7), fill(0, 0xe0, 0xe0, 4), fill(0, 0xe1, 0xef, 6), fill(0, 0xed, 0xed, 5);
    fill(0, 0xf0, 0xf0, 2), fill(0, 0xf1, 0xf3, 3);
    for (const char c : std::string("\"\\/bfnrt")) fill(1, c, c, -2);
    fill(2, 0x90, 0xbf, 6), fill(3, 0x80, 0xbf, 6);
    fill(4, 0xa0, 0xbf, 7), fill(5, 0x80, 0x9f, 7), fill(6, 0x80, 0xbf, 7), fill(7, 0x80, 0xbf, -2);
    return classifier(1, rows, true);
  }
  int automaton(int classifier, int states, const std::vector<int>& next, const std::vector<int>& label,
                const std::vector<int>& shortest, const std::vector<int>& longest) {
    std::vector<int> words{classifier, states};
    for (const std::vector<int>* list : {&next, &label, &shortest, &longest})
      words.insert(words.end(), list->begin(), list->end());
    return section(automata_, words);
  }
  // Texts with labels 0, 1, ...: one state for each byte, no ends shared.
  int trie(const std::vector<std::string>& texts) {
    struct State {
      std::vector<std::pair<int, int>> edges;
      int label = -1;
    };
    std::vector<State> states(1);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      int at = 0;
      for (const char c : texts[i]) {
        auto& edges = states[static_cast<std::size_t>(at)].edges;
        const int byte = static_cast<unsigned char>(c);
        auto found = std::find_if(edges.begin(), edges.end(), [&](const auto& e) { return e.first == byte; });
        if (found == edges.end()) {
          edges.emplace_back(byte, static_cast<int>(states.size()));
          at = static_cast<int>(states.size());
          states.emplace_back();
        } else {
          at = found->second;
        }
      }
      states[static_cast<std::size_t>(at)].label = static_cast<int>(i);
    }
    std::vector<int> words{static_cast<int>(states.size())};
    for (State& s : states) {
      std::sort(s.edges.begin(), s.edges.end());
      words.insert(words.end(), {s.label, static_cast<int>(s.edges.size())});
      for (const auto& [byte, to] : s.edges) words.insert(words.end(), {byte, to});
    }
    return section(tries_, words);
  }
  int array(const std::vector<int>& prefix, int rest, int min, int max) {
    std::vector<int> words{static_cast<int>(prefix.size())};
    words.insert(words.end(), prefix.begin(), prefix.end());
    words.push_back(rest);
    return node(Kind::array, section(arrays_, words), min, max);
  }
  int list(const std::vector<int>& words) { return node(Kind::list, section(lists_, words)); }
  int object(int names, int others, const std::vector<std::pair<int, bool>>& properties, int min, int max,
             bool other_needed = false) {
    std::vector<int> words{names, others, other_needed, static_cast<int>(properties.size())};
    for (const auto& [value, required] : properties) words.insert(words.end(), {value, required});
    return node(Kind::object, section(objects_, words), min, max);
  }

  std::vector<std::int32_t> program(int start) const {
    std::vector<std::int32_t> out{1, start, static_cast<int>(nodes_.size()) / 4};
    const auto append = [&](const std::vector<int>& list) { out.insert(out.end(), list.begin(), list.end()); };
    append(nodes_);
    for (const std::vector<int>* list : {&bytes_, &children_}) {
      out.push_back(static_cast<int>(list->size()));
      append(*list);
    }
    for (const auto* all : {&classifiers_, &automata_, &tries_, &arrays_, &lists_, &objects_}) {
      out.push_back(static_cast<int>(all->size()));
      for (const std::vector<int>& words : *all) append(words);
    }
    return out;
  }

 private:
  using Section = std::vector<std::vector<int>>;
  static int section(Section& all, const std::vector<int>& words) {
    all.push_back(words);
    return static_cast<int>(all.size()) - 1;
  }
  std::vector<int> nodes_, bytes_, children_;
  Section classifiers_, automata_, tries_, arrays_, lists_, objects_;
};

// {"id": digits, "name"?: string of 2 to 4 characters, "tags"?: [("a"|"b"|null)*, at most 2], others?: the same value}
std::vector<std::int32_t> sample_program() {
  Writer w;
  const int digits = w.bytes_classifier("0123456789");
  std::vector<int> to_last(10, 1), both = to_last;
  both.insert(both.end(), to_last.begin(), to_last.end());
  const int number = w.text(w.automaton(digits, 2, both, {-1, 0}, {1, 0}, {unbounded, unbounded}), 0, unbounded);
  const int any = w.string_classifier();
  const int characters = w.automaton(any, 1, {0}, {0}, {0}, {unbounded});
  const int short_text = w.seq({quote, w.text(characters, 2, 4), quote});
  const int tag = w.node(Kind::trie, w.trie({"\"a\"", "\"b\"", "null"}));
  const int tags = w.array({}, tag, 0, 2);
  const int value = w.alt({w.bytes("true"), w.bytes("null")});
  const int others = w.automaton(any, 1, {0}, {value}, {0}, {unbounded});
  const int root = w.object(w.trie({"id", "name", "tags"}), others,
                            {{number, true}, {short_text, false}, {tags, false}}, 0, unbounded);
  return w.program(root);
}

// All single bytes, some longer tokens, one without text, an end token.
std::shared_ptr<const TokenTrie> sample_tokens() {
  std::vector<std::string> texts;
  for (int b = 0; b < 256; ++b) texts.emplace_back(1, static_cast<char>(b));
  for (const char* t : {"{\"",      "\":",  "id",    "\"id\":", "name", "12",      "007",  "\"}",       "\"]",
                        "ab",       "abcd", "abcde", ", \"",    "tags", "[\"a\",", "null", "tru",       "\xc3\xa4",
                        "\xe2\x82", "\xac", "xx\"",  "\\n",     "\\",   "  ",      "id",   "{\"id\":1}"})
    texts.emplace_back(t);
  texts.insert(texts.end(), {"", "</s>"});
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint32_t> offsets{0};
  for (const std::string& t : texts) {
    bytes.insert(bytes.end(), t.begin(), t.end());
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  return TokenTrie::of(bytes, offsets, {static_cast<std::int32_t>(texts.size()) - 1});
}

std::shared_ptr<Automaton> automaton_of(const std::vector<std::int32_t>& words) {
  return std::make_shared<Automaton>(std::make_shared<const Program>(words.data(), words.size()), sample_tokens());
}

int state_after(Automaton& a, const std::string& text, bool drop_space = false) {
  int state = a.start(drop_space);
  for (const char c : text) state = a.next(state, static_cast<std::uint8_t>(c));
  return state;
}
bool accepts(Automaton& a, const std::string& text, bool drop_space = false) {
  return a.accepting(state_after(a, text, drop_space));
}
bool bit(const std::vector<std::uint32_t>& mask, int token) {
  return ((mask[static_cast<std::size_t>(token / 32)] >> (token % 32)) & 1) != 0;
}

}  // namespace

TEST_CASE("grammar: texts that belong and texts that do not") {
  const auto a = automaton_of(sample_program());
  for (const char* text :
       {R"({"id":1})", R"({"id": 12})", "{\n  \"id\": 12\n}", R"({"id":1,"name":"ab"})", R"({"id":1, "name":"abcd"})",
        "{\"id\":1,\"name\":\"\xc3\xa4\xf0\x9f\x98\x80\"}", R"({"id":1,"name":"a\"b"})", R"({"id":1,"tags":[]})",
        R"({"id":1,"tags":["a","a"]})", R"({"id":1,"tags":[null, "b"]})", R"({"id":1,"x":true})",
        R"({"id":1,"name":"ab","x":null,"y":true})", R"({"id":1,"i":null})", R"({"id":1,"":null})",
        R"({"id":1,"ide":null})"})
    CHECK_MESSAGE(accepts(*a, text), text);
  for (const char* text : {"",
                           "{",
                           "{}",
                           R"({"name":"ab"})",
                           R"({"id":})",
                           R"({"id":1}})",
                           R"({"id":1,})",
                           R"({"id":1,"name":"a"})",
                           R"({"id":1,"name":"abcde"})",
                           R"({"id":1,"name":"ab","id":2})",
                           R"({"id":1,"tags":[],"name":"ab"})",
                           R"({"id":1,"tags":["a","a","a"]})",
                           R"({"id":1,"tags":["c"]})",
                           R"({"id":1,"x":1})",
                           R"({"x":true,"id":1})",
                           R"({"id":1,"x":true,"name":"ab"})",
                           R"({"id":1,"x":true,"name":true})",
                           R"( {"id":1})",
                           R"({"id":1} )",
                           R"({"id":  1})",
                           "{\"id\":1,\"name\":\"\xc3\"}",
                           "{\"id\":1,\"name\":\"\xed\xa0\x80xx\"}"})
    CHECK_FALSE_MESSAGE(accepts(*a, text), text);
}

TEST_CASE("grammar: a space that the text loses comes before all") {
  const auto a = automaton_of(sample_program());
  CHECK(accepts(*a, R"( {"id":1})", true));
  CHECK(accepts(*a, R"({"id":1})", true));
  CHECK_FALSE(accepts(*a, R"(  {"id":1})", true));
}

TEST_CASE("grammar: an object that needs a name which is not listed") {
  Writer w;
  const int value = w.bytes("1");
  const int others = w.automaton(w.string_classifier(), 1, {0}, {value}, {0}, {unbounded});
  const int root = w.object(w.trie({"a", "b"}), others, {{value, false}, {value, true}}, 0, 2, true);
  const auto a = automaton_of(w.program(root));
  for (const char* text : {R"({"b":1,"c":1})", R"({"b":1,"":1})"}) CHECK_MESSAGE(accepts(*a, text), text);
  for (const char* text :
       {R"({"b":1})", R"({"a":1,"b":1})", R"({"a":1,"b":1,"c":1})", R"({"c":1})", R"({"b":1,"b":1})"})
    CHECK_FALSE_MESSAGE(accepts(*a, text), text);
}

TEST_CASE("grammar: elements by an automaton") {
  // One "x" at least, no "y" after it.
  Writer w;
  const int x = w.bytes("\"x\""), y = w.bytes("\"y\"");
  const int root = w.list({2, 0, 2, y, 0, x, 1, 1, 1, x, 1});
  const auto a = automaton_of(w.program(root));
  for (const char* text : {R"(["x"])", R"(["y","x"])", R"(["y", "y", "x", "x"])"})
    CHECK_MESSAGE(accepts(*a, text), text);
  for (const char* text : {"[]", R"(["y"])", R"(["x","y"])", R"(["x",])"}) CHECK_FALSE_MESSAGE(accepts(*a, text), text);
}

TEST_CASE("grammar: repetitions, alternatives and recursion") {
  Writer w;
  // s: "(" s{0,2} ")"
  const int open = w.bytes("("), closed = w.bytes(")");
  const int s = w.node(Kind::alt, 0, 0);  // patched below
  const int body = w.seq({open, w.node(Kind::star, s, 0, 2), closed});
  std::vector<std::int32_t> words = w.program(s);
  // The alternative's children: the last of the list of children, appended by hand.
  std::size_t children = 3 + 4 * static_cast<std::size_t>(words[2]);
  children += 1 + static_cast<std::size_t>(words[children]);
  words.insert(words.begin() + static_cast<std::ptrdiff_t>(children) + 1 + words[children], body);
  words[3 + 4 * static_cast<std::size_t>(s) + 1] = words[children]++;
  words[3 + 4 * static_cast<std::size_t>(s) + 2] = 1;
  const auto a = automaton_of(words);
  for (const char* text : {"()", "(())", "(()())", "((())())"}) CHECK_MESSAGE(accepts(*a, text), text);
  for (const char* text : {"", "(", "())", "(()()())", "()()"}) CHECK_FALSE_MESSAGE(accepts(*a, text), text);
  // Nothing nests without an end.
  CHECK(state_after(*a, std::string(2 * Automaton::most_frames, '(')) == Automaton::dead);
}

TEST_CASE("grammar: a mask allows what stepping allows") {
  const auto tokens = sample_tokens();
  const auto a = automaton_of(sample_program()), other = automaton_of(sample_program());
  MaskCache cache(std::size_t{1} << 20);
  const std::string text =
      "{\"id\": 12,\n \"name\":\"\xc3\xa4"
      "b\\n\",\"tags\":[\"a\", null],\"other\":true}";
  for (std::size_t length = 0; length <= text.size(); ++length) {
    const std::string begun = text.substr(0, length);
    const Mask mask = cache.get(*a, state_after(*a, begun));
    for (int t = 0; t < tokens->size(); ++t) {
      const std::string bytes(tokens->begin(t), tokens->end(t));
      const bool wanted = tokens->ends(t) ? accepts(*other, begun)
                          : bytes.empty() ? false
                                          : state_after(*other, begun + bytes) != Automaton::dead;
      CHECK_MESSAGE(bit(*mask, t) == wanted, begun << " + " << bytes);
    }
  }
}

TEST_CASE("grammar: few masks for many states that differ in counters alone") {
  Writer w;
  const int any = w.string_classifier();
  const int text = w.seq({quote, w.text(w.automaton(any, 1, {0}, {0}, {0}, {unbounded}), 0, 100000), quote});
  const auto a = automaton_of(w.program(text));
  std::vector<int> keys;
  for (int n = 0; n < 300; ++n)
    keys.push_back(a->mask_key(state_after(*a, "\"" + std::string(static_cast<std::size_t>(n), 'x'))));
  std::sort(keys.begin(), keys.end());
  CHECK(std::unique(keys.begin(), keys.end()) - keys.begin() == 1);
}

TEST_CASE("grammar: a matcher goes back, forks, and starts again with an empty cache") {
  const auto a = automaton_of(sample_program());
  const auto tokens = sample_tokens();
  MaskCache cache(std::size_t{1} << 20), small(100);
  const auto token_of = [&](const std::string& text) {
    for (int t = 0; t < tokens->size(); ++t)
      if (std::string(tokens->begin(t), tokens->end(t)) == text) return t;
    return -1;
  };
  std::vector<std::int32_t> sequence;
  for (const char* t : {"{\"", "id", "\":", "12", ",", "\"", "name", "\":", "\"", "ab", "\"}"})
    sequence.push_back(token_of(t));
  Matcher m(a, Source{});
  std::vector<std::vector<std::uint32_t>> masks;
  for (const std::int32_t t : sequence) {
    masks.push_back(*m.mask(cache));
    m.push(t);
    CHECK(m.alive());
  }
  CHECK(m.accepting());
  Matcher fork = m;
  for (std::size_t back = sequence.size(); back-- > 0;) {
    fork.truncate(back);
    CHECK(*fork.mask(small) == masks[back]);
    if (back % 3 == 0) a->reset();
  }
  CHECK(*m.mask(cache) != masks.back());
  CHECK(m.accepting());
  // The end token is allowed here, and after it only its like.
  const int end = tokens->size() - 1;
  CHECK(bit(*m.mask(cache), end));
  m.push(end);
  const Mask after = m.mask(cache);
  for (int t = 0; t < tokens->size(); ++t) CHECK(bit(*after, t) == (t == end));
  // A wrong token leaves none.
  fork.truncate(2);
  fork.push(end);
  CHECK_FALSE(fork.alive());
  const Mask none = fork.mask(cache);
  CHECK(std::all_of(none->begin(), none->end(), [](std::uint32_t word) { return word == 0; }));
}

TEST_CASE("grammar: marks are found wherever they overlap, and nothing begins in reasoning") {
  const Marks marks({{MarkKind::begin, "<call>"}, {MarkKind::begin, "all>>"}, {MarkKind::close, "</t"}});
  const auto kinds = [&](const std::string& text) {
    std::string found;
    int node = 0;
    for (const char c : text) {
      node = marks.next(node, static_cast<std::uint8_t>(c));
      found += marks.kind(node) == MarkKind::begin ? 'b' : marks.kind(node) == MarkKind::close ? 'c' : '.';
    }
    return found;
  };
  CHECK(kinds("<<call>>call</t") == "......bb......c");
  CHECK(kinds("<cal<call>") == ".........b");
  CHECK_THROWS_AS(Marks({{MarkKind::begin, ""}}), Error);
  CHECK_THROWS_AS(Marks({{MarkKind::begin, std::string(Marks::most_bytes + 1, 'x')}}), Error);
}

TEST_CASE("grammar: an answer is free until a mark, and again behind the text of the grammar") {
  const auto tokens = sample_tokens();
  const std::int32_t control = tokens->size() - 2;
  Source source;
  source.marks = {{MarkKind::begin, "a" + control_bytes(control)}, {MarkKind::close, "9"}};
  source.reasoning = true;
  const auto one = [&](char c) {
    for (int t = 0; t < tokens->size(); ++t)
      if (std::string(tokens->begin(t), tokens->end(t)) == std::string(1, c)) return t;
    return -1;
  };
  MaskCache cache(std::size_t{1} << 20);
  Matcher m(automaton_of(sample_program()), source);
  const auto say = [&](const std::string& text) {
    for (const char c : text) m.push(one(c));
  };
  REQUIRE(std::string(tokens->begin(control), tokens->end(control)) == control_bytes(control));
  say("a");
  m.push(control);  // in reasoning
  CHECK(m.mask(cache) == nullptr);
  say("9a}");
  m.push(control);  // not behind an a
  CHECK(m.mask(cache) == nullptr);
  say("a");
  m.push(control);
  const Mask begun = m.mask(cache);
  REQUIRE(begun != nullptr);
  CHECK(bit(*begun, one('{')));
  CHECK_FALSE(bit(*begun, one('a')));
  for (const std::int32_t end : tokens->end_tokens()) CHECK_FALSE(bit(*begun, end));
  const std::size_t there = m.length();
  say("{\"id\":1}");
  CHECK(m.alive());
  CHECK(m.mask(cache) == nullptr);
  m.truncate(there);
  CHECK(*m.mask(cache) == *begun);
  say("a");
  CHECK_FALSE(m.alive());
}

TEST_CASE("grammar: programs that are broken are refused, and those that are not do no harm") {
  const std::vector<std::int32_t> good = sample_program();
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_THROWS_AS(Program(good.data(), n), Error);
  std::mt19937 random(7);
  const auto number = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
  const auto tokens = sample_tokens();
  int refused = 0, kept = 0;
  const int rounds = std::getenv("OCTAVO_DEEP") ? 40000 : 2000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::int32_t> words = good;
    for (int changes = 1 + number(3); changes > 0; --changes) {
      const std::size_t at = static_cast<std::size_t>(number(static_cast<int>(words.size())));
      const int values[] = {0, 1, -1, -2, number(64), 1 << 30, -(1 << 30), words[at] + 1, words[at] - 1};
      words[at] = values[number(9)];
    }
    try {
      Automaton a(std::make_shared<const Program>(words.data(), words.size()), tokens);
      ++kept;
      MaskCache cache(std::size_t{1} << 16);
      int state = a.start(false);
      for (int i = 0; i < 40; ++i) {
        cache.get(a, state);
        const std::string next = "{\"id:1,name[tags]}\\ \n9";
        const int to = a.next(state, static_cast<std::uint8_t>(next[static_cast<std::size_t>(number(22))]));
        if (to != Automaton::dead) state = to;
      }
    } catch (const Error&) {
      ++refused;
    } catch (const Overflow&) {
    }
  }
  CHECK(refused > 100);
  CHECK(kept > 100);
}

// ---- in an engine -----------------------------------------------------------------------------------------------------

namespace {

SamplerParams grammar_sampler(int prompt) {
  SamplerParams p;
  p.seed = 3;
  p.temperature = 1.5f;
  p.prompt_length = prompt;
  p.vocabulary = sample_tokens()->size();
  p.grammar = std::make_shared<Source>(Source{"sample", sample_program(), false, {}, false});
  return p;
}

std::int32_t step(Engine& engine, int sequence, std::vector<std::int32_t> tokens, int rows = 1) {
  const int count = static_cast<int>(tokens.size());
  REQUIRE(engine.kv().reserve(sequence, count));
  engine.submit({{{sequence, count, rows, false, -1}}, std::move(tokens)});
  REQUIRE(engine.wait());
  return rows > 0 ? engine.result().rows.back().token : -1;
}

}  // namespace

TEST_CASE("grammar: an engine's draws are texts, whatever the steps are") {
  const auto model = seeded_one_layer_model(make_cpu_backend(cpu_isas()[0]));
  const auto tokens = sample_tokens();
  Engine engine(model, {1, 64, 64, true});
  const std::vector<std::int32_t> prompt{5, 6, 7, 8, 9};
  int sequence = engine.kv().create("");
  CHECK_THROWS_AS(engine.set_sampler(sequence, grammar_sampler(5)), Error);  // no vocabulary
  engine.set_vocabulary(tokens);
  engine.set_sampler(sequence, grammar_sampler(5));
  std::vector<std::int32_t> drawn{step(engine, sequence, prompt)};
  while (drawn.size() < 40 && !tokens->ends(drawn.back())) drawn.push_back(step(engine, sequence, {drawn.back()}));
  const auto a = automaton_of(sample_program());
  std::string text;
  for (const std::int32_t t : drawn) text.append(tokens->begin(t), tokens->ends(t) ? tokens->begin(t) : tokens->end(t));
  CHECK_MESSAGE(state_after(*a, text) != Automaton::dead, text);
  if (tokens->ends(drawn.back())) CHECK(accepts(*a, text));
  engine.release(sequence);

  // Recomputed in chunks, as after a preemption.
  sequence = engine.kv().create("x");
  engine.set_sampler(sequence, grammar_sampler(5));
  std::vector<std::int32_t> all = prompt;
  const std::size_t known = drawn.size() / 2;
  all.insert(all.end(), drawn.begin(), drawn.begin() + static_cast<std::ptrdiff_t>(known));
  step(engine, sequence, {all.begin(), all.begin() + 3}, 0);
  CHECK(step(engine, sequence, {all.begin() + 3, all.end()}) == drawn[known]);

  // Drafts: right ones, then a wrong one; what is committed is what was right.
  const std::size_t left = drawn.size() - known - 1;
  if (left >= 3) {
    std::vector<std::int32_t> guessed{drawn[known], drawn[known + 1], drawn[known + 2] == 1 ? 2 : 1};
    REQUIRE(engine.kv().reserve(sequence, 3));
    engine.submit({{{sequence, 3, 3, false, -1}}, guessed});
    REQUIRE(engine.wait());
    CHECK(engine.result().rows[0].token == drawn[known + 1]);
    CHECK(engine.result().rows[1].token == drawn[known + 2]);
    engine.accept(sequence, &guessed[1], 1);
    CHECK(step(engine, sequence, {drawn[known + 2]}) == drawn[known + 3]);
    // And back.
    engine.truncate(sequence, static_cast<int>(all.size()) + 1);
    CHECK(step(engine, sequence, {drawn[known + 1]}) == drawn[known + 2]);
  }

  // A run of steps draws the same.
  engine.release(sequence);
  sequence = engine.kv().create("y");
  engine.set_sampler(sequence, grammar_sampler(5));
  engine.set_end_tokens(tokens->end_tokens());
  REQUIRE(engine.kv().reserve(sequence, 60));
  engine.submit({{{sequence, 5, 1, false, -1}}, prompt});
  REQUIRE(engine.wait());
  std::vector<std::int32_t> again{engine.result().rows.back().token};
  engine.submit({{{sequence, 1, 1, false, -1}}, {again.back()}});
  REQUIRE(engine.wait({static_cast<int>(drawn.size()) - 1, 1e9}));
  for (const SampleRow& row : engine.result().rows) again.push_back(row.token);
  CHECK(again == drawn);

  // Every token that the grammar allows is banned.
  SamplerParams banned = grammar_sampler(5);
  for (int t = 0; t < tokens->size(); ++t)
    if (tokens->begin(t) < tokens->end(t) && *tokens->begin(t) == '{')
      banned.bias.emplace_back(t, -std::numeric_limits<float>::infinity());
  const int other = engine.kv().create("z");
  engine.set_sampler(other, banned);
  CHECK(step(engine, other, prompt) == -2);
}

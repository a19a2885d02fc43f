#include "grammar/program.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace octavo::grammar {

namespace {

constexpr int version = 1;  // of the layout: programVersion in lib/grammar/program.ts
constexpr int most_states = 1 << 22;

[[noreturn]] void broken(const char* what) {
  throw Error(Code::invalid_argument, std::string("a grammar program is broken: ") + what, {{"found", what}});
}

class Reader {
 public:
  Reader(const std::int32_t* words, std::size_t count) : at_(words), end_(words + count) {}

  bool done() const { return at_ == end_; }
  int next() {
    if (at_ == end_) broken("it ends too early");
    return *at_++;
  }
  // A number in [low, high].
  int next(int low, int high, const char* what) {
    const int value = next();
    if (value < low || value > high) broken(what);
    return value;
  }
  // How many things follow, each of at least `words` words.
  int count(int words, const char* what) {
    return next(0, static_cast<int>(std::min<std::ptrdiff_t>((end_ - at_) / words, most_states)), what);
  }
  std::vector<int> list(int count, int low, int high, const char* what) {
    if (count < 0 || count > end_ - at_) broken(what);
    std::vector<int> values(at_, at_ + count);
    at_ += count;
    for (const int value : values)
      if (value < low || value > high) broken(what);
    return values;
  }

 private:
  const std::int32_t* at_;
  const std::int32_t* end_;
};

Classifier read_classifier(Reader& in) {
  Classifier c;
  c.states = in.count(1, "classifier states");
  c.classes = in.next(1, 4096, "classes");
  if (c.states < 1 || c.states > 0x7fff) broken("classifier states");
  c.all_plain = in.next(0, 1, "whether a classifier knows all plain characters") == 1;
  // Runs of equal cells: [length, value].
  c.cells.reserve(at(c.states) * 256);
  while (c.cells.size() < at(c.states) * 256) {
    const int length = in.next(1, static_cast<int>(at(c.states) * 256 - c.cells.size()), "a run of cells");
    const int value = in.next(-1 - c.classes, c.states - 1, "a cell");
    // Only from a state to a later one: every character ends.
    if (value >= 0 && value <= static_cast<int>((c.cells.size() + at(length) - 1) / 256)) broken("a cell");
    c.cells.insert(c.cells.end(), at(length), static_cast<std::int16_t>(value));
  }
  const int words = c.words();
  c.reach.assign(at(c.states) * at(words), 0);
  for (int s = c.states - 1; s >= 0; --s) {
    std::uint64_t* own = c.reach.data() + at(s) * at(words);
    for (int b = 0; b < 256; ++b) {
      const int cell = c.cells[at(s) * 256 + at(b)];
      if (cell >= 0)
        for (int w = 0; w < words; ++w) own[w] |= c.reach[at(cell) * at(words) + at(w)];
      else if (cell <= -2)
        own[(-2 - cell) / 64] |= std::uint64_t{1} << ((-2 - cell) % 64);
    }
  }
  return c;
}

// For each state the bytes that lead back to it, all of a kind or none; where there are none, those that lead anywhere.
// How long it goes on with those is found from the states behind, which mostly have higher numbers: what two rounds
// do not find is less than it is, never more.
void find_runs(TextAutomaton& t, const Classifier& classifier) {
  struct Step {
    ByteSet kind;
    int c;  // -1: no character
  };
  std::vector<Step> steps;
  for (int byte = 0; byte < 0x80; ++byte) {
    const int cell = classifier.cells[at(byte)];
    const Step step{byte_set(static_cast<std::uint8_t>(byte)), cell <= -2 ? -2 - cell : -1};
    const auto same = [&](const Step& other) { return other.kind == step.kind && other.c == step.c; };
    if (std::none_of(steps.begin(), steps.end(), same)) steps.push_back(step);
  }
  const auto to = [&](int q, int c) { return c < 0 ? -1 : t.next[at(q * t.classes + c)]; };
  t.run.assign(at(t.states), 0);
  t.run_length.assign(at(t.states), 0);
  for (int q = 0; q < t.states; ++q) {
    ByteSet stays = 0, leaves = 0, ends = 0;
    for (const auto [kind, c] : steps) (to(q, c) == q ? stays : to(q, c) >= 0 ? leaves : ends) |= kind;
    const ByteSet loop = t.longest[at(q)] == unbounded ? stays & ~leaves & ~ends : 0;
    t.run[at(q)] = loop != 0 ? loop : (stays | leaves) & ~ends;
    if (loop != 0) t.run_length[at(q)] = unbounded;
  }
  for (int round = 0; round < 2; ++round)
    for (int q = t.states; q-- > 0;) {
      if (t.run[at(q)] == 0 || t.run_length[at(q)] == unbounded) continue;
      int least = unbounded - 2;
      for (const auto [kind, c] : steps) {
        if ((t.run[at(q)] & kind) == 0) continue;
        const std::size_t next = at(to(q, c));
        least = (t.run[at(q)] & ~t.run[next]) == 0 ? std::min(least, t.run_length[next]) : 0;
        if (least == 0) break;
      }
      t.run_length[at(q)] = least + 1;
    }
}

TextAutomaton read_automaton(Reader& in, const std::vector<Classifier>& classifiers) {
  TextAutomaton t;
  t.classifier = in.next(0, static_cast<int>(classifiers.size()) - 1, "an automaton's classifier");
  const Classifier& classifier = classifiers[at(t.classifier)];
  t.classes = classifier.classes;
  t.states = in.count(t.classes, "an automaton's states");
  if (t.states < 1) broken("an automaton's states");
  t.next = in.list(t.states * t.classes, -1, t.states - 1, "a transition");
  t.label = in.list(t.states, -1, most_states, "a label");
  t.shortest = in.list(t.states, 0, unbounded, "a length");
  t.longest = in.list(t.states, 0, unbounded, "a length");
  const int words = classifier.words();
  t.live.assign(at(t.states) * at(words), 0);
  t.need_cap = t.can_cap = 0;
  for (int q = 0; q < t.states; ++q) {
    if (t.shortest[at(q)] > t.longest[at(q)]) broken("a length");
    bool open = false, free = t.label[at(q)] >= 0 && t.shortest[at(q)] == 0 && t.longest[at(q)] == unbounded;
    for (int c = 0; c < t.classes; ++c) {
      const int to = t.next[at(q * t.classes + c)];
      free = free && to == q;
      if (to < 0) continue;
      open = true;
      t.live[at(q * words + c / 64)] |= std::uint64_t{1} << (c % 64);
    }
    t.open.push_back(open);
    t.free.push_back(free);
    if (t.longest[at(q)] < unbounded) t.need_cap = std::max(t.need_cap, t.longest[at(q)]);
    t.can_cap = std::max(t.can_cap, t.shortest[at(q)]);
  }
  find_runs(t, classifier);
  return t;
}

Trie read_trie(Reader& in) {
  Trie t;
  const int states = in.count(2, "a trie's states");
  if (states < 1) broken("a trie's states");
  t.begin.push_back(0);
  for (int s = 0; s < states; ++s) {
    t.label.push_back(in.next(-1, most_states, "a trie's label"));
    const int edges = in.next(0, 256, "a trie's edges");
    for (int e = 0; e < edges; ++e) {
      const int byte = in.next(0, 255, "a trie's byte");
      if (e > 0 && byte <= t.bytes.back()) broken("a trie's edges are not sorted");
      t.bytes.push_back(static_cast<std::uint8_t>(byte));
      t.targets.push_back(in.next(s + 1, states - 1, "a trie's target"));
    }
    t.begin.push_back(static_cast<int>(t.bytes.size()));
  }
  std::vector<std::vector<int>> below(at(states));
  for (int s = states - 1; s >= 0; --s) {
    std::vector<int>& own = below[at(s)];
    if (t.label[at(s)] >= 0) own.push_back(t.label[at(s)]);
    for (int e = t.begin[at(s)]; e < t.begin[at(s) + 1]; ++e) {
      const std::vector<int>& child = below[at(t.targets[at(e)])];
      own.insert(own.end(), child.begin(), child.end());
    }
    std::sort(own.begin(), own.end());
    own.erase(std::unique(own.begin(), own.end()), own.end());
  }
  t.below_begin.push_back(0);
  for (const std::vector<int>& own : below) {
    t.below.insert(t.below.end(), own.begin(), own.end());
    t.below_begin.push_back(static_cast<int>(t.below.size()));
  }
  return t;
}

List read_list(Reader& in, int nodes) {
  List l;
  const int states = in.count(2, "a list's states");
  if (states < 1) broken("a list's states");
  l.begin.push_back(0);
  for (int s = 0; s < states; ++s) {
    l.accept.push_back(static_cast<std::uint8_t>(in.next(0, 1, "a list's end")));
    const int edges = in.count(2, "a list's edges");
    for (int e = 0; e < edges; ++e) {
      const int node = in.next(0, nodes - 1, "a list's element");
      l.edges.push_back({node, in.next(0, states - 1, "a list's target")});
    }
    l.begin.push_back(static_cast<int>(l.edges.size()));
  }
  return l;
}

Object read_object(Reader& in, int nodes, const std::vector<Trie>& tries, const std::vector<TextAutomaton>& automata) {
  Object o;
  o.names = in.next(-1, static_cast<int>(tries.size()) - 1, "an object's names");
  o.others = in.next(-1, static_cast<int>(automata.size()) - 1, "an object's others");
  o.other_needed = in.next(0, 1, "whether an object needs another name") == 1;
  if (o.other_needed && o.others < 0) broken("an object that needs another name and has none");
  const int listed = in.count(2, "an object's properties");
  if ((listed > 0) != (o.names >= 0)) broken("an object's names");
  for (int j = 0; j < listed; ++j) {
    o.values.push_back(in.next(-1, nodes - 1, "a property's value"));
    o.required.push_back(static_cast<std::uint8_t>(in.next(0, 1, "whether a property is required")));
    if (o.required.back() && o.values.back() < 0) broken("a required property that cannot be");
  }
  if (o.names >= 0)
    for (const int label : tries[at(o.names)].label)
      if (label >= listed) broken("an object's names");
  if (o.others >= 0)
    for (const int label : automata[at(o.others)].label)
      if (label >= nodes) broken("an object's others");
  o.required_from.assign(at(listed) + 1, 0);
  o.alive_from.assign(at(listed) + 1, 0);
  o.next_required.assign(at(listed) + 1, listed);
  for (int j = listed - 1; j >= 0; --j) {
    o.required_from[at(j)] = o.required_from[at(j) + 1] + o.required[at(j)];
    o.alive_from[at(j)] = o.alive_from[at(j) + 1] + (o.values[at(j)] >= 0 ? 1 : 0);
    o.next_required[at(j)] = o.required[at(j)] ? j : o.next_required[at(j) + 1];
  }
  return o;
}

// All numbers must be in range. A node that leads back to itself before a byte is taken does no harm: the automaton
// bounds how deep frames nest and how many there are.
void check_node(const Program& p, const Node& n) {
  const auto below = [](int value, std::size_t size) { return value >= 0 && at(value) < size; };
  const auto part = [](int first, int count, std::size_t size) {
    return first >= 0 && count >= 0 && at(first) <= size && at(count) <= size - at(first);
  };
  const bool counted = n.b >= 0 && n.b <= unbounded && n.c >= 0 && n.c <= unbounded;
  bool good = false;
  switch (n.kind) {
    case Kind::bytes:
      good = part(n.a, n.b, p.bytes.size());
      break;
    case Kind::seq:
      good = n.b > 0 && part(n.a, n.b, p.children.size());
      break;
    case Kind::alt:
      good = part(n.a, n.b, p.children.size());
      break;
    case Kind::text:
      good = counted && below(n.a, p.automata.size());
      break;
    case Kind::trie:
      good = below(n.a, p.tries.size());
      break;
    case Kind::star:
      good = counted && below(n.a, p.nodes.size());
      break;
    case Kind::array:
      good = counted && below(n.a, p.arrays.size());
      break;
    case Kind::list:
      good = below(n.a, p.lists.size());
      break;
    case Kind::object:
      good = counted && below(n.a, p.objects.size());
      break;
  }
  if (!good) broken("a node");
}

}  // namespace

int Trie::next(int state, std::uint8_t byte) const {
  const auto first = bytes.begin() + begin[at(state)], last = bytes.begin() + begin[at(state) + 1];
  const auto found = std::lower_bound(first, last, byte);
  return found != last && *found == byte ? targets[static_cast<std::size_t>(found - bytes.begin())] : -1;
}

bool Trie::any_below(int state, int from, int to) const {
  const auto first = below.begin() + below_begin[at(state)], last = below.begin() + below_begin[at(state) + 1];
  const auto found = std::lower_bound(first, last, from);
  return found != last && *found <= to;
}

Program::Program(const std::int32_t* words, std::size_t count) {
  Reader in(words, count);
  if (in.next() != version) broken("its version");
  start = in.next();
  const int node_count = in.count(4, "nodes");
  if (node_count < punctuation_count || start < 0 || start >= node_count) broken("nodes");
  for (int i = 0; i < node_count; ++i) {
    const Kind kind = static_cast<Kind>(in.next(0, kind_count - 1, "a node's kind"));
    const int a = in.next(), b = in.next(), c = in.next();
    nodes.push_back({kind, a, b, c});
  }
  for (const int byte : in.list(in.next(), 0, 255, "a byte")) bytes.push_back(static_cast<std::uint8_t>(byte));
  children = in.list(in.next(), 0, node_count - 1, "a child");
  for (int n = in.count(2, "classifiers"); n > 0; --n) classifiers.push_back(read_classifier(in));
  for (int n = in.count(2, "automata"); n > 0; --n) automata.push_back(read_automaton(in, classifiers));
  for (int n = in.count(2, "tries"); n > 0; --n) tries.push_back(read_trie(in));
  for (int n = in.count(2, "arrays"); n > 0; --n) {
    std::vector<int> prefix = in.list(in.next(), 0, node_count - 1, "an array's prefix");
    arrays.push_back({std::move(prefix), in.next(-1, node_count - 1, "an array's rest")});
  }
  for (int n = in.count(2, "lists"); n > 0; --n) lists.push_back(read_list(in, node_count));
  for (int n = in.count(2, "objects"); n > 0; --n) objects.push_back(read_object(in, node_count, tries, automata));
  if (!in.done()) broken("it goes on after its end");
  for (const Node& n : nodes) check_node(*this, n);
  for (int i = 0; i < space; ++i)
    if (nodes[at(i)].kind != Kind::bytes || nodes[at(i)].b != 1) broken("punctuation");
}

}  // namespace octavo::grammar

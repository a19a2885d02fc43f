#include "grammar/automaton.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace octavo::grammar {

namespace {

int one_less(int count) { return count == unbounded ? unbounded : count - 1; }

constexpr std::size_t most_items = 16384;  // of one state
// Item::a of a name before its first byte, and of one that no listed name begins with.
constexpr int before_quote = -2, off_trie = -1;

}  // namespace

Automaton::Automaton(std::shared_ptr<const Program> program, std::shared_ptr<const TokenTrie> tokens)
    : program_(std::move(program)), tokens_(std::move(tokens)), path_(at(tokens_->longest()) + 1) {
  reset();
}

void Automaton::reset() {
  static std::atomic<std::uint64_t> generations{0};
  generation_ = ++generations;
  for (Interner* interner : {&frames_, &items_, &states_}) interner->clear();
  for (std::vector<int>* list : {&depths_, &keys_, &cuts_}) list->clear();
  moves_.clear();
  runs_.clear();
  stamps_.clear();
  start_ = start_dropping_ = ended_ = -1;
  const Frame end{};
  frames_.intern(&end.node, 5);  // frame 0: nothing more
  depths_.push_back(0);
  cuts_.push_back(0);
  stamps_.push_back(0);
  const Item accepts{};
  items_.intern(&accepts.kind, 9);  // item 0: the text may end here
  out_.clear();
  intern_items();  // state 0: dead
}

std::size_t Automaton::bytes() const {
  return frames_.bytes() + items_.bytes() + states_.bytes() +
         4 * (depths_.size() + page_states * 256 * moves_.size() + keys_.size() + cuts_.size() + stamps_.size()) +
         sizeof(Run) * runs_.size();
}

Automaton::Frame Automaton::frame(int k) const {
  Frame f;
  std::memcpy(&f, frames_[k].data(), sizeof(f));
  return f;
}

Automaton::Item Automaton::item(int id) const {
  Item it;
  std::memcpy(&it, items_[id].data(), sizeof(it));
  return it;
}

std::vector<int> Automaton::list_of(int state) const {
  const auto items = states_[state];
  return {items.begin(), items.end()};
}

bool Automaton::accepting(int state) const {
  const auto items = states_[state];
  return !items.empty() && items.front() == 0;
}

// ---- what may come next ---------------------------------------------------------------------------------------------

// -1: nested too deep, such a text never begins.
int Automaton::cons(int n, int i, int need, int can, int next) {
  if (next < 0 || depths_[at(next)] >= most_frames) return -1;
  const Frame f{n, i, need, can, next};
  const int k = frames_.intern(&f.node, 5);
  if (at(k) == depths_.size()) {
    depths_.push_back(depths_[at(next)] + 1);
    cuts_.push_back(-1);
    stamps_.push_back(0);
  }
  return k;
}

void Automaton::push(int k) {
  if (k < 0 || stamps_[at(k)] == stamp_) return;
  stamps_[at(k)] = stamp_;
  open_.push_back(k);
}

void Automaton::add(const Item& it) { out_.push_back(items_.intern(&it.kind, 9)); }

// Everything that the open frames may begin with becomes items.
void Automaton::close() {
  while (!open_.empty()) {
    const int k = open_.back();
    open_.pop_back();
    expand(k);
    if (out_.size() > most_items || bytes() > most_bytes) {
      open_.clear();
      throw Overflow{};
    }
  }
}

void Automaton::expand(int k) {
  if (k == 0) return out_.push_back(0);
  const Frame f = frame(k);
  const Node n = node(f.node);
  switch (n.kind) {
    case Kind::bytes:
      if (n.b == 0)
        push(f.next);
      else
        add({literal, f.node, 0, 0, 0, 0, 0, 0, f.next});
      return;
    case Kind::seq: {
      int next = f.next;
      for (int i = n.b; i-- > 0;) next = cons(program_->children[at(n.a + i)], next);
      return push(next);
    }
    case Kind::alt:
      for (int i = 0; i < n.b; ++i) push(cons(program_->children[at(n.a + i)], f.next));
      return;
    case Kind::text: {
      const TextAutomaton& t = program_->automata[at(n.a)];
      if (t.label[0] >= 0 && n.b == 0) push(f.next);
      if (t.open[0] && n.c > 0) add({text, f.node, 0, n.b, n.c, 0, 0, 0, f.next});
      return;
    }
    case Kind::trie: {
      const Trie& t = program_->tries[at(n.a)];
      if (t.label[0] >= 0) push(f.next);
      if (t.begin[1] > 0) add({leaf, f.node, 0, 0, 0, 0, 0, 0, f.next});
      return;
    }
    case Kind::star: {  // i: 0 before the first repetition
      const int need = f.i == 0 ? n.b : f.need, can = f.i == 0 ? n.c : f.can;
      if (need == 0) push(f.next);
      if (can > 0) push(cons(n.a, cons(f.node, 1, std::max(0, need - 1), one_less(can), f.next)));
      return;
    }
    case Kind::array:
      return expand_array(f, n);
    case Kind::list:
      return expand_list(f, n);
    case Kind::object:
      return expand_object(f, n);
  }
}

// i: 0 before the bracket, else one more than the elements so far, counted up to the first that is like all others.
void Automaton::expand_array(const Frame& f, const Node& n) {
  const Array& a = program_->arrays[at(n.a)];
  if (f.i == 0) return push(cons(open_array, cons(space, cons(f.node, 1, n.b, n.c, f.next))));
  if (f.need == 0) push(f.i == 1 ? cons(close_array, f.next) : cons(space, cons(close_array, f.next)));
  const int prefix = static_cast<int>(a.prefix.size()), done = f.i - 1;
  const int element = done < prefix ? a.prefix[at(done)] : a.rest;
  if (f.can == 0 || element < 0) return;
  const int i = std::min(f.i + 1, std::max(prefix, 1) + 1);
  const int then = cons(element, cons(f.node, i, std::max(0, f.need - 1), one_less(f.can), f.next));
  push(f.i == 1 ? then : cons(comma, cons(space, then)));
}

// i: 0 before the bracket, else one more than the state; need: 1 after an element.
void Automaton::expand_list(const Frame& f, const Node& n) {
  const List& l = program_->lists[at(n.a)];
  if (f.i == 0) return push(cons(open_array, cons(space, cons(f.node, 1, 0, 0, f.next))));
  const int state = f.i - 1;
  if (l.accept[at(state)]) push(f.need == 0 ? cons(close_array, f.next) : cons(space, cons(close_array, f.next)));
  for (int e = l.begin[at(state)]; e < l.begin[at(state) + 1]; ++e) {
    const int then = cons(l.edges[at(e)].node, cons(f.node, l.edges[at(e)].to + 1, 1, 0, f.next));
    push(f.need == 0 ? then : cons(comma, cons(space, then)));
  }
}

// i: 0 before the bracket, else one more than the index of the next listed property; after one that is not listed,
// two more than there are listed ones. Negative: the name must come now.
void Automaton::expand_object(const Frame& f, const Node& n) {
  const Object& o = program_->objects[at(n.a)];
  if (f.i == 0) return push(cons(open_object, cons(space, cons(f.node, 1, n.b, n.c, f.next))));
  if (f.i < 0) return add({name, f.node, -f.i, f.need, f.can, before_quote, 0, 0, f.next});
  const int listed = static_cast<int>(o.values.size()), j = std::min(f.i - 1, listed);
  if (o.next_required[at(j)] == listed && f.need == 0 && (!o.other_needed || f.i - 1 > listed))
    push(f.i == 1 ? cons(close_object, f.next) : cons(space, cons(close_object, f.next)));
  const Names allowed = names(o, f.i, f.need, f.can);
  if (!allowed.others && allowed.from > allowed.to) return;
  const int then = cons(f.node, -f.i, f.need, f.can, f.next);
  push(f.i == 1 ? then : cons(comma, cons(space, then)));
}

Automaton::Names Automaton::names(const Object& o, int i, int need, int can) const {
  const int listed = static_cast<int>(o.values.size()), j = std::min(i - 1, listed);
  Names allowed{j, std::min(o.next_required[at(j)], listed - 1), false};
  if (can == 0) return {1, 0, false};
  allowed.others = o.others >= 0 && o.next_required[at(j)] == listed;
  if (i - 1 > listed) return {1, 0, allowed.others};
  // No room for more than what must come.
  if (can <= o.required_from[at(j)] + (o.other_needed ? 1 : 0)) allowed.from = o.next_required[at(j)];
  // Of what comes after, enough must be left: listed ones, and one other (a second might have the same name).
  const int other = o.others >= 0 ? 1 : 0;
  while (allowed.to >= allowed.from && o.alive_from[at(allowed.to) + 1] + other < need - 1) --allowed.to;
  while (allowed.to >= allowed.from && o.values[at(allowed.to)] < 0) --allowed.to;
  while (allowed.to >= allowed.from && o.values[at(allowed.from)] < 0) ++allowed.from;
  return allowed;
}

// ---- steps ----------------------------------------------------------------------------------------------------------

void Automaton::step(int id, std::uint8_t byte) {
  const Item it = item(id);
  switch (static_cast<ItemKind>(it.kind)) {
    case accept:
    case ended:
      return;
    case prefix:
      if (byte == ' ')
        push(cons(program_->start, 0));
      else
        for (const int first : list_of(start(false))) step(first, byte);
      return;
    case literal: {
      const Node n = node(it.node);
      if (program_->bytes[at(n.a + it.a)] != byte) return;
      if (it.a + 1 == n.b)
        push(it.k);
      else
        add({literal, it.node, 0, 0, 0, it.a + 1, 0, 0, it.k});
      return;
    }
    case leaf: {
      const Trie& t = program_->tries[at(node(it.node).a)];
      const int to = t.next(it.a, byte);
      if (to < 0) return;
      if (t.label[at(to)] >= 0) push(it.k);
      if (t.begin[at(to) + 1] > t.begin[at(to)]) add({leaf, it.node, 0, 0, 0, to, 0, 0, it.k});
      return;
    }
    case text:
      return step_text(it, byte);
    case name:
      return step_name(it, byte);
  }
}

// In characters: state q, and the place within a character that has begun. Where a character ends, q moves on.
bool Automaton::step_character(const TextAutomaton& t, int& q, int& within, std::uint8_t byte) const {
  const Classifier& classifier = program_->classifiers[at(t.classifier)];
  const int cell = classifier.cells[at(within) * 256 + byte];
  if (cell == -1) return false;
  if (cell >= 0) {
    within = cell;
    const int words = classifier.words();
    for (int w = 0; w < words; ++w)
      if (classifier.reach[at(cell * words + w)] & t.live[at(q * words + w)]) return true;
    return false;
  }
  within = 0;
  q = t.next[at(q * t.classes - 2 - cell)];
  return q >= 0;
}

void Automaton::step_text(const Item& it, std::uint8_t byte) {
  const TextAutomaton& t = program_->automata[at(node(it.node).a)];
  int q = it.a, within = it.b, need = it.need, can = it.can;
  if (!step_character(t, q, within, byte)) return;
  if (within == 0) {
    need = std::max(0, need - 1);
    can = one_less(can);
    if (std::max(need, t.shortest[at(q)]) > std::min(can, t.longest[at(q)])) return;
    if (need == 0 && t.label[at(q)] >= 0) push(it.k);
    if (can == 0 || !t.open[at(q)]) return;
  }
  add({text, it.node, 0, need, can, q, within, 0, it.k});
}

// a: the place in the trie of listed names; b, c: state of the automaton of others (-1: not one of them), and the place
// within a character.
void Automaton::step_name(const Item& it, std::uint8_t byte) {
  const Object& o = program_->objects[at(node(it.node).a)];
  const Names allowed = names(o, it.i, it.need, it.can);
  if (it.a == before_quote) {
    if (byte != '"') return;
    const int listed = o.names >= 0 ? 0 : off_trie;
    return add({name, it.node, it.i, it.need, it.can, listed, allowed.others ? 0 : -1, 0, it.k});
  }
  const Trie* const trie = o.names >= 0 ? &program_->tries[at(o.names)] : nullptr;
  const int listed = it.a >= 0 ? trie->next(it.a, byte) : off_trie;
  if (byte == '"' && it.c == 0 && listed < 0) {
    const int label = it.a >= 0 ? trie->label[at(it.a)] : -1;
    if (label >= 0) {
      if (label >= allowed.from && label <= allowed.to && o.values[at(label)] >= 0)
        after_name(it, label + 2, o.values[at(label)]);
    } else if (it.b >= 0) {
      const int value = program_->automata[at(o.others)].label[at(it.b)];
      if (value >= 0) after_name(it, static_cast<int>(o.values.size()) + 2, value);
    }
    return;
  }
  int q = it.b, within = it.c;
  if (q >= 0 && !step_character(program_->automata[at(o.others)], q, within, byte)) q = -1;
  if (q < 0) within = 0;
  if (q < 0 && (listed < 0 || !trie->any_below(listed, allowed.from, allowed.to))) return;
  add({name, it.node, it.i, it.need, it.can, listed, q, within, it.k});
}

void Automaton::after_name(const Item& it, int i, int value) {
  const int rest = cons(it.node, i, std::max(0, it.need - 1), one_less(it.can), it.k);
  push(cons(colon, cons(space, cons(value, rest))));
}

int Automaton::intern_items() {
  std::sort(out_.begin(), out_.end());
  out_.erase(std::unique(out_.begin(), out_.end()), out_.end());
  const int state = states_.intern(out_.data(), out_.size());
  if (at(state) == keys_.size()) {
    keys_.push_back(-1);
    runs_.push_back({0, -1});
    if (at(state) % page_states == 0) {
      moves_.push_back(std::make_unique_for_overwrite<int[]>(page_states * 256));
      std::fill_n(moves_.back().get(), page_states * 256, -1);
    }
    if (out_.empty()) std::fill_n(moves_.back().get() + moves_at(state, 0), 256, dead);
  }
  return state;
}

int Automaton::move(int state, std::uint8_t byte) {
  if (bytes() > most_bytes) throw Overflow{};
  ++stamp_;
  out_.clear();
  for (const int id : list_of(state)) step(id, byte);
  close();
  const int to = intern_items();
  moves_[at(state) / page_states][moves_at(state, byte)] = to;
  return to;
}

int Automaton::start(bool drop_space) {
  int& known = drop_space ? start_dropping_ : start_;
  if (known >= 0) return known;
  if (drop_space) {
    const int plain = start(false);
    out_.clear();
    if (accepting(plain)) out_.push_back(0);
    add({prefix, 0, 0, 0, 0, 0, 0, 0, 0});
  } else {
    ++stamp_;
    out_.clear();
    push(cons(program_->start, 0));
    close();
  }
  return known = intern_items();
}

int Automaton::after(int state, std::int32_t token) {
  if (token < 0 || token >= tokens_->size()) return dead;
  const std::uint8_t *p = tokens_->begin(token), *const end = tokens_->end(token);
  if (tokens_->ends(token)) {  // nothing comes after it but its like
    if (state != ended_ && !accepting(state)) return dead;
    if (ended_ < 0) {
      out_.clear();
      add({ended, 0, 0, 0, 0, 0, 0, 0, 0});
      ended_ = intern_items();
    }
    return ended_;
  }
  if (p == end) return dead;
  for (; p < end && state != dead; ++p) state = next(state, *p);
  return state;
}

// ---- masks ----------------------------------------------------------------------------------------------------------

// A frame with its counters cut down, and those of all after it.
int Automaton::cut(int k) {
  std::vector<int> chain;
  for (int i = k; cuts_[at(i)] < 0; i = frame(i).next) chain.push_back(i);
  while (!chain.empty()) {
    const int here = chain.back();
    chain.pop_back();
    Frame f = frame(here);
    const Node n = node(f.node);
    const int longest = tokens_->longest();
    // What counters are compared with besides 0.
    const int margin = n.kind == Kind::object ? static_cast<int>(program_->objects[at(n.a)].values.size()) + 1 : 0;
    f.need = std::min(f.need, longest + margin);
    if (f.can > longest + margin) f.can = unbounded;
    const int next = cuts_[at(f.next)];
    const int made = cons(f.node, f.i, f.need, f.can, next);
    cuts_[at(here)] = made;
  }
  return cuts_[at(k)];
}

int Automaton::mask_key(int state) {
  if (keys_[at(state)] >= 0) return keys_[at(state)];
  if (bytes() > most_bytes) throw Overflow{};
  const int longest = tokens_->longest();
  std::vector<int> made;
  for (const int id : list_of(state)) {
    Item it = item(id);
    it.k = cut(it.k);
    if (it.kind == text) {
      const TextAutomaton& t = program_->automata[at(node(it.node).a)];
      it.need = std::min(it.need, longest + t.need_cap);
      if (it.can > longest + t.can_cap) it.can = unbounded;
    } else if (it.kind == name) {
      const int margin = longest + static_cast<int>(program_->objects[at(node(it.node).a)].values.size()) + 1;
      it.need = std::min(it.need, margin);
      if (it.can > margin) it.can = unbounded;
    }
    made.push_back(items_.intern(&it.kind, 9));
  }
  out_ = std::move(made);
  const int key = intern_items();
  keys_[at(state)] = key;
  return key;
}

// How many characters of plain text may come, whatever they are; 0: it depends on them.
int Automaton::plain_characters(const Item& it) const {
  const auto free = [&](const TextAutomaton& t, int q) {
    return t.free[at(q)] && program_->classifiers[at(t.classifier)].all_plain;
  };
  if (it.kind == text) {
    const TextAutomaton& t = program_->automata[at(node(it.node).a)];
    return it.b == 0 && free(t, it.a) ? it.can : 0;
  }
  if (it.kind != name || it.a == before_quote || it.b < 0 || it.c != 0) return 0;
  return free(program_->automata[at(program_->objects[at(node(it.node).a)].others)], it.b) ? unbounded : 0;
}

// Whether the next byte may be one that plain text begins with.
bool Automaton::takes_plain(const Item& it) const {
  if (it.kind != literal) return it.kind != accept && it.kind != ended;
  const std::uint8_t byte = program_->bytes[at(node(it.node).a + it.a)];
  return byte >= 0x20 && byte != '"' && byte != '\\';
}

// Of the item that goes on longest.
Automaton::Run Automaton::run(int state) {
  Run& known = runs_[at(state)];
  if (known.length >= 0) return known;
  known = {0, 0};
  for (const int id : states_[state]) {
    const Item it = item(id);
    if (it.kind != text || it.b != 0) continue;
    const TextAutomaton& t = program_->automata[at(node(it.node).a)];
    const bool stays = t.run_length[at(it.a)] == unbounded;
    if (!stays && it.need > 0) continue;
    const int characters = it.can == unbounded ? unbounded : it.can - (stays ? t.shortest[at(it.a)] : t.can_cap);
    const int length = std::min(t.run_length[at(it.a)], characters);
    if (length > known.length) known = {t.run[at(it.a)], length};
  }
  return known;
}

void Automaton::fill_mask(int key, std::uint32_t* words) {
  int plain = 0, others = 0;
  for (const int id : states_[key]) {
    const Item it = item(id);
    const int characters = plain_characters(it);
    plain = std::max(plain, characters);
    if (characters == 0 && takes_plain(it)) ++others;
  }
  // Longer plain tokens might be what another item takes.
  if (plain < tokens_->longest_plain() && others > 0) plain = 0;
  if (plain > 0) std::copy_n(tokens_->plain(plain), tokens_->words(), words);
  const TokenTrie::Walk& walk = plain > 0 ? tokens_->not_plain() : tokens_->all();
  const int count = static_cast<int>(walk.byte.size());
  path_[0] = key;
  for (int i = 0; i < count;) {
    const int depth = walk.depth[at(i)];
    const int to = next(path_[at(depth)], walk.byte[at(i)]);
    if (to == dead) {
      i = walk.end[at(i)];
      continue;
    }
    path_[at(depth) + 1] = to;
    // Where all that may come below goes on, nothing of it needs to be walked.
    int last = i + 1;
    if (walk.height[at(i)] > 0) {
      const Run goes_on = run(to);
      if ((walk.below[at(i)] & ~goes_on.bytes) == 0 && walk.height[at(i)] <= goes_on.length) last = walk.end[at(i)];
    }
    for (int k = walk.first[at(i)]; k < walk.first[at(last)]; ++k) {
      const int t = walk.tokens[at(k)];
      words[t / 32] |= 1u << (t % 32);
    }
    i = last;
  }
  if (key == ended_ || accepting(key))
    for (const std::int32_t t : tokens_->end_tokens()) words[t / 32] |= 1u << (t % 32);
}

}  // namespace octavo::grammar

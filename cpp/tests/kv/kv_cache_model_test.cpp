// The block manager under random operations against a naive model: shared pointers count references, the index is a
// map from (salt, all tokens so far), the eviction order a vector. The model knows no block numbers: those are
// checked by contents. "Memory" is an array of tokens per block; copies and steps move tokens through it, and every
// position of every sequence must read back its own token through its table. check() runs after every operation.
#include "kv/kv_cache.h"

#include <doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

using octavo::KvCache;
using octavo::KvCopy;

namespace {

using Tokens = std::vector<std::int32_t>;

struct ModelBlock {
  bool indexed = false;
  std::pair<std::string, Tokens> key;
};
using ModelRef = std::shared_ptr<ModelBlock>;
struct ModelSequence {
  int handle = 0, room = 0;
  std::string salt;
  Tokens tokens;
  std::vector<ModelRef> blocks;
};

class NaiveCache {
 public:
  NaiveCache(int total, bool indexing, int buckets, std::uint64_t seed)
      : kv(total, indexing, buckets),
        memory(static_cast<std::size_t>(total), Tokens(16, -1)),
        total(total),
        indexing(indexing),
        random(seed) {}

  void operation() {
    const int choice = below(100);
    if (sequences.empty() || (choice < 20 && sequences.size() < limit())) create();
    else if (choice < 60) step();
    else if (choice < 68) reserve(pick(), below(40));
    else if (choice < 76) truncate(pick());
    else if (choice < 82 && sequences.size() < limit()) fork(pick());
    else if (choice < 99) release(static_cast<std::size_t>(below(static_cast<int>(sequences.size()))));
    else clear();
    if (below(2)) make_copies();
    compare();
  }

  int hits = 0, refusals = 0, copies = 0, dedupes = 0, evictions = 0;

 private:
  int below(int n) { return static_cast<int>(random() % static_cast<std::uint64_t>(n)); }
  std::size_t limit() const { return 2 + static_cast<std::size_t>(total) / 5; }
  ModelSequence& pick() { return sequences[static_cast<std::size_t>(below(static_cast<int>(sequences.size())))]; }

  // Distinct blocks of the first `count` sequences.
  int held(std::size_t count) const {
    std::map<ModelBlock*, int> distinct;
    for (std::size_t i = 0; i < count; ++i) {
      for (const auto& b : sequences[i].blocks) ++distinct[b.get()];
    }
    return static_cast<int>(distinct.size());
  }
  int owned() const { return held(sequences.size()); }
  int users(const ModelRef& block) const {
    int n = 0;
    for (const auto& s : sequences) n += static_cast<int>(std::count(s.blocks.begin(), s.blocks.end(), block));
    return n;
  }

  ModelRef take() {
    if (owned() + static_cast<int>(cached.size()) == total) {
      index.erase(cached.front()->key);
      cached.erase(cached.begin());
      ++evictions;
    }
    return std::make_shared<ModelBlock>();
  }
  // `block` has just left a table.
  void drop(const ModelRef& block) {
    if (users(block) == 0 && block->indexed) cached.push_back(block);
  }
  void cut(ModelSequence& s, std::size_t keep) {
    while (s.blocks.size() > keep) {
      const ModelRef last = s.blocks.back();
      s.blocks.pop_back();
      drop(last);
    }
    s.room = 0;
  }

  void create() {
    ModelSequence s;
    s.salt = std::string(static_cast<std::size_t>(below(3)), 's');
    s.handle = kv.create(s.salt);
    Tokens prompt;
    const int style = below(4), length = below(90);
    for (int i = 0; i < length; ++i) prompt.push_back(style < 3 ? (i / 16) * style : below(2));
    const std::size_t limit = prompt.empty() ? 0 : (prompt.size() - 1) / 16;
    for (std::size_t i = 1; i <= limit; ++i) {
      const auto known = index.find({s.salt, Tokens(prompt.begin(), prompt.begin() + static_cast<long>(16 * i))});
      if (known == index.end()) break;
      std::erase(cached, known->second);
      s.blocks.push_back(known->second);
      s.tokens = known->first.second;
      ++hits;
    }
    CHECK(kv.match(s.handle, prompt.data(), length) == static_cast<int>(s.tokens.size()));
    sequences.push_back(std::move(s));
  }

  bool reserve(ModelSequence& s, int count) {
    const int length = static_cast<int>(s.tokens.size());
    const bool copy =
        count > 0 && length % 16 != 0 && (users(s.blocks[length / 16]) > 1 || s.blocks[length / 16]->indexed);
    const int wanted = std::max(0, (length + count + 15) / 16 - static_cast<int>(s.blocks.size()));
    const int needed = count == 0 ? 0 : wanted + copy;
    CHECK(kv.blocks_needed(s.handle, count) == needed);
    const bool possible = needed <= total - owned();
    REQUIRE(kv.reserve(s.handle, count) == possible);
    if (!possible) {
      ++refusals;
      return false;
    }
    if (copy) {
      const ModelRef fresh = take(), old = s.blocks[length / 16];
      s.blocks[length / 16] = fresh;
      drop(old);
      ++copies;
    }
    for (int i = 0; i < wanted && count > 0; ++i) s.blocks.push_back(take());
    s.room = std::max(s.room, count);
    return true;
  }

  void make_copies() {
    for (const KvCopy& c : kv.take_copies()) {
      memory[static_cast<std::size_t>(c.destination)] = memory[static_cast<std::size_t>(c.source)];
    }
    for (const auto& s : sequences) {
      const auto& table = kv.table(s.handle);
      for (std::size_t i = 0; i < s.tokens.size(); ++i)
        REQUIRE(memory[static_cast<std::size_t>(table[i / 16])][i % 16] == s.tokens[i]);
    }
  }

  void step() {
    std::vector<std::pair<ModelSequence*, Tokens>> parts;
    for (int n = 1 + below(3); n > 0; --n) {
      ModelSequence& s = pick();
      if (std::any_of(parts.begin(), parts.end(), [&](const auto& p) { return p.first == &s; })) continue;
      const int count = below(4) ? 1 + below(3) : below(40), style = below(4);
      Tokens t;
      for (int i = 0; i < count; ++i) {
        const int position = static_cast<int>(s.tokens.size()) + i;
        t.push_back(style < 3 ? (position / 16) * style : below(2));
      }
      if (reserve(s, count)) parts.emplace_back(&s, std::move(t));
    }
    make_copies();
    for (const auto& [s, t] : parts) {
      for (std::size_t i = 0; i < t.size(); ++i) {
        const std::size_t position = s->tokens.size() + i;
        memory[static_cast<std::size_t>(kv.table(s->handle)[position / 16])][position % 16] = t[i];
      }
    }
    if (below(8) == 0) return;  // interrupted: nothing is committed
    for (auto& [s, t] : parts)
      commit(*s, t, below(5) ? static_cast<int>(t.size()) : below(static_cast<int>(t.size()) + 1));
  }

  void commit(ModelSequence& s, const Tokens& t, int count) {
    kv.commit(s.handle, t.data(), count);
    const std::size_t first = s.tokens.size() / 16;
    s.tokens.insert(s.tokens.end(), t.begin(), t.begin() + count);
    s.room -= count;
    for (std::size_t i = first; indexing && i < s.tokens.size() / 16; ++i) {
      const std::pair key{s.salt, Tokens(s.tokens.begin(), s.tokens.begin() + static_cast<long>(16 * i + 16))};
      const auto known = index.find(key);
      if (known == index.end()) {
        s.blocks[i]->indexed = true;
        s.blocks[i]->key = key;
        index[key] = s.blocks[i];
      } else {
        std::erase(cached, known->second);
        const ModelRef own = s.blocks[i];
        s.blocks[i] = known->second;
        drop(own);
        ++dedupes;
      }
    }
  }

  void truncate(ModelSequence& s) {
    const int length = below(static_cast<int>(s.tokens.size()) + 1);
    kv.truncate(s.handle, length);
    cut(s, static_cast<std::size_t>(length + 15) / 16);
    s.tokens.resize(static_cast<std::size_t>(length));
  }

  void fork(const ModelSequence& from) {
    ModelSequence to = from;
    to.handle = kv.fork(from.handle);
    to.room = 0;
    to.blocks.resize((to.tokens.size() + 15) / 16);
    sequences.push_back(std::move(to));
  }

  void release(std::size_t i) {
    kv.release(sequences[i].handle);
    cut(sequences[i], 0);
    sequences.erase(sequences.begin() + static_cast<long>(i));
  }

  void clear() {
    kv.clear_index();
    for (const auto& b : cached) index.erase(b->key);
    cached.clear();
  }

  void compare() {
    REQUIRE(kv.check() == "");
    const auto st = kv.stats();
    REQUIRE(st.total == total);
    REQUIRE(st.owned == owned());
    REQUIRE(st.cached == static_cast<int>(cached.size()));
    REQUIRE(st.free == total - st.owned - st.cached);
    REQUIRE(kv.sequences() == static_cast<int>(sequences.size()));
    std::vector<std::int32_t> handles;
    for (const auto& s : sequences) handles.push_back(s.handle);
    for (const std::size_t count : {sequences.size() / 2, sequences.size()}) {
      REQUIRE(kv.held(handles.data(), static_cast<int>(count)) == held(count));
    }
    std::map<int, ModelBlock*> names;
    for (const auto& s : sequences) {
      REQUIRE(kv.tokens(s.handle) == s.tokens);
      const auto& table = kv.table(s.handle);
      REQUIRE(table.size() == s.blocks.size());
      for (std::size_t i = 0; i < table.size(); ++i) {  // the same blocks are shared, and no others
        REQUIRE(names.try_emplace(table[i], s.blocks[i].get()).first->second == s.blocks[i].get());
      }
    }
  }

  KvCache kv;
  std::vector<Tokens> memory;
  const int total;
  const bool indexing;
  std::mt19937_64 random;
  std::vector<ModelSequence> sequences;
  std::map<std::pair<std::string, Tokens>, ModelRef> index;
  std::vector<ModelRef> cached;  // in eviction order
};

}  // namespace

TEST_CASE("kv: random operations equal the naive model, every position reads back its own token") {
  const long operations = std::getenv("OCTAVO_DEEP") ? 1000000 : 14000;
  int hits = 0, refusals = 0, copies = 0, dedupes = 0, evictions = 0;
  const long rounds = operations / 2000;
  for (long round = 0; round < rounds; ++round) {
    const int total = 1 + static_cast<int>(round * 7 % 60);
    const bool indexing = round % 6 != 5;
    CAPTURE(round);
    NaiveCache model(total, indexing, round % 3 == 0 ? 1 : 0, static_cast<std::uint64_t>(round));
    for (int i = 0; i < 2000; ++i) model.operation();
    hits += model.hits, refusals += model.refusals, copies += model.copies;
    dedupes += model.dedupes, evictions += model.evictions;
  }
  MESSAGE(operations, " operations: ", hits, " block hits, ", dedupes, " duplicates, ", copies, " copies on write, ",
          evictions, " evictions, ", refusals, " refused reserves");
  CHECK(std::min({hits, refusals, copies, dedupes, evictions}) > operations / 100);
}

// The block manager: one named test per promise of kv_cache.h, and planted faults that check() must see. Random
// operations are in kv_cache_model_test.cpp.
#include "kv/kv_cache.h"

#include <doctest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "kv/block_pool.h"
#include "error.h"

using octavo::BlockPool;
using octavo::KvCache;

namespace {

using Tokens = std::vector<std::int32_t>;

Tokens range(int first, int count) {
  Tokens t(static_cast<std::size_t>(count));
  std::iota(t.begin(), t.end(), first);
  return t;
}

void append(KvCache& kv, int s, const Tokens& t) {
  REQUIRE(kv.reserve(s, static_cast<int>(t.size())));
  kv.take_copies();
  kv.commit(s, t.data(), static_cast<int>(t.size()));
}

int filled(KvCache& kv, const Tokens& t, const char* salt = "") {
  const int s = kv.create(salt);
  append(kv, s, t);
  return s;
}

template <class F>
void refused(F f) {
  try {
    f();
    FAIL("not refused");
  } catch (const octavo::Error& e) {
    CHECK(e.code() == octavo::Code::invalid_argument);
    CHECK(e.details().size() == 3);
  }
}

#define CHECK_STATS(kv, free_, cached_, owned_)           \
  do {                                                    \
    const auto st = (kv).stats();                         \
    CHECK(st.free == (free_));                            \
    CHECK(st.cached == (cached_));                        \
    CHECK(st.owned == (owned_));                          \
    CHECK(st.free + st.cached + st.owned == st.total);    \
    CHECK((kv).check() == "");                            \
  } while (false)

}  // namespace

TEST_CASE("kv: a new sequence is empty and owns nothing") {
  KvCache kv(4);
  const int s = kv.create("");
  CHECK(kv.length(s) == 0);
  CHECK(kv.tokens(s).empty());
  CHECK(kv.table(s).empty());
  CHECK(kv.sequences() == 1);
  CHECK_STATS(kv, 4, 0, 0);
}

TEST_CASE("kv: tokens and table follow what was committed") {
  KvCache kv(4);
  const int s = kv.create("");
  CHECK(kv.blocks_needed(s, 20) == 2);
  CHECK(kv.blocks_needed(s, 0) == 0);
  append(kv, s, range(0, 20));
  CHECK(kv.tokens(s) == range(0, 20));
  CHECK(kv.table(s).size() == 2);
  CHECK(kv.blocks_needed(s, 12) == 0);
  CHECK(kv.blocks_needed(s, 13) == 1);
  CHECK_STATS(kv, 2, 0, 2);
}

TEST_CASE("kv: references from tokens() and table() survive create and fork") {
  KvCache kv(4);
  const int s = filled(kv, range(0, 5));
  const Tokens& tokens = kv.tokens(s);
  for (int i = 0; i < 100; ++i) kv.create("");
  for (int i = 0; i < 100; ++i) kv.fork(s);
  CHECK(&tokens == &kv.tokens(s));
  CHECK(tokens == range(0, 5));
}

TEST_CASE("kv: reserve is all or nothing, copy-on-write block included") {
  KvCache kv(3);
  const int a = filled(kv, range(0, 20));
  const int b = kv.fork(a);
  CHECK(kv.blocks_needed(b, 12) == 1);
  CHECK(kv.blocks_needed(b, 13) == 2);
  CHECK_FALSE(kv.reserve(b, 13));
  CHECK(kv.take_copies().empty());
  CHECK(kv.table(b) == kv.table(a));
  CHECK_STATS(kv, 1, 0, 2);
  CHECK(kv.reserve(b, 12));
  CHECK(kv.take_copies().size() == 1);
  CHECK_FALSE(kv.reserve(b, 2147483647));
  CHECK_STATS(kv, 0, 0, 3);
}

TEST_CASE("kv: a reservation is kept until commit, which uses up its part") {
  KvCache kv(8);
  const int s = kv.create("");
  REQUIRE(kv.reserve(s, 40));
  CHECK_STATS(kv, 5, 0, 3);
  REQUIRE(kv.reserve(s, 40));  // a discarded step, tried again
  CHECK_STATS(kv, 5, 0, 3);
  const Tokens t = range(0, 40);
  kv.commit(s, t.data(), 10);
  kv.commit(s, t.data() + 10, 30);
  CHECK(kv.tokens(s) == t);
  refused([&] { kv.commit(s, t.data(), 1); });
  CHECK_STATS(kv, 5, 0, 3);
}

TEST_CASE("kv: truncate to the length itself gives an unused reservation back") {
  KvCache kv(8);
  const int s = filled(kv, range(0, 10));
  REQUIRE(kv.reserve(s, 60));
  CHECK_STATS(kv, 3, 0, 5);
  kv.truncate(s, 10);
  refused([&] { kv.commit(s, range(0, 1).data(), 1); });
  CHECK_STATS(kv, 7, 0, 1);
}

TEST_CASE("kv: match attaches the longest indexed prefix in whole blocks") {
  KvCache kv(16);
  const int a = filled(kv, range(0, 50));
  const int b = kv.create("");
  Tokens t = range(0, 60);
  t[40] = 7;
  CHECK(kv.match(b, t.data(), 60) == 32);
  CHECK(kv.length(b) == 32);
  CHECK(kv.tokens(b) == range(0, 32));
  CHECK(std::equal(kv.table(b).begin(), kv.table(b).end(), kv.table(a).begin()));
  CHECK_STATS(kv, 12, 0, 4);
}

TEST_CASE("kv: match leaves at least one token to compute") {
  KvCache kv(8);
  filled(kv, range(0, 32));
  const Tokens t = range(0, 33);
  for (auto [count, expected] : {std::pair{0, 0}, {1, 0}, {16, 0}, {17, 16}, {31, 16}, {32, 16}, {33, 32}}) {
    const int s = kv.create("");
    CHECK(kv.match(s, t.data(), count) == expected);
    kv.release(s);
  }
  CHECK(kv.check() == "");
}

TEST_CASE("kv: a block means its whole prefix, not only its own tokens") {
  KvCache kv(8);
  Tokens a = range(0, 16), b = range(100, 16);
  a.insert(a.end(), 16, 5);
  filled(kv, a);
  filled(kv, b);
  b.insert(b.end(), 17, 5);
  const int s = kv.create("");
  CHECK(kv.match(s, b.data(), 33) == 16);
}

TEST_CASE("kv: sequences with different salts never share blocks") {
  KvCache kv(8);
  const Tokens t = range(0, 33);
  const int a = filled(kv, t, "a"), b = filled(kv, t, "b");
  for (int x : kv.table(a)) CHECK(std::count(kv.table(b).begin(), kv.table(b).end(), x) == 0);
  const int c = kv.create("c"), d = kv.create("a");
  CHECK(kv.match(c, t.data(), 33) == 0);
  CHECK(kv.match(d, t.data(), 33) == 32);
  CHECK_STATS(kv, 2, 0, 6);
}

TEST_CASE("kv: salts leave nothing behind") {
  BlockPool pool(4, 0);
  for (int i = 0; i < 10000; ++i) pool.root_close(pool.root_open("salt " + std::to_string(i)));
  CHECK(pool.salts.empty());
  CHECK(pool.roots.size() == 1);
  const int slot = pool.root_open("kept");  // a block keeps its root, the eviction of the block lets it go
  const int b = pool.take();
  const Tokens t = range(0, 16);
  pool.insert(b, pool.roots[slot].id, slot, t.data());
  pool.root_close(slot);
  pool.drop(b);
  CHECK(pool.salts.size() == 1);
  pool.evict_cached();
  CHECK(pool.salts.empty());
  CHECK(pool.check({0, 0, 0, 0}, {}) == "");
}

TEST_CASE("kv: a salt that was forgotten and comes back finds nothing stale") {
  KvCache kv(2);
  const Tokens t = range(0, 17);
  kv.release(filled(kv, t, "a"));
  CHECK_STATS(kv, 1, 1, 0);
  kv.release(filled(kv, range(100, 32), "b"));
  const int s = kv.create("a");
  CHECK(kv.match(s, t.data(), 17) == 0);
}

TEST_CASE("kv: a block whose content is there already is given back in favour of the indexed one") {
  KvCache kv(8);
  const int a = kv.create(""), b = kv.create("");
  const Tokens t = range(0, 20);
  REQUIRE(kv.reserve(a, 20));
  REQUIRE(kv.reserve(b, 20));
  CHECK_STATS(kv, 4, 0, 4);
  kv.commit(a, t.data(), 20);
  kv.commit(b, t.data(), 20);
  CHECK(kv.table(a)[0] == kv.table(b)[0]);
  CHECK(kv.table(a)[1] != kv.table(b)[1]);
  CHECK_STATS(kv, 5, 0, 3);
}

TEST_CASE("kv: without an index nothing is found, cached or shared by content") {
  KvCache kv(8, false);
  const int a = filled(kv, range(0, 40)), b = filled(kv, range(0, 40));
  CHECK(kv.table(a)[0] != kv.table(b)[0]);
  kv.release(a);
  CHECK_STATS(kv, 5, 0, 3);
  const int c = kv.create("");
  CHECK(kv.match(c, range(0, 40).data(), 40) == 0);
  const int d = kv.fork(b);
  REQUIRE(kv.reserve(d, 1));
  CHECK(kv.take_copies().size() == 1);
  CHECK_STATS(kv, 4, 0, 4);
}

TEST_CASE("kv: released blocks of full content become cached, others free") {
  KvCache kv(8);
  kv.release(filled(kv, range(0, 40)));
  CHECK(kv.sequences() == 0);
  CHECK_STATS(kv, 6, 2, 0);
  const int s = kv.create("");
  CHECK(kv.match(s, range(0, 40).data(), 40) == 32);
  CHECK_STATS(kv, 6, 0, 2);
}

TEST_CASE("kv: the tail of a released sequence is evicted first, the least recently used sequence before others") {
  KvCache kv(6);
  kv.release(filled(kv, range(0, 48)));
  kv.release(filled(kv, range(100, 48)));
  CHECK_STATS(kv, 0, 6, 0);
  const auto cached = [&](int first) {
    const int s = kv.create("");
    const int n = kv.match(s, range(first, 49).data(), 49);
    kv.release(s);
    return n;
  };
  const int s = kv.create("");
  REQUIRE(kv.reserve(s, 16));
  CHECK(cached(100) == 48);
  CHECK(cached(0) == 32);  // now the most recently used one
  REQUIRE(kv.reserve(s, 32));
  CHECK(cached(0) == 32);
  CHECK(cached(100) == 32);
  CHECK(kv.check() == "");
}

TEST_CASE("kv: a copy's source that becomes cached is not taken by the same reserve before older blocks") {
  KvCache kv(5);
  const int a = filled(kv, range(0, 32));
  const int b = filled(kv, range(100, 16));
  kv.release(b);
  kv.truncate(a, 20);  // the last block stays in the index, 4 tokens of it in use
  CHECK_STATS(kv, 2, 1, 2);
  REQUIRE(kv.reserve(a, 44));  // 2 fresh and the copy: both free ones and the cached one
  CHECK_STATS(kv, 0, 1, 4);
  const auto copies = kv.take_copies();
  REQUIRE(copies.size() == 1);
  CHECK(copies[0].destination == kv.table(a)[1]);
}

TEST_CASE("kv: fork shares every block; the shared last one is copied by the first reserve that writes to it") {
  KvCache kv(8);
  const int a = filled(kv, range(0, 20)), b = kv.fork(a);
  CHECK(kv.tokens(b) == range(0, 20));
  CHECK(kv.table(b) == kv.table(a));
  CHECK_STATS(kv, 6, 0, 2);
  const int last = kv.table(a)[1];
  REQUIRE(kv.reserve(b, 1));
  const auto copies = kv.take_copies();
  REQUIRE(copies.size() == 1);
  CHECK(copies[0].source == last);
  CHECK(copies[0].destination == kv.table(b)[1]);
  CHECK(kv.table(a)[1] == last);
  REQUIRE(kv.reserve(a, 1));
  CHECK(kv.take_copies().empty());  // a is alone with it now
  CHECK_STATS(kv, 5, 0, 3);
}

TEST_CASE("kv: fork of a sequence with reserved blocks shares the computed ones only") {
  KvCache kv(8);
  const int a = filled(kv, range(0, 20));
  REQUIRE(kv.reserve(a, 40));
  const int b = kv.fork(a);
  CHECK(kv.table(b).size() == 2);
  const Tokens t = range(20, 12);
  kv.commit(a, t.data(), 12);  // fills the block that b holds 4 tokens of
  CHECK(kv.check() == "");
  REQUIRE(kv.reserve(b, 1));
  CHECK(kv.take_copies().size() == 1);
  kv.release(a);
  CHECK_STATS(kv, 5, 1, 2);
}

TEST_CASE("kv: a shared block that becomes full is deduplicated for its writer only") {
  KvCache kv(8);
  const int known = filled(kv, range(0, 16));
  const int a = filled(kv, range(0, 10));
  REQUIRE(kv.reserve(a, 6));
  const int b = kv.fork(a), own = kv.table(a)[0];
  kv.commit(a, range(10, 6).data(), 6);
  CHECK(kv.table(a)[0] == kv.table(known)[0]);
  CHECK(kv.table(b)[0] == own);
  REQUIRE(kv.reserve(b, 1));
  CHECK(kv.take_copies().empty());
  CHECK_STATS(kv, 6, 0, 2);
}

TEST_CASE("kv: a block of the index is never written to: truncate into it, then reserve copies") {
  KvCache kv(8);
  const int a = filled(kv, range(0, 32));
  const int indexed = kv.table(a)[1];
  kv.truncate(a, 20);
  CHECK(kv.length(a) == 20);
  CHECK(kv.table(a)[1] == indexed);
  CHECK(kv.blocks_needed(a, 1) == 1);
  append(kv, a, {1000});
  CHECK(kv.table(a)[1] != indexed);
  CHECK_STATS(kv, 5, 1, 2);
  const int b = kv.create("");
  CHECK(kv.match(b, range(0, 33).data(), 33) == 32);
  CHECK(kv.table(b)[1] == indexed);
}

TEST_CASE("kv: truncate drops tokens and the blocks no longer needed") {
  KvCache kv(8);
  const int a = filled(kv, range(0, 60));
  kv.truncate(a, 32);
  CHECK(kv.tokens(a) == range(0, 32));
  CHECK_STATS(kv, 5, 1, 2);
  kv.truncate(a, 0);
  CHECK(kv.table(a).empty());
  CHECK_STATS(kv, 5, 3, 0);
  CHECK(kv.match(a, range(0, 60).data(), 60) == 48);
}

TEST_CASE("kv: clear_index forgets every cached block and keeps owned ones") {
  KvCache kv(8);
  kv.release(filled(kv, range(0, 40)));
  const int a = filled(kv, range(100, 40));
  CHECK_STATS(kv, 3, 2, 3);
  kv.clear_index();
  CHECK_STATS(kv, 5, 0, 3);
  const int b = kv.create("");
  CHECK(kv.match(b, range(0, 40).data(), 40) == 0);
  CHECK(kv.match(b, range(100, 40).data(), 40) == 32);
  kv.release(a);
  CHECK(kv.check() == "");
}

TEST_CASE("kv: queued copies keep their order and stay when their sequence is gone") {
  KvCache kv(8);
  const int a = filled(kv, range(0, 10)), b = kv.fork(a), source = kv.table(a)[0];
  REQUIRE(kv.reserve(b, 1));
  const int middle = kv.table(b)[0], c = kv.fork(b);
  REQUIRE(kv.reserve(c, 1));  // copies a block that is itself the destination of a copy not made yet
  const int end = kv.table(c)[0];
  kv.release(b);
  const auto copies = kv.take_copies();
  REQUIRE(copies.size() == 2);
  CHECK(copies[0].source == source);
  CHECK(copies[0].destination == middle);
  CHECK(copies[1].source == middle);
  CHECK(copies[1].destination == end);
  CHECK(kv.take_copies().empty());
  CHECK_STATS(kv, 6, 0, 2);
}

TEST_CASE("kv: what a caller may not do is refused with expectation and value, and changes nothing") {
  KvCache kv(8);
  refused([] { KvCache empty(0); });
  refused([] { KvCache negative(-1); });
  const int a = filled(kv, range(0, 20)), gone = kv.create("");
  kv.release(gone);
  const int reused = kv.create("");
  CHECK(reused != gone);
  const Tokens t = range(0, 8);
  for (int handle : {-1, gone, 99, 1 << 30, 2147483647}) {
    refused([&] { kv.match(handle, t.data(), 1); });
    refused([&] { kv.reserve(handle, 1); });
    refused([&] { kv.blocks_needed(handle, 1); });
    refused([&] { kv.commit(handle, t.data(), 0); });
    refused([&] { kv.truncate(handle, 0); });
    refused([&] { kv.fork(handle); });
    refused([&] { kv.release(handle); });
    refused([&] { kv.length(handle); });
    refused([&] { kv.tokens(handle); });
    refused([&] { kv.table(handle); });
  }
  refused([&] { kv.match(a, t.data(), 8); });  // not empty
  refused([&] { kv.match(reused, t.data(), -1); });
  refused([&] { kv.reserve(a, -1); });
  refused([&] { kv.blocks_needed(a, -1); });
  refused([&] { kv.commit(a, t.data(), 1); });  // nothing reserved
  refused([&] { kv.commit(a, t.data(), -1); });
  refused([&] { kv.truncate(a, 21); });
  refused([&] { kv.truncate(a, -1); });
  CHECK_STATS(kv, 6, 0, 2);
}

TEST_CASE(
    "kv: blocks are provided as they are needed, lowest first; without memory cached ones are taken, then there is no "
    "room") {
  int has = 2, asked = 0;  // blocks that the system has memory for; the most that was asked for
  KvCache kv(8, true, 0, [&](int n) {
    asked = std::max(asked, n);
    return std::min(has, n + 1);
  });
  CHECK_STATS(kv, 8, 0, 0);
  const int a = filled(kv, range(0, 32));
  CHECK(kv.table(a) == Tokens{0, 1});
  CHECK(asked == 2);
  CHECK_STATS(kv, 6, 0, 2);
  const int b = kv.create("");
  CHECK_FALSE(kv.reserve(b, 16));  // nothing cached
  CHECK_STATS(kv, 0, 0, 8);        // what the system has no memory for is none of the free blocks
  kv.release(a);
  CHECK_STATS(kv, 0, 2, 6);
  CHECK(kv.reserve(b, 16));  // evicts
  CHECK_STATS(kv, 0, 1, 7);
  has = 8;  // there is memory again
  CHECK(kv.reserve(b, 32));
  CHECK(kv.table(b) == Tokens{1, 2});
  CHECK_STATS(kv, 5, 1, 2);
  has = 4;  // and others take it: what was provided stays
  CHECK_FALSE(kv.reserve(b, 100 * 16));
  CHECK(asked == 3);  // what no memory could hold is not asked for
  CHECK(kv.reserve(b, 3 * 16));
  CHECK(kv.reserve(b, 4 * 16));
  CHECK(kv.table(b) == Tokens{1, 2, 3, 0});
  CHECK_FALSE(kv.reserve(b, 5 * 16));
  kv.release(b);
  CHECK_STATS(kv, 4, 0, 4);
  CHECK(kv.check() == "");
}

TEST_CASE("kv: check sees faults in tables and tokens") {
  KvCache kv(8);
  const int a = filled(kv, range(0, 40)), b = kv.fork(a);
  Tokens& table = const_cast<Tokens&>(kv.table(a));
  Tokens& tokens = const_cast<Tokens&>(kv.tokens(a));
  const Tokens good_table = table, good_tokens = tokens;
  const auto faulty = [&](auto change) {
    change();
    CHECK(kv.check() != "");
    table = good_table;
    tokens = good_tokens;
    CHECK(kv.check() == "");
  };
  faulty([&] { table[2] = 7; });              // a free block
  faulty([&] { table[0] = table[1]; });       // a wrong one
  faulty([&] { table[0] = 8; });
  faulty([&] { table[0] = -1; });
  faulty([&] { table.pop_back(); });          // fewer than its tokens
  faulty([&] { table.push_back(table[2]); }); // counted twice
  faulty([&] { tokens[3] = 9; });             // not what the index says
  faulty([&] { tokens.resize(48, 1); });      // full, but not in the index
  kv.release(b);
  CHECK(kv.check() == "");
}

TEST_CASE("kv: check sees faults in counts, lists and index") {
  const auto faulty = [](auto change) {
    BlockPool pool(6, 4);
    const int root = pool.root_open("s");
    std::uint64_t parent = pool.roots[root].id;
    std::vector<int> held;
    for (int i = 0; i < 3; ++i) {
      const int b = pool.take();
      pool.insert(b, parent, i == 0 ? root : -1, range(16 * i, 16).data());
      parent = pool.blocks[b].id;
      held.push_back(b);
    }
    pool.drop(held[2]);
    pool.drop(held[1]);
    const int again[] = {pool.take(), pool.take()};
    for (const int b : again) pool.drop(b);  // 0 owned, 1 and 2 cached, 3 and 4 free, 5 never used
    const std::vector<int> references{1, 0, 0, 0, 0, 0};
    REQUIRE(pool.check(references, {1}) == "");
    change(pool);
    CHECK(pool.check(references, {1}) != "");
  };
  faulty([](BlockPool& p) { ++p.blocks[0].refs; });
  faulty([](BlockPool& p) { ++p.blocks[3].refs; });
  faulty([](BlockPool& p) { p.free.pop_back(); });
  faulty([](BlockPool& p) { p.free.back() = p.free.front(); });
  faulty([](BlockPool& p) { p.free.back() = 0; });
  faulty([](BlockPool& p) { p.free.back() = 6; });
  faulty([](BlockPool& p) { p.free.push_back(5); });
  faulty([](BlockPool& p) { ++p.fresh; });
  faulty([](BlockPool& p) { --p.fresh; });
  faulty([](BlockPool& p) { p.provided = 4; });
  faulty([](BlockPool& p) { ++p.cached; });
  faulty([](BlockPool& p) { p.oldest = p.newest; });
  faulty([](BlockPool& p) { p.blocks[p.newest].older = -1; });
  faulty([](BlockPool& p) { p.newest = p.oldest; });
  faulty([](BlockPool& p) { p.blocks[1].id = 0; });
  faulty([](BlockPool& p) { p.blocks[4].id = 3; });
  faulty([](BlockPool& p) { p.blocks[1].id = p.blocks[0].id; });
  faulty([](BlockPool& p) { p.blocks[2].parent = 0; });
  faulty([](BlockPool& p) { p.blocks[1].root = 0; });
  faulty([](BlockPool& p) { std::fill(p.buckets.begin(), p.buckets.end(), -1); });
  faulty([](BlockPool& p) { ++p.roots[0].refs; });
  faulty([](BlockPool& p) { p.salts.clear(); });
  faulty([](BlockPool& p) { p.roots[0].salt = "t"; });
  faulty([](BlockPool& p) { p.next_id = 2; });
  faulty([](BlockPool& p) {  // the eviction order turned round: a parent before its child
    std::swap(p.oldest, p.newest);
    for (int b : {1, 2}) std::swap(p.blocks[b].older, p.blocks[b].newer);
  });
}

TEST_CASE("kv: keys that share a bucket, or all 16 tokens but not the parent, are told apart") {
  BlockPool pool(64, 1);
  const int root = pool.root_open("");
  std::vector<std::uint64_t> parents{pool.roots[root].id};
  std::map<std::pair<std::uint64_t, int>, int> known;
  for (int i = 0; i < 60; ++i) {
    const int b = pool.take(), first = i % 4;
    const std::uint64_t parent = parents[static_cast<std::size_t>(i / 4)];
    pool.insert(b, parent, i < 4 ? root : -1, range(first, 16).data());
    known[{parent, first}] = b;
    parents.push_back(pool.blocks[b].id);
  }
  for (std::uint64_t parent : parents) {
    for (int first = 0; first < 6; ++first) {
      const auto entry = known.find({parent, first});
      CHECK(pool.find(parent, range(first, 16).data()) == (entry == known.end() ? -1 : entry->second));
    }
  }
}

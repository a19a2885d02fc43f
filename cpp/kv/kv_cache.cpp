// Sequences over the block pool (block_pool.h): tables, room for the next step, copy-on-write.
//
// With the index on, every full block of a sequence's computed tokens is an indexed block and continues the one
// before it. Only the block that holds position length(sequence) may be written to, and only by the sequence that
// reserved it: reserve replaces it by a copy when it is in the index or in another table. Queued copies are never
// withdrawn: they are made in order before anything of the next step is written, so a source holds what it held when
// the copy was queued, and a destination that was given back meanwhile is overwritten by whoever has it next.
#include "kv/kv_cache.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <new>
#include <utility>

#include "kv/block_pool.h"
#include "error.h"

namespace octavo {

namespace {

// A handle is generation * 2^20 + slot: a released handle is refused until its slot was reused 2047 times.
constexpr int slot_bits = 20, slot_limit = 1 << slot_bits, generation_limit = 1 << (31 - slot_bits);
// A released sequence keeps its vectors for the next one up to this many tokens, so that idle slots hold little memory.
constexpr std::size_t kept_tokens = 4096;

constexpr std::int64_t blocks_for(std::int64_t tokens) { return (tokens + kv_tokens - 1) / kv_tokens; }

Error bad(const char* op, const char* name, long long value, const std::string& expected) {
  const std::string found = std::to_string(value);
  return Error(Code::invalid_argument, std::string(op) + ": " + name + " is " + found + ", expected " + expected,
               {{"name", name}, {"value", found}, {"expected", expected}});
}

struct Sequence {
  bool live = false;
  int generation = 0;
  int root = -1;
  int room = 0;  // positions after length that may be written: reserved and not yet committed
  std::vector<std::int32_t> tokens, table;
  int length() const { return static_cast<int>(tokens.size()); }
};

}  // namespace

struct KvCache::Impl {
  BlockPool pool;
  const bool indexing;
  std::deque<Sequence> slots;  // a deque: references to tokens and tables survive create and fork
  std::vector<int> free_slots;
  std::vector<KvCopy> copies;
  const KvProvider provider;
  bool refused = false;  // the last time that more blocks were asked for, there was no memory
  std::vector<std::uint32_t> counted;  // by block: the count (held) that met it last
  std::uint32_t count = 0;

  Impl(int total, bool prefix_index, int buckets, KvProvider blocks_provider)
      : pool(total, buckets), indexing(prefix_index), provider(std::move(blocks_provider)) {
    if (provider) pool.provided = std::min(total, provider(0));
  }

  // Asks for the new blocks that `needed` ones would use, as far as those given back do not do.
  void provide(std::int64_t needed) {
    const std::int64_t reach = pool.fresh + needed - static_cast<std::int64_t>(pool.free.size());
    if (!provider || reach <= pool.fresh || pool.provided == pool.total()) return;
    const int wanted = static_cast<int>(std::min<std::int64_t>(pool.total(), reach));
    pool.provided = std::min(pool.total(), provider(wanted));
    refused = pool.provided < wanted;
  }

  Sequence& get(const char* op, int handle) {
    const int slot = handle & (slot_limit - 1);
    if (handle >= 0 && slot < static_cast<int>(slots.size()) && slots[slot].live &&
        slots[slot].generation == handle >> slot_bits) {
      return slots[slot];
    }
    throw bad(op, "sequence", handle, "a live sequence");
  }

  int open(int root) {
    if (free_slots.empty()) {
      if (slots.size() == static_cast<std::size_t>(slot_limit)) {
        throw Error(Code::out_of_memory, "create: " + std::to_string(slot_limit) + " sequences are live");
      }
      free_slots.reserve(slots.size() + 1);
      slots.emplace_back();
      free_slots.push_back(static_cast<int>(slots.size()) - 1);
    }
    const int slot = free_slots.back();
    free_slots.pop_back();
    slots[slot].live = true;
    slots[slot].root = root;
    return slots[slot].generation << slot_bits | slot;
  }

  // The last block would be written to and may not be.
  bool must_copy(const Sequence& s) const {
    if (s.length() % kv_tokens == 0) return false;
    const Block& block = pool.blocks[s.table[s.length() / kv_tokens]];
    return block.refs > 1 || block.id != 0;
  }

  std::int64_t needed(const Sequence& s, int count) const {
    if (count == 0) return 0;
    const std::int64_t blocks = blocks_for(static_cast<std::int64_t>(s.length()) + count);
    return std::max<std::int64_t>(0, blocks - static_cast<std::int64_t>(s.table.size())) + must_copy(s);
  }

  // Gives back the table's entries from `keep` on, the last first.
  void cut(Sequence& s, std::size_t keep) {
    while (s.table.size() > keep) {
      pool.drop(s.table.back());
      s.table.pop_back();
    }
    s.room = 0;
  }

  // Block i of the table is full now: enters the index, or makes way for the block that holds the same there.
  void seal(Sequence& s, int i) {
    const std::uint64_t parent = i == 0 ? pool.roots[s.root].id : pool.blocks[s.table[i - 1]].id;
    const std::int32_t* tokens = s.tokens.data() + static_cast<std::size_t>(i) * kv_tokens;
    const int known = pool.find(parent, tokens);
    if (known < 0) {
      pool.insert(s.table[i], parent, i == 0 ? s.root : -1, tokens);
    } else {
      pool.retain(known);
      pool.drop(s.table[i]);
      s.table[i] = known;
    }
  }

  std::string check_sequence(int slot, const Sequence& s, std::vector<int>& references) const;
};

KvCache::KvCache(int total_blocks, bool prefix_index, int index_buckets, KvProvider provider) {
  if (total_blocks < 1) throw bad("KvCache", "total_blocks", total_blocks, "at least 1");
  try {
    impl_ = std::make_unique<Impl>(total_blocks, prefix_index, index_buckets, std::move(provider));
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, "KvCache: no memory to manage " + std::to_string(total_blocks) + " blocks");
  }
}

KvCache::~KvCache() = default;

int KvCache::create(const std::string& salt) {
  const int root = impl_->pool.root_open(salt);
  try {
    return impl_->open(root);
  } catch (...) {
    impl_->pool.root_close(root);
    throw;
  }
}

int KvCache::match(int sequence, const std::int32_t* tokens, int count) {
  Sequence& s = impl_->get("match", sequence);
  if (count < 0) throw bad("match", "count", count, "at least 0");
  if (!s.table.empty()) throw bad("match", "length", s.length(), "an empty sequence without reserved blocks");
  BlockPool& pool = impl_->pool;
  std::uint64_t parent = pool.roots[s.root].id;
  const int limit = count > 0 ? (count - 1) / kv_tokens : 0;
  s.table.reserve(static_cast<std::size_t>(limit));
  s.tokens.reserve(static_cast<std::size_t>(count));
  int matched = 0;
  for (; matched < limit; ++matched) {
    const int b = pool.find(parent, tokens + static_cast<std::size_t>(matched) * kv_tokens);
    if (b < 0) break;
    s.table.push_back(b);
    pool.retain(b);
    parent = pool.blocks[b].id;
  }
  s.tokens.assign(tokens, tokens + static_cast<std::size_t>(matched) * kv_tokens);
  return matched * kv_tokens;
}

int KvCache::blocks_needed(int sequence, int count) const {
  const Sequence& s = impl_->get("blocks_needed", sequence);
  if (count < 0) throw bad("blocks_needed", "count", count, "at least 0");
  return static_cast<int>(impl_->needed(s, count));
}

bool KvCache::reserve(int sequence, int count) {
  Sequence& s = impl_->get("reserve", sequence);
  if (count < 0) throw bad("reserve", "count", count, "at least 0");
  BlockPool& pool = impl_->pool;
  const std::int64_t needed = impl_->needed(s, count);
  if (needed > pool.available() + pool.total() - pool.provided) return false;
  impl_->provide(needed);
  if (needed > pool.available() || count > std::numeric_limits<int>::max() - s.length()) return false;
  const std::size_t size = static_cast<std::size_t>(blocks_for(static_cast<std::int64_t>(s.length()) + count));
  if (s.table.capacity() < size) s.table.reserve(std::max(size, 2 * s.table.capacity()));
  if (needed > 0 && impl_->must_copy(s)) {
    std::int32_t& entry = s.table[s.length() / kv_tokens];
    impl_->copies.push_back({entry, -1});
    const int copy = pool.take();
    impl_->copies.back().destination = copy;
    pool.drop(entry);
    entry = copy;
  }
  while (s.table.size() < size) s.table.push_back(pool.take());
  s.room = std::max(s.room, count);
  return true;
}

void KvCache::commit(int sequence, const std::int32_t* tokens, int count) {
  Sequence& s = impl_->get("commit", sequence);
  if (count < 0 || count > s.room) {
    throw bad("commit", "count", count, "0 to " + std::to_string(s.room) + " (reserved)");
  }
  const int first = s.length() / kv_tokens;
  s.tokens.insert(s.tokens.end(), tokens, tokens + count);
  s.room -= count;
  if (!impl_->indexing) return;
  for (int i = first; i < s.length() / kv_tokens; ++i) impl_->seal(s, i);
}

void KvCache::truncate(int sequence, int length) {
  Sequence& s = impl_->get("truncate", sequence);
  if (length < 0 || length > s.length()) throw bad("truncate", "length", length, "0 to " + std::to_string(s.length()));
  impl_->cut(s, static_cast<std::size_t>(blocks_for(length)));
  s.tokens.resize(static_cast<std::size_t>(length));
}

int KvCache::fork(int sequence) {
  Sequence& from = impl_->get("fork", sequence);
  std::vector<std::int32_t> tokens(from.tokens);
  std::vector<std::int32_t> table(from.table.begin(), from.table.begin() + blocks_for(from.length()));
  const int handle = impl_->open(from.root);
  ++impl_->pool.roots[from.root].refs;
  for (std::int32_t b : table) impl_->pool.retain(b);
  Sequence& to = impl_->get("fork", handle);
  to.tokens = std::move(tokens);
  to.table = std::move(table);
  return handle;
}

void KvCache::release(int sequence) {
  Sequence& s = impl_->get("release", sequence);
  impl_->cut(s, 0);
  impl_->pool.root_close(s.root);
  s.tokens.clear();
  if (s.tokens.capacity() > kept_tokens) {
    s.tokens = {};
    s.table = {};
  }
  s.live = false;
  s.root = -1;
  s.generation = (s.generation + 1) % generation_limit;
  impl_->free_slots.push_back(sequence & (slot_limit - 1));
}

void KvCache::clear_index() { impl_->pool.evict_cached(); }

int KvCache::length(int sequence) const { return impl_->get("length", sequence).length(); }

int KvCache::room(int sequence) const { return impl_->get("room", sequence).room; }

const std::vector<std::int32_t>& KvCache::tokens(int sequence) const { return impl_->get("tokens", sequence).tokens; }

const std::vector<std::int32_t>& KvCache::table(int sequence) const { return impl_->get("table", sequence).table; }

KvStats KvCache::stats() const {
  const BlockPool& pool = impl_->pool;
  const int free = pool.unowned() + (impl_->refused ? 0 : pool.total() - pool.provided);
  return {pool.total(), free, pool.cached, pool.total() - free - pool.cached};
}

int KvCache::held(const std::int32_t* sequences, int count) const {
  Impl& impl = *impl_;
  impl.counted.resize(static_cast<std::size_t>(impl.pool.total()));
  if (++impl.count == 0) {
    std::fill(impl.counted.begin(), impl.counted.end(), 0);
    impl.count = 1;
  }
  int held = 0;
  for (int i = 0; i < count; ++i) {
    for (const std::int32_t b : impl.get("held", sequences[i]).table) {
      held += impl.counted[b] != impl.count;
      impl.counted[b] = impl.count;
    }
  }
  return held;
}

int KvCache::sequences() const { return static_cast<int>(impl_->slots.size() - impl_->free_slots.size()); }

std::vector<KvCopy> KvCache::take_copies() { return std::exchange(impl_->copies, {}); }

std::string KvCache::Impl::check_sequence(int slot, const Sequence& s, std::vector<int>& references) const {
  const std::string name = "sequence in slot " + std::to_string(slot);
  const std::int64_t positions = static_cast<std::int64_t>(s.table.size()) * kv_tokens;
  if (s.length() + static_cast<std::int64_t>(s.room) > positions) return name + " has fewer blocks than tokens";
  std::uint64_t parent = s.root >= 0 && s.root < static_cast<int>(pool.roots.size()) ? pool.roots[s.root].id : 0;
  if (parent == 0) return name + " has no root";
  for (std::size_t i = 0; i < s.table.size(); ++i) {
    const int b = s.table[i];
    if (b < 0 || b >= pool.total()) return name + " holds block " + std::to_string(b) + " which is not in the pool";
    ++references[b];
    const Block& block = pool.blocks[b];
    const int begin = static_cast<int>(i) * kv_tokens, filled = std::clamp(s.length() - begin, 0, kv_tokens);
    if (indexing && filled == kv_tokens && block.id == 0) return name + " has a full block that is not in the index";
    if (block.id == 0) continue;
    if (filled == 0) return name + " reserved a block of the index: " + std::to_string(b);
    if (s.room > 0 && filled < kv_tokens) return name + " may write to a block of the index: " + std::to_string(b);
    if (block.parent != parent) return name + " does not follow the index at block " + std::to_string(b);
    if (!std::equal(s.tokens.begin() + begin, s.tokens.begin() + begin + filled, block.tokens.begin())) {
      return name + " holds other tokens than its block " + std::to_string(b);
    }
    parent = block.id;
  }
  return {};
}

std::string KvCache::check() const {
  const BlockPool& pool = impl_->pool;
  std::vector<int> references(pool.blocks.size(), 0), root_users(pool.roots.size(), 0);
  std::size_t live = 0;
  for (std::size_t i = 0; i < impl_->slots.size(); ++i) {
    const Sequence& s = impl_->slots[i];
    if (!s.live) continue;
    ++live;
    const std::string fault = impl_->check_sequence(static_cast<int>(i), s, references);
    if (!fault.empty()) return fault;
    ++root_users[s.root];
  }
  if (live + impl_->free_slots.size() != impl_->slots.size()) return "a slot is neither live nor free";
  for (const KvCopy& copy : impl_->copies) {
    if (copy.source < 0 || copy.source >= pool.total() || copy.destination < 0 || copy.destination >= pool.total() ||
        copy.source == copy.destination) {
      return "a queued copy from block " + std::to_string(copy.source) + " to " + std::to_string(copy.destination);
    }
  }
  return pool.check(references, root_users);
}

}  // namespace octavo

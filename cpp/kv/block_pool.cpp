// Intrusive lists over block numbers: a stack of free blocks beside those never used, one doubly linked list of cached
// blocks in eviction order, one singly linked chain per hash bucket.
#include "kv/block_pool.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "splitmix.h"

namespace octavo {

namespace {

std::string broken(const char* what, long long block, long long found, long long expected) {
  return std::string(what) + ": block " + std::to_string(block) + " has " + std::to_string(found) + ", expected " +
         std::to_string(expected);
}

}  // namespace

BlockPool::BlockPool(int total, int bucket_count) : provided(total) {
  const std::size_t n = static_cast<std::size_t>(total);
  blocks.resize(n);
  free.reserve(n);
  buckets.assign(std::bit_ceil(bucket_count > 0 ? static_cast<std::size_t>(bucket_count) : 2 * n), -1);
}

int BlockPool::take() {
  int b;
  if (!free.empty()) {
    b = free.back();
    free.pop_back();
  } else if (fresh < provided) {
    b = fresh++;
  } else {
    b = oldest;
    lru_remove(b);
    unindex(b);
  }
  blocks[b].refs = 1;
  return b;
}

void BlockPool::retain(int b) {
  if (blocks[b].refs++ == 0) lru_remove(b);
}

void BlockPool::drop(int b) {
  if (--blocks[b].refs > 0) return;
  if (blocks[b].id != 0) lru_append(b);
  else free.push_back(b);
}

int BlockPool::find(std::uint64_t parent, const std::int32_t* tokens) const {
  for (int b = buckets[bucket(parent, tokens)]; b >= 0; b = blocks[b].chain) {
    const Block& block = blocks[b];
    if (block.parent == parent && std::memcmp(block.tokens.data(), tokens, sizeof(block.tokens)) == 0) return b;
  }
  return -1;
}

void BlockPool::insert(int b, std::uint64_t parent, int root, const std::int32_t* tokens) {
  Block& block = blocks[b];
  block.id = next_id++;
  block.parent = parent;
  block.root = root;
  if (root >= 0) ++roots[root].refs;
  std::copy(tokens, tokens + kv_tokens, block.tokens.begin());
  std::int32_t& head = buckets[bucket(parent, tokens)];
  block.chain = head;
  head = b;
}

void BlockPool::evict_cached() {
  while (oldest >= 0) {
    const int b = oldest;
    lru_remove(b);
    unindex(b);
    free.push_back(b);
  }
}

int BlockPool::root_open(const std::string& salt) {
  auto [entry, added] = salts.try_emplace(salt, -1);
  if (added) {
    if (free_roots.empty()) {
      free_roots.push_back(static_cast<std::int32_t>(roots.size()));
      roots.emplace_back();
    }
    entry->second = free_roots.back();
    free_roots.pop_back();
    roots[entry->second] = {salt, next_id++, 0};
  }
  ++roots[entry->second].refs;
  return entry->second;
}

void BlockPool::root_close(int slot) {
  Root& root = roots[slot];
  if (--root.refs > 0) return;
  salts.erase(root.salt);
  root = {};
  free_roots.push_back(slot);
}

// The address of the table keys the hash, so that nobody outside can choose tokens that share a bucket.
std::size_t BlockPool::bucket(std::uint64_t parent, const std::int32_t* tokens) const {
  const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(buckets.data()));
  std::uint64_t h = splitmix_finalise(parent + address);
  for (int i = 0; i < kv_tokens; i += 2) {
    std::uint64_t pair;
    std::memcpy(&pair, tokens + i, sizeof(pair));
    h = splitmix_finalise((h ^ pair) + splitmix_step);
  }
  return static_cast<std::size_t>(h) & (buckets.size() - 1);
}

void BlockPool::lru_append(int b) {
  blocks[b].older = newest;
  blocks[b].newer = -1;
  (newest >= 0 ? blocks[newest].newer : oldest) = b;
  newest = b;
  ++cached;
}

void BlockPool::lru_remove(int b) {
  Block& block = blocks[b];
  (block.older >= 0 ? blocks[block.older].newer : oldest) = block.newer;
  (block.newer >= 0 ? blocks[block.newer].older : newest) = block.older;
  block.older = block.newer = -1;
  --cached;
}

void BlockPool::unindex(int b) {
  Block& block = blocks[b];
  std::int32_t* link = &buckets[bucket(block.parent, block.tokens.data())];
  while (*link != b) link = &blocks[*link].chain;
  *link = block.chain;
  block.chain = -1;
  block.id = 0;
  block.parent = 0;
  if (block.root >= 0) root_close(block.root);
  block.root = -1;
}

std::string BlockPool::check(const std::vector<int>& references, const std::vector<int>& root_users) const {
  std::string fault = check_lists(references);
  return fault.empty() ? check_index(root_users) : fault;
}

// Every block is in exactly one place: referenced, on the free stack, or in the eviction order.
std::string BlockPool::check_lists(const std::vector<int>& references) const {
  const int n = total();
  std::vector<char> seen(blocks.size(), 0);
  for (int b = 0; b < n; ++b) {
    if (blocks[b].refs != references[b]) return broken("references and tables", b, blocks[b].refs, references[b]);
    if (blocks[b].refs > 0) seen[b] = 1;
  }
  for (int b : free) {
    if (b < 0 || b >= n) return "free stack holds block " + std::to_string(b) + " of " + std::to_string(n);
    if (seen[b]) return "free block " + std::to_string(b) + " is referenced or listed twice";
    if (blocks[b].id != 0) return "free block " + std::to_string(b) + " is in the index";
    seen[b] = 1;
  }
  if (fresh < 0 || fresh > provided || provided > n) return broken("blocks never used", fresh, provided, n);
  for (int b = fresh; b < n; ++b) {
    if (seen[b] || blocks[b].id != 0) return "block " + std::to_string(b) + " is in use before its turn";
    seen[b] = 1;
  }
  int count = 0, previous = -1;
  for (int b = oldest; b >= 0; previous = b, b = blocks[b].newer) {
    if (b >= n || seen[b]) return "eviction order holds block " + std::to_string(b) + " that has another place";
    if (blocks[b].id == 0) return "cached block " + std::to_string(b) + " is not in the index";
    if (blocks[b].older != previous) return broken("backward link of the eviction order", b, blocks[b].older, previous);
    seen[b] = 1;
    ++count;
  }
  if (newest != previous) return broken("eviction order ends elsewhere", previous, newest, previous);
  if (count != cached) return broken("count of cached blocks", -1, cached, count);
  for (int b = 0; b < n; ++b) {
    if (!seen[b]) return "block " + std::to_string(b) + " is lost: neither free, owned nor cached";
  }
  return {};
}

// Index and blocks agree both ways; every parent is there and leaves after its children; roots are counted.
std::string BlockPool::check_index(const std::vector<int>& root_users) const {
  std::unordered_map<std::uint64_t, int> ids;  // content id -> block; roots as -1 - slot
  std::vector<int> users(root_users);
  users.resize(roots.size(), 0);
  long long indexed = 0, entries = 0;
  std::size_t live_roots = 0;
  for (std::size_t r = 0; r < roots.size(); ++r) {
    if (roots[r].id == 0) continue;
    ++live_roots;
    if (!ids.emplace(roots[r].id, -1 - static_cast<int>(r)).second) return "two roots share an id";
    const auto entry = salts.find(roots[r].salt);
    if (entry == salts.end() || entry->second != static_cast<int>(r)) return "a root is not found by its salt";
  }
  if (live_roots != salts.size() || live_roots + free_roots.size() != roots.size()) return "roots and salts differ";
  for (int b = 0; b < total(); ++b) {
    const Block& block = blocks[b];
    if (block.id == 0) continue;
    ++indexed;
    const std::string name = "block " + std::to_string(b);
    if (block.id >= next_id || block.parent >= block.id) return name + " has an id out of order";
    if (!ids.emplace(block.id, b).second) return name + " shares its content id";
    if (find(block.parent, block.tokens.data()) != b) return name + " is not found by its own key";
    if (block.root >= 0) ++users[block.root];
  }
  for (std::int32_t head : buckets) {
    for (int b = head; b >= 0 && entries <= indexed; b = blocks[b].chain) ++entries;
  }
  if (entries != indexed) return broken("entries of the index", -1, entries, indexed);
  std::vector<int> age(blocks.size(), 0);
  int clock = 0;
  for (int b = oldest; b >= 0; b = blocks[b].newer) age[b] = ++clock;
  for (int b = 0; b < total(); ++b) {
    if (blocks[b].id == 0) continue;
    const auto parent = ids.find(blocks[b].parent);
    if (parent == ids.end()) return "the parent of block " + std::to_string(b) + " is not in the index";
    const bool first = parent->second < 0;
    if (first != (blocks[b].root >= 0) || (first && blocks[b].root != -1 - parent->second)) {
      return "block " + std::to_string(b) + " names another root than its parent's id";
    }
    if (first) continue;
    const Block& before = blocks[parent->second];
    if (before.refs == 0 && (blocks[b].refs > 0 || age[parent->second] < age[b])) {
      return "block " + std::to_string(b) + " would outlive its parent " + std::to_string(parent->second);
    }
  }
  for (std::size_t r = 0; r < roots.size(); ++r) {
    if (roots[r].refs != users[r]) return broken("reference count of a root", -1, roots[r].refs, users[r]);
  }
  return {};
}

}  // namespace octavo

// The blocks of the KV pool: reference counts, the free stack, the prefix index and the order in which cached blocks
// are evicted. The mechanism under KvCache (kv_cache.h), which adds sequences and their tables. Every operation is
// O(1), moves no data and allocates nothing once built (a new salt excepted).
//
// A block in the index is immutable and known by a content id, given out once. Its key is (content id of the block
// before it, its 16 tokens), so an id names the whole prefix and a lookup compares tokens and never trusts a hash.
// Whoever refers to a block refers to all blocks before it, and lets go of the last one first: so a cached block is
// always evicted before the block it continues, and no entry of the index is ever out of reach.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace octavo {

inline constexpr int kv_tokens = 16;  // per block; kv_block_tokens of backend.h

struct Block {
  std::uint64_t id = 0;      // content id; 0 = not in the index
  std::uint64_t parent = 0;  // content id of the block before, or of the root
  std::int32_t root = -1;    // the root's slot when this is the first block of a prefix
  std::int32_t refs = 0;     // tables that hold it
  std::int32_t older = -1, newer = -1;  // neighbours in eviction order while cached
  std::int32_t chain = -1;              // next block in the same bucket
  std::array<std::int32_t, kv_tokens> tokens{};
};

// The empty prefix of one salt. Lives while a sequence or a first block refers to it.
struct Root {
  std::string salt;
  std::uint64_t id = 0;
  int refs = 0;
};

struct BlockPool {
  // buckets: 0 = twice the blocks; fewer only make lookups slower (tests force collisions with 1).
  BlockPool(int total, int buckets);

  int total() const { return static_cast<int>(blocks.size()); }
  int unowned() const { return static_cast<int>(free.size()) + provided - fresh; }
  int available() const { return unowned() + cached; }

  // A block with one reference: the free one given back last, the first that was never used, or else the least recently
  // used cached one. available() > 0 is the caller's duty.
  int take();
  void retain(int block);
  // One reference less; the last one makes an indexed block cached (most recently used), another free.
  void drop(int block);

  // The block with this key, or -1. tokens[kv_tokens]
  int find(std::uint64_t parent, const std::int32_t* tokens) const;
  // Adds a referenced block under a key that the index does not hold. root: slot of the root that `parent` names, or
  // -1.
  void insert(int block, std::uint64_t parent, int root, const std::int32_t* tokens);
  void evict_cached();

  // Slot of a salt's root, with one reference more.
  int root_open(const std::string& salt);
  void root_close(int slot);

  // Empty, or the first broken invariant. references[total]: how many tables hold each block; root_users[slot]:
  // sequences.
  std::string check(const std::vector<int>& references, const std::vector<int>& root_users) const;

  std::vector<Block> blocks;
  std::vector<std::int32_t> free;     // a stack: the block given back last is the warmest
  int fresh = 0;                      // blocks from here on were never used: free, and not on the stack
  int provided;                       // blocks from here on have no memory yet, and are none of the free ones
  std::vector<std::int32_t> buckets;  // first block of each chain; a power of two
  std::vector<Root> roots;
  std::vector<std::int32_t> free_roots;
  std::unordered_map<std::string, int> salts;  // salt -> slot in roots
  int oldest = -1, newest = -1;                // ends of the eviction order
  int cached = 0;
  std::uint64_t next_id = 1;

 private:
  std::size_t bucket(std::uint64_t parent, const std::int32_t* tokens) const;
  void lru_append(int block);
  void lru_remove(int block);
  void unindex(int block);
  std::string check_lists(const std::vector<int>& references) const;
  std::string check_index(const std::vector<int>& root_users) const;
};

}  // namespace octavo

// The PagedAttention block manager (Kwon et al. 2023): which pool block holds which 16 tokens of which sequence. It
// moves no data: copies it wants are queued for the next step. Not thread-safe: one engine thread owns it.
//
// A block is free, owned (referenced by one or more sequences) or cached (referenced by none, found through the
// prefix index, the first to be taken when free blocks run out, least recently used first). free + owned + cached ==
// total at all times.
//
// The prefix index maps (parent block's content id, 16 tokens) to a block. The id names the whole prefix: ids are
// given out once and never again, so a hit compares tokens, not only hashes. The root's id stands for the salt.
// Sequences own no cached blocks: a later request with the same tokens finds them again.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>
#include <memory>

namespace octavo {

struct KvStats {
  int total, free, cached, owned;
};
struct KvCopy {
  int source, destination;
};

// Sees to memory for the blocks [0, n): how many have it now (KvStore::provide).
using KvProvider = std::function<int(int n)>;

class KvCache {
 public:
  // index_buckets: hash buckets, 0 = twice the blocks; results do not depend on it (tests force collisions with 1).
  // provider: without one, all blocks have memory. Blocks are used from 0 on, and one that has been used before rather
  // than a new one.
  explicit KvCache(int total_blocks, bool prefix_index = true, int index_buckets = 0, KvProvider provider = {});
  ~KvCache();

  // A new empty sequence. Sequences with different salts never share blocks.
  int create(const std::string& salt);
  // Attaches the longest indexed prefix of tokens[0, count) in whole blocks, leaving at least one token to compute.
  // The sequence must be empty. Returns the tokens attached (a multiple of 16); they count as computed.
  int match(int sequence, const std::int32_t* tokens, int count);
  // Makes room for `count` tokens after length(sequence): takes blocks, copies a shared last block on write. All or
  // nothing: false (and no change) when there are not enough free and cached blocks. New blocks are asked for before
  // cached ones are taken; while the system has no memory for them they count as owned. Kept until commit, which uses
  // up its part; truncate gives the rest back.
  bool reserve(int sequence, int count);
  // Blocks reserve(sequence, count) would take from free and cached ones.
  int blocks_needed(int sequence, int count) const;
  // Records that the next `count` reserved positions are computed and hold these tokens; blocks that became full
  // enter the index (a block whose content is there already is given back in favour of the indexed one).
  void commit(int sequence, const std::int32_t* tokens, int count);
  // Drops tokens from `length` on and blocks no longer needed. length <= length(sequence).
  void truncate(int sequence, int length);
  // A new sequence with the same tokens, sharing every block; the shared last one is copied by the first reserve that
  // writes to it.
  int fork(int sequence);
  // Gives all its blocks back: indexed ones become cached (the tail first, so that it is evicted first), others free.
  void release(int sequence);
  // Forgets every cached block.
  void clear_index();

  int length(int sequence) const;                         // tokens computed
  int room(int sequence) const;                           // positions after length: reserved and not yet committed
  const std::vector<std::int32_t>& tokens(int sequence) const;  // of the computed positions
  const std::vector<std::int32_t>& table(int sequence) const;   // pool block of each 16 positions
  KvStats stats() const;                                  // O(1)
  // Blocks that these sequences hold, those that several share counted once. O(blocks in their tables).
  int held(const std::int32_t* sequences, int count) const;
  int sequences() const;
  // Copies queued by reserve since the last call, in the order they must be made, all of them (also those whose
  // sequence is gone, also when the step is then discarded), before the step writes anything.
  std::vector<KvCopy> take_copies();
  // Empty, or the first broken invariant in words: counts, reference counts against tables, index against blocks.
  // O(total).
  std::string check() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo

// The keys and values that attention reads first in the next layer, fetched into the caches while the linears before it
// compute: in a step of many tokens they leave the memory idle, and attention waits for it. Each thread fetches what
// its own share of the attention will read, a few cache lines per K group. Addresses only: no result depends on it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/isa/kernels.h"

namespace octavo::cpu {

class KvAhead {
 public:
  using Lines = LinesBeside;

  // Between operations, after a layer's attention: what `threads` threads read in a layer, as offsets from its storage.
  void clear(int threads);
  void add(int thread, std::size_t offset, std::size_t bytes);
  // The storage of the next layer, or null after the last one. first: no layer's linears have run since the step began.
  void begin(const std::uint8_t* layer, bool first);

  // For a thread's next kernel call over `groups` K groups.
  Lines take(int thread, int groups);

 private:
  struct Piece {
    std::size_t offset;
    int lines;
  };
  struct alignas(128) Share {
    std::vector<Piece> pieces;
    std::size_t piece = 0;
    int line = 0;
    std::int64_t lines = 0, groups = 0;  // in all pieces; passed by since begin
  };

  const std::uint8_t* layer_ = nullptr;
  std::int64_t groups_ = 0;  // a thread passes by between two attentions
  int per_group_ = 1;
  std::vector<Share> shares_;
};

}  // namespace octavo::cpu

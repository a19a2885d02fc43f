// How a large pool takes memory into use (kv_store.h): blocks are provided a share at a time, as far ahead of those in
// use as half a share, and their pages touched one layer at a time between the steps. So no step waits for a whole
// share (the first touch of a huge page takes some 0.2 ms, and milliseconds where a virtual machine has to ask its
// host). Steps that are ahead of that touch pages themselves.
#include "cpu/attention/kv_store.h"

#include <algorithm>

namespace octavo::cpu {

namespace {

// A pool up to this size is touched at load: some hundred milliseconds at worst, and then no step pays for it.
constexpr std::size_t small_pool_bytes = std::size_t{256} << 20;

}  // namespace

CpuKvStore::CpuKvStore(const KvShape& shape)
    : KvStore(shape),
      memory_(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks)),
      share_(static_cast<int>(std::max<std::size_t>(1, os::huge_page / block_stride()))) {
  provided_ = memory_.bytes() <= small_pool_bytes ? shape.blocks : std::min(shape.blocks, share_);
  while (touched_ < provided_) touch_piece();
}

std::size_t CpuKvStore::share_bytes(int first, int end) const {
  return block_stride() * static_cast<std::size_t>(end - first) * static_cast<std::size_t>(shape.layers);
}

std::size_t CpuKvStore::touched_bytes() const {
  const int end = std::min(touched_ + share_, shape.blocks);
  return share_bytes(0, touched_) + share_bytes(touched_, end) / static_cast<std::size_t>(shape.layers) *
                                        static_cast<std::size_t>(touched_layers_);
}

int CpuKvStore::provide(int blocks) {
  const int wanted = blocks < shape.blocks - share_ / 2 ? blocks + share_ / 2 : shape.blocks;
  while (provided_ < wanted) {
    const int end = provided_ < shape.blocks - share_ ? provided_ + share_ : shape.blocks;
    // What is provided and not touched yet counts as well.
    if (!os::Reserve::backed(share_bytes(0, end) - touched_bytes())) break;
    provided_ = end;
  }
  return provided_;
}

// Twice what the steps use up: a share is touched when half a share before it is used.
void CpuKvStore::touch_ahead(int tokens) {
  const int blocks = tokens / kv_block_tokens + 1;
  for (int pieces = 2 * blocks * shape.layers / share_ + 1; pieces > 0 && touched_ < provided_; --pieces) touch_piece();
}

void CpuKvStore::touch_piece() {
  const int end = std::min(touched_ + share_, shape.blocks);
  const std::size_t begin = (static_cast<std::size_t>(touched_layers_) * static_cast<std::size_t>(shape.blocks) +
                             static_cast<std::size_t>(touched_)) *
                            block_stride();
  memory_.touch(begin, block_stride() * static_cast<std::size_t>(end - touched_));
  if (++touched_layers_ < shape.layers) return;
  touched_ = end;
  touched_layers_ = 0;
}

}  // namespace octavo::cpu

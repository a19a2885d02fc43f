// How a pool takes memory into use (kv_store.h): blocks are provided a share at a time, as far ahead of those in use as
// half a share, and their pages touched a piece at a time between the steps. So no step waits for a whole share (the
// first touch of a huge page takes some 0.2 ms, and milliseconds where a virtual machine has to ask its host), and a load
// neither waits for memory nor holds it that nobody uses. Steps that are ahead of that touch pages themselves.
#include "cpu/attention/kv_store.h"

#include <algorithm>

namespace octavo::cpu {

namespace {

// Its huge pages are no more than a quarter of those whose addresses a CPU keeps at hand (2048 and more).
constexpr std::size_t small_pool_bytes = std::size_t{1} << 30;

}  // namespace

CpuKvStore::CpuKvStore(const KvShape& shape)
    : KvStore(shape),
      memory_(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks)),
      small_(memory_.bytes() <= small_pool_bytes),
      block_stride_(small_ ? kv_block_bytes(shape) : heads_bytes()),
      layer_stride_(small_ ? heads_bytes() : heads_bytes() * static_cast<std::size_t>(shape.blocks)),
      share_(static_cast<int>(std::max<std::size_t>(1, os::huge_page / block_stride_))),
      share_pieces_(small_ ? 1 : shape.layers) {
  provided_ = std::min(shape.blocks, share_);
  while (touched_ < provided_) touch_piece();
}

std::size_t CpuKvStore::share_bytes(int first, int end) const {
  return kv_block_bytes(shape) * static_cast<std::size_t>(end - first);
}

std::size_t CpuKvStore::touched_bytes() const {
  const int end = std::min(touched_ + share_, shape.blocks);
  return share_bytes(0, touched_) + share_bytes(touched_, end) / static_cast<std::size_t>(share_pieces_) *
                                        static_cast<std::size_t>(touched_pieces_);
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
  for (int pieces = 2 * blocks * share_pieces_ / share_ + 1; pieces > 0 && touched_ < provided_; --pieces) touch_piece();
}

void CpuKvStore::touch_piece() {
  const int end = std::min(touched_ + share_, shape.blocks);
  const std::size_t begin = static_cast<std::size_t>(touched_pieces_) * layer_stride_ +
                            static_cast<std::size_t>(touched_) * block_stride_;
  memory_.touch(begin, block_stride_ * static_cast<std::size_t>(end - touched_));
  if (++touched_pieces_ < share_pieces_) return;
  touched_ = end;
  touched_pieces_ = 0;
}

}  // namespace octavo::cpu

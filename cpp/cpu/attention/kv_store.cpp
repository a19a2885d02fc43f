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

KvLayout::KvLayout(const KvShape& shape)
    : bytes(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks)), small(bytes <= small_pool_bytes) {
  const std::size_t in_layer = kv_block_bytes(shape) / static_cast<std::size_t>(shape.layers);
  block_stride = small ? kv_block_bytes(shape) : in_layer;
  layer_stride = small ? in_layer : in_layer * static_cast<std::size_t>(shape.blocks);
  share = static_cast<int>(std::max<std::size_t>(1, os::huge_page / block_stride));
  share_pieces = small ? 1 : shape.layers;
}

std::size_t kv_bytes_at_load(const KvShape& shape) {
  const KvLayout layout(shape);
  const std::size_t piece = layout.block_stride * static_cast<std::size_t>(std::min(shape.blocks, layout.share));
  std::size_t pages = 0, counted = 0;  // pages before that one are
  for (int i = 0; i < layout.share_pieces; ++i) {
    const std::size_t begin = static_cast<std::size_t>(i) * layout.layer_stride;
    const std::size_t end = (begin + piece + os::huge_page - 1) / os::huge_page;
    pages += end - std::max(counted, begin / os::huge_page);
    counted = end;
  }
  return std::min(pages * os::huge_page, layout.bytes);
}

CpuKvStore::CpuKvStore(const KvShape& shape) : KvStore(shape), layout_(shape), memory_(layout_.bytes) {
  provided_ = std::min(shape.blocks, layout_.share);
  while (touched_ < provided_) touch_piece();
}

std::size_t CpuKvStore::share_bytes(int first, int end) const {
  return kv_block_bytes(shape) * static_cast<std::size_t>(end - first);
}

std::size_t CpuKvStore::touched_bytes() const {
  const int end = std::min(touched_ + layout_.share, shape.blocks);
  return share_bytes(0, touched_) + share_bytes(touched_, end) / static_cast<std::size_t>(layout_.share_pieces) *
                                        static_cast<std::size_t>(touched_pieces_);
}

int CpuKvStore::provide(int blocks) {
  const int wanted = blocks < shape.blocks - layout_.share / 2 ? blocks + layout_.share / 2 : shape.blocks;
  while (provided_ < wanted) {
    const int end = provided_ < shape.blocks - layout_.share ? provided_ + layout_.share : shape.blocks;
    // What is provided and not touched yet counts as well.
    if (!os::Reserve::backed(share_bytes(0, end) - touched_bytes())) break;
    provided_ = end;
  }
  return provided_;
}

// Twice what the steps use up: a share is touched when half a share before it is used.
void CpuKvStore::touch_ahead(int tokens) {
  const int blocks = tokens / kv_block_tokens + 1;
  for (int pieces = 2 * blocks * layout_.share_pieces / layout_.share + 1; pieces > 0 && touched_ < provided_; --pieces)
    touch_piece();
}

void CpuKvStore::touch_piece() {
  const int end = std::min(touched_ + layout_.share, shape.blocks);
  const std::size_t begin = static_cast<std::size_t>(touched_pieces_) * layout_.layer_stride +
                            static_cast<std::size_t>(touched_) * layout_.block_stride;
  memory_.touch(begin, layout_.block_stride * static_cast<std::size_t>(end - touched_));
  if (++touched_pieces_ < layout_.share_pieces) return;
  touched_ = end;
  touched_pieces_ = 0;
}

}  // namespace octavo::cpu

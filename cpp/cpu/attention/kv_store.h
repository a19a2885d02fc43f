// The KV pool on the CPU: [layer][block][kv head][keys][values][key scales][value scales], 16 tokens a block; scales
// (16 bf16 each) exist in the 8-bit types only. Every 64 bytes are one vector's worth that a kernel takes as a whole:
//   f16, bf16  keys [D][16 tokens]: a vector is one dimension of 16 keys; values [16 tokens][D]
//   fp8, int8  keys [D / 4][64]: 4 dimensions of 16 keys; values [token / 4][D / 16][64]: 4 tokens x 16 dimensions.
//              Member v of 4 in lane i of 16 lies at byte 4 i + v (of int8 with its sign bit flipped): a dword is what
//              one step of an integer dot product takes.
// The pool is set aside as a whole and touched as it fills, in shares. Of a large one a share is the blocks that fit into
// one huge page of a layer, of all layers. A small one is [block][layer][kv head].. instead, and a share the blocks that
// fill a huge page with all their layers: its pages are few enough for a CPU to know the addresses of all. Block numbers
// are handed out from 0 on, so what was never used lies at the end (of each layer).
#pragma once
#include "backend.h"
#include "os/os.h"

namespace octavo::cpu {

struct KvLayout {
  explicit KvLayout(const KvShape& shape);
  std::size_t bytes;  // of all
  bool small;
  std::size_t block_stride, layer_stride;  // bytes
  int share;                               // blocks
  int share_pieces;                        // parts of a share that lie together: as many as layers, or one
};

// What a pool takes into use when it is made, in huge pages.
std::size_t kv_bytes_at_load(const KvShape& shape);

class CpuKvStore final : public KvStore {
 public:
  // The first share is touched.
  explicit CpuKvStore(const KvShape& shape);
  int provide(int blocks) override;
  void touch_ahead(int tokens) override;
  std::size_t bytes() const override { return memory_.bytes(); }
  std::size_t touched_bytes() const override;

  // Bytes of a block in one layer: its heads.
  std::size_t heads_bytes() const { return kv_head_bytes(shape) * static_cast<std::size_t>(shape.kv_heads); }
  // Bytes between a head and the same head of the next block.
  std::size_t block_stride() const { return layout_.block_stride; }
  std::uint8_t* block(int layer, int index) const {
    return static_cast<std::uint8_t*>(memory_.data()) + static_cast<std::size_t>(layer) * layout_.layer_stride +
           static_cast<std::size_t>(index) * layout_.block_stride;
  }
  std::uint8_t* head(int layer, int index, int head) const { return block(layer, index) + kv_head_bytes(shape) * head; }

 private:
  std::size_t share_bytes(int first, int end) const;  // of the blocks [first, end)
  void touch_piece();

  const KvLayout layout_;
  os::Reserve memory_;
  int provided_ = 0;        // blocks
  int touched_ = 0;         // blocks touched in every layer; and beyond these
  int touched_pieces_ = 0;  // so many pieces of the next share
};

}  // namespace octavo::cpu

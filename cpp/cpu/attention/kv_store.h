// The KV pool on the CPU: [layer][block][kv head][keys][values][key scales][value scales], 16 tokens a block; scales
// (16 bf16 each) exist in the 8-bit types only. Every 64 bytes are one vector's worth that a kernel takes as a whole:
//   f16, bf16  keys [D][16 tokens]: a vector is one dimension of 16 keys; values [16 tokens][D]
//   fp8, int8  keys [D / 4][64]: 4 dimensions of 16 keys; values [token / 4][D / 16][64]: 4 tokens x 16 dimensions.
//              Member v of 4 in lane i of 16 lies at byte 4 i + v (of int8 with its sign bit flipped): a dword is what
//              one step of an integer dot product takes.
// A large pool is set aside as a whole and touched as it fills, in shares: the blocks that fit into one huge page of a
// layer, of all layers. Block numbers are handed out from 0 on, so what was never used lies at the end of each layer.
#pragma once
#include "backend.h"
#include "os/os.h"

namespace octavo::cpu {

class CpuKvStore final : public KvStore {
 public:
  // The first share is touched, of a small pool all.
  explicit CpuKvStore(const KvShape& shape);
  int provide(int blocks) override;
  void touch_ahead(int tokens) override;
  std::size_t bytes() const override { return memory_.bytes(); }
  std::size_t touched_bytes() const override;

  // Bytes between a head and the same head of the next block.
  std::size_t block_stride() const { return kv_head_bytes(shape) * shape.kv_heads; }
  std::uint8_t* block(int layer, int index) const {
    return static_cast<std::uint8_t*>(memory_.data()) +
           (static_cast<std::size_t>(layer) * shape.blocks + index) * block_stride();
  }
  std::uint8_t* head(int layer, int index, int head) const { return block(layer, index) + kv_head_bytes(shape) * head; }

 private:
  std::size_t share_bytes(int first, int end) const;  // of the blocks [first, end)
  void touch_piece();

  os::Reserve memory_;
  const int share_;       // blocks
  int provided_ = 0;      // blocks
  int touched_ = 0;       // blocks touched in every layer; and beyond these
  int touched_layers_ = 0;  // the next share in so many layers
};

}  // namespace octavo::cpu

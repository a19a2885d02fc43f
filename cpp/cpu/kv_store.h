// The KV pool on the CPU: [layer][block][kv head][keys][values][key scales][value scales], 16 tokens a block; scales
// (16 bf16 each) exist in the 8-bit types only. Every 64 bytes are one vector's worth that a kernel takes as a whole:
//   f16, bf16  keys [D][16 tokens]: a vector is one dimension of 16 keys; values [16 tokens][D]
//   fp8, int8  keys [D / 4][64]: 4 dimensions of 16 keys; values [token / 4][D / 16][64]: 4 tokens x 16 dimensions.
//              Member v of 4 in lane i of 16 lies at byte 4 i + v (of int8 with its sign bit flipped): a dword is what
//              one step of an integer dot product takes.
#pragma once
#include "backend.h"
#include "os.h"

namespace octavo::cpu {

class CpuKvStore final : public KvStore {
 public:
  explicit CpuKvStore(const KvShape& shape)
      : KvStore(shape), memory_(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks)) {}
  std::size_t resident_bytes() const override { return memory_.bytes(); }

  // Bytes between a head and the same head of the next block.
  std::size_t block_stride() const { return kv_head_bytes(shape) * shape.kv_heads; }
  std::uint8_t* block(int layer, int index) const {
    return static_cast<std::uint8_t*>(memory_.data()) +
           (static_cast<std::size_t>(layer) * shape.blocks + index) * block_stride();
  }
  std::uint8_t* head(int layer, int index, int head) const { return block(layer, index) + kv_head_bytes(shape) * head; }

 private:
  os::Memory memory_;
};

}  // namespace octavo::cpu

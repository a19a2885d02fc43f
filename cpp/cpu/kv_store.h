// The KV pool on the CPU: [layer][block][kv head][K: D x 16 tokens][V: 16 tokens x D] in f16.
#pragma once
#include "backend.h"
#include "os.h"

namespace octavo::cpu {

class CpuKvStore final : public KvStore {
 public:
  explicit CpuKvStore(const KvShape& shape)
      : KvStore(shape), memory_(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks)) {}
  std::size_t resident_bytes() const override { return memory_.bytes(); }

  // f16 values between a head and the same head of the next block.
  std::size_t block_stride() const { return kv_head_bytes(shape) / 2 * shape.kv_heads; }
  std::uint16_t* block(int layer, int index) const {
    return static_cast<std::uint16_t*>(memory_.data()) +
           (static_cast<std::size_t>(layer) * shape.blocks + index) * block_stride();
  }
  std::uint16_t* head(int layer, int index, int head) const {
    return block(layer, index) + kv_head_bytes(shape) / 2 * head;
  }

 private:
  os::Memory memory_;
};

}  // namespace octavo::cpu

// The KV cache on a device: one allocation, [layer][block][kv head][bytes of a head], the sizes of the CPU's with the
// places inside a head as cuda/kernels/attention/kv_layout.h has them.
#pragma once
#include "backend.h"
#include "cuda/memory/device.h"

namespace octavo::cuda {

class CudaKv final : public KvStore {
 public:
  CudaKv(Device& device, const KvShape& shape);
  std::size_t bytes() const override { return codes_.bytes(); }
  std::uint8_t* begin() const { return codes_.get(); }
  long long block_bytes() const { return static_cast<long long>(kv_head_bytes(shape)) * shape.kv_heads; }
  long long layer_bytes() const { return block_bytes() * shape.blocks; }
  std::uint8_t* layer(int index) const { return codes_.get() + index * layer_bytes(); }

 private:
  Buffer<std::uint8_t> codes_;
};

}  // namespace octavo::cuda

// See cuda_kv.h.
#include "cuda/memory/cuda_kv.h"

namespace octavo::cuda {

CudaKv::CudaKv(Device& device, const KvShape& shape)
    : KvStore(shape), codes_(device, kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks), OCTAVO_CUDA_KV) {
  codes_.zero();
}

}  // namespace octavo::cuda

// What a model takes of a CUDA device, by purpose, before anything is allocated and on machines without one: arithmetic
// on sizes. What is made later takes exactly this (weights, cache) or at most this (buffers).
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

#include "model/model.h"

namespace octavo {

namespace cuda {
struct ModelShape;
}

struct DeviceNeeds {
  std::size_t weights;
  std::size_t kv_block;                                      // keys and values of a block of tokens in all layers
  std::vector<std::pair<const char*, std::size_t>> buffers;  // of steps, by purpose (cuda/step_memory.h)
  std::size_t buffer_bytes;                                  // their sum
  std::size_t pinned;                                        // of the host's memory
};

cuda::ModelShape device_shape(const ModelDesc& desc);

// Throws model_unsupported for what no kernel computes.
DeviceNeeds device_needs(const ModelDesc& desc, KvDtype dtype, int max_step_tokens, int kv_blocks);

}  // namespace octavo

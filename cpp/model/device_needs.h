// What a model takes of a CUDA device, by purpose, before anything is allocated and on machines without one: arithmetic
// on sizes. What is made later takes exactly this (weights, cache) or at most this (steps).
#pragma once
#include <cstddef>

#include "cuda/step_memory.h"
#include "model/model.h"

namespace octavo {

struct DeviceNeeds {
  std::size_t weights;
  std::size_t kv_block;  // keys and values of a block of tokens in all layers
  cuda::StepMemory steps;
};

cuda::ModelShape device_shape(const ModelDesc& desc);

// Throws model_unsupported for what no kernel computes.
DeviceNeeds device_needs(const ModelDesc& desc, KvDtype dtype, const cuda::StepLimits& limits);

}  // namespace octavo

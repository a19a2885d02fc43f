// The Backend (cpp/backend.h) of a CUDA device. Engines give it whole steps (device_steps.h); an operation that is asked
// for by itself uploads what it is given, carries out its launches (cuda/ops) and downloads what comes out. Weights and
// the KV cache stay on the device. Bits are those of docs/numerics.md.
#pragma once
#include <memory>

#include "backend.h"

namespace octavo {

// device: its number among all that the driver shows. Throws device_unavailable, out_of_memory, engine_failed.
std::unique_ptr<Backend> make_cuda_backend(int device);

// Whether a step is one piece of work for the device, not one an operation: with less, a GPU is slower than the CPU, and
// device: 'auto' does not take it.
inline constexpr bool cuda_runs_whole_steps = true;

}  // namespace octavo

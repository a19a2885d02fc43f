// The Backend (cpp/backend.h) of a CUDA device: each operation uploads what it is given, carries out its launches
// (cuda/ops) and downloads what comes out. Weights and the KV cache stay on the device. Bits are those of
// docs/numerics.md.
#pragma once
#include <memory>

#include "backend.h"

namespace octavo {

// device: its number among all that the driver shows. keeps_rows: embed may be asked of any weight, not only of those
// of which keep_rows() was told. Throws device_unavailable, out_of_memory, engine_failed.
std::unique_ptr<Backend> make_cuda_backend(int device, bool keeps_rows = false);

}  // namespace octavo

// A device proves itself: small cases of the operations that a model consists of, computed by it and by
// cpp/cpu/reference, must have the same bits. Once for a process, a device and what kernels differ by; a check that was
// passed is not made again.
#pragma once
#include "backend.h"
#include "device_steps.h"

namespace octavo::cuda {

// `backend` computes on device `index`. Throws device_unavailable naming the first number that is another one.
// OCTAVO_CUDA_SELF_CHECK=off: does nothing.
void self_check(Backend& backend, int index, const ModelUse& use);

}  // namespace octavo::cuda

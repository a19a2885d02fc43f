// The tests of operations (cuda/tests) run on the device as they are.
#include "ops_backend.h"

#include "cuda/cuda_backend.h"

namespace octavo::testing {

std::unique_ptr<Backend> make_ops_backend(int) { return make_cuda_backend(0); }

}  // namespace octavo::testing

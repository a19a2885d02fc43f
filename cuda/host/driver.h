// NVIDIA's driver, libcuda.so.1, opened when it is first asked for: a machine without it is a normal answer. Functions
// are looked up once. No other library of CUDA's is used.
#pragma once
#include <string>

#include "cuda_api.h"

namespace octavo::cuda {

// What went wrong, as the C table gives it back. Thrown inside the plugin only.
struct Failure {
  int code;
  std::string text;
};

struct Driver {
#define OCTAVO_DECLARE(name, parameters) CUresult(*name) parameters = nullptr;
  OCTAVO_DRIVER_FUNCTIONS(OCTAVO_DECLARE)
#undef OCTAVO_DECLARE
  int version = 0;
};

// Throws Failure (OCTAVO_CUDA_NO_DRIVER) where there is no driver, or one older than the kernels were compiled for.
const Driver& driver();
// Before anything is asked of it but its version. False: it has no device. Throws as above, or what the driver says.
bool initialise();

// Throws Failure with the function's name, and the error's, unless `result` is CUDA_SUCCESS.
void check(CUresult result, const char* function);
std::string describe(CUresult result);

}  // namespace octavo::cuda

// driver().cuX(...), checked.
#define OCTAVO_CU(function, ...) ::octavo::cuda::check(::octavo::cuda::driver().function(__VA_ARGS__), #function)

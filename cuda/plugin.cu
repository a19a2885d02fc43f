// The CUDA plugin: what cuda/plugin.h promises, on the statically linked CUDA runtime. Holds device discovery; kernels and
// the CUDA implementation of cpp/backend.h join it here. Nothing throws across the border.
#include "plugin.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

namespace {

int32_t fail(cudaError_t error, octavo_cuda_message* message) {
  std::snprintf(message->text, sizeof message->text, "%s: %s", cudaGetErrorName(error), cudaGetErrorString(error));
  cudaGetLastError();  // reported once: the runtime would hand it to the next call again
  return static_cast<int32_t>(error);
}

int32_t device_count(int32_t* count, octavo_cuda_message* message) {
  *count = 0;
  int found = 0;
  const cudaError_t error = cudaGetDeviceCount(&found);
  if (error == cudaErrorNoDevice) return 0;
  if (error != cudaSuccess) return fail(error, message);
  *count = found;
  return 0;
}

int32_t device_info(int32_t index, octavo_cuda_device* out, octavo_cuda_message* message) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) return fail(error, message);
  std::memset(out, 0, sizeof *out);
  std::snprintf(out->name, sizeof out->name, "%s", properties.name);
  out->compute_major = properties.major;
  out->compute_minor = properties.minor;
  out->multiprocessors = properties.multiProcessorCount;
  out->memory_bytes = properties.totalGlobalMem;
  return 0;
}

constexpr octavo_cuda_api api = {OCTAVO_CUDA_ABI_VERSION, sizeof(octavo_cuda_api), device_count, device_info};

}  // namespace

extern "C" __attribute__((visibility("default"))) const octavo_cuda_api* octavo_cuda_plugin(void) { return &api; }

// See device.h.
#include "device.h"

#include <algorithm>
#include <cstring>

#include "images.h"

namespace octavo::cuda {

namespace {

int attribute(CUdevice device, int which) {
  int value = 0;
  OCTAVO_CU(cuDeviceGetAttribute, &value, which, device);
  return value;
}
int capability(int index) {
  CUdevice device;
  OCTAVO_CU(cuDeviceGet, &device, index);
  return 10 * attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
         attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

// Pieces that memory is taken in at least: all weights of a model are one, its KV cache another.
constexpr std::uint64_t weights_piece = 1 << 20, kv_piece = 1 << 20, scratch_piece = 8 << 20;
constexpr std::uint64_t default_staging = 8 << 20;

}  // namespace

void describe_device(int index, octavo_cuda_device& out) {
  CUdevice device;
  OCTAVO_CU(cuDeviceGet, &device, index);
  std::memset(&out, 0, sizeof out);
  OCTAVO_CU(cuDeviceGetName, out.name, static_cast<int>(sizeof out.name), device);
  out.compute_major = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  out.compute_minor = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  out.multiprocessors = attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  out.driver_version = driver().version;
  std::size_t bytes = 0;
  OCTAVO_CU(cuDeviceTotalMem_v2, &bytes, device);
  out.memory_bytes = bytes;
}

Context::Context(int index) {
  OCTAVO_CU(cuDeviceGet, &device_, index);
  OCTAVO_CU(cuDevicePrimaryCtxRetain, &context_, device_);
  if (const CUresult result = driver().cuCtxSetCurrent(context_)) {
    driver().cuDevicePrimaryCtxRelease_v2(device_);
    check(result, "cuCtxSetCurrent");
  }
}
Context::~Context() { driver().cuDevicePrimaryCtxRelease_v2(device_); }

Kernels::Kernels() {
  try {
    for (int k = 0; k < image_count; ++k) {
      CUmodule module = nullptr;
      const CUresult result = driver().cuModuleLoadData(&module, images[k].bytes);
      if (result) throw Failure{result, std::string("kernels of ") + images[k].file + ": " + describe(result)};
      modules_.push_back(module);
    }
  } catch (...) {
    unload();
    throw;
  }
}
Kernels::~Kernels() { unload(); }
void Kernels::unload() noexcept {
  for (const CUmodule module : modules_) driver().cuModuleUnload(module);
}

Kernels::Kernel& Kernels::find(const std::string& name) {
  const auto found = kernels_.find(name);
  if (found != kernels_.end()) return found->second;
  Kernel kernel;
  for (const CUmodule module : modules_) {
    const CUresult result = driver().cuModuleGetFunction(&kernel.function, module, name.c_str());
    if (result == CUDA_ERROR_NOT_FOUND) continue;
    if (result) throw Failure{result, "kernel " + name + ": " + describe(result)};
    int bytes = 0;
    OCTAVO_CU(cuFuncGetAttribute, &bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel.function);
    kernel.static_shared = static_cast<unsigned>(bytes);
    kernel.dynamic_shared -= std::min(kernel.dynamic_shared, kernel.static_shared);
    break;
  }
  return kernels_.emplace(name, kernel).first->second;
}

Device::Device(int index, const octavo_cuda_options& options)
    : limits_(limits_of(capability(index))),
      context_(index),
      arenas_{Arena(weights_piece), Arena(kv_piece), Arena(scratch_piece, true)},
      staging_(options.staging_bytes ? options.staging_bytes : default_staging, stream_),
      steps_(stream_) {}

// The members go in the reverse order, behind what is still under way. A lost device has been reported by the call that
// met it.
Device::~Device() { driver().cuStreamSynchronize(stream_); }

std::unique_lock<std::mutex> Device::enter() {
  std::unique_lock turn(lock_);
  context_.make_current();
  return turn;
}

CUdeviceptr Device::allocate(int kind, std::uint64_t bytes) { return arenas_[kind].allocate(bytes); }
void Device::release(CUdeviceptr address) {
  for (Arena& arena : arenas_) {
    if (arena.release(address)) return;
  }
}

void Device::fill(CUdeviceptr to, unsigned char value, std::uint64_t bytes) {
  OCTAVO_CU(cuMemsetD8Async, to, value, bytes, stream_);
}

bool Device::has_kernel(const std::string& name) { return kernels_.find(name).function != nullptr; }

// Nothing of launches that cannot all be made is given to the device.
void Device::prepare(const Launch* launches, std::size_t count) {
  for (std::size_t k = 0; k < count; ++k) {
    const Launch& launch = launches[k];
    Kernels::Kernel& kernel = kernels_.find(launch.kernel);
    if (!kernel.function) throw Failure{OCTAVO_CUDA_BAD_LAUNCH, "there is no kernel " + std::string(launch.kernel)};
    const std::string broken = broken_limit(launch, limits_, kernel.static_shared);
    if (!broken.empty()) throw Failure{OCTAVO_CUDA_BAD_LAUNCH, broken};
    if (launch.shared <= kernel.dynamic_shared) continue;
    OCTAVO_CU(cuFuncSetAttribute, kernel.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
              static_cast<int>(launch.shared));
    kernel.dynamic_shared = launch.shared;
  }
}

void Device::run(const Launch* launches, std::size_t count) {
  prepare(launches, count);
  for (std::size_t k = 0; k < count; ++k) start(launches[k]);
}

CUgraphExec Device::capture(const Launch* launches, std::size_t count) {
  prepare(launches, count);
  return steps_.capture([&] {
    for (std::size_t k = 0; k < count; ++k) start(launches[k]);
  });
}

void Device::start(const Launch& launch) {
  const Kernels::Kernel& kernel = kernels_.find(launch.kernel);
  void* params[] = {const_cast<unsigned char*>(launch.params)};
  const CUresult result =
      driver().cuLaunchKernel(kernel.function, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0],
                              launch.block[1], launch.block[2], launch.shared, stream_, params, nullptr);
  if (result) throw Failure{result, std::string(launch.kernel) + ": " + describe(result)};
}

void Device::wait() { OCTAVO_CU(cuStreamSynchronize, stream_); }

octavo_cuda_memory Device::memory() const {
  octavo_cuda_memory out = {};
  std::size_t free = 0, total = 0;
  OCTAVO_CU(cuMemGetInfo_v2, &free, &total);
  out.free_bytes = free, out.total_bytes = total;
  for (int k = 0; k < 3; ++k) out.used_bytes[k] = arenas_[k].used_bytes();
  out.staging_bytes = staging_.bytes();
  return out;
}

}  // namespace octavo::cuda

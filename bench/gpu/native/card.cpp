// See card.h.
#include "card.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>

#include "report.h"

namespace octavo::bench {

namespace {
constexpr std::size_t pinned_bytes = std::size_t{8} << 20;

std::vector<char> file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(path + " is missing: it belongs beside the program");
  return {std::istreambuf_iterator<char>(in), {}};
}
}  // namespace

Card::Card(int index) {
  if (!cuda::initialise()) fail("the driver shows no device");
  OCTAVO_CU(cuDeviceGet, &device_, index);
  OCTAVO_CU(cuDevicePrimaryCtxRetain, &context_, device_);
  OCTAVO_CU(cuCtxSetCurrent, context_);
  const std::vector<char> image = file(program_folder() + "/probe.fatbin");
  OCTAVO_CU(cuModuleLoadData, &module_, image.data());
  OCTAVO_CU(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
  OCTAVO_CU(cuMemHostAlloc, &pinned_, pinned_bytes, CU_MEMHOSTALLOC_PORTABLE);
}
Card::~Card() {
  const cuda::Driver& d = cuda::driver();
  d.cuStreamSynchronize(stream_);
  for (const CUdeviceptr address : allocations_) d.cuMemFree_v2(address);
  d.cuMemFreeHost(pinned_);
  d.cuStreamDestroy_v2(stream_);
  d.cuModuleUnload(module_);
  d.cuDevicePrimaryCtxRelease_v2(device_);
}

std::string Card::name() const {
  char text[256] = {};
  OCTAVO_CU(cuDeviceGetName, text, static_cast<int>(sizeof text), device_);
  return text;
}
int Card::attribute(int which) const {
  int value = 0;
  OCTAVO_CU(cuDeviceGetAttribute, &value, which, device_);
  return value;
}
int Card::capability() const {
  return 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
         attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}
CUdeviceptr Card::allocate(std::size_t bytes) {
  CUdeviceptr address = 0;
  OCTAVO_CU(cuMemAlloc_v2, &address, bytes);
  allocations_.push_back(address);
  return address;
}
void Card::upload(CUdeviceptr to, const void* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += pinned_bytes) {
    const std::size_t piece = std::min(pinned_bytes, bytes - at);
    std::memcpy(pinned_, static_cast<const char*>(from) + at, piece);
    OCTAVO_CU(cuMemcpyHtoDAsync_v2, to + at, pinned_, piece, stream_);
    wait();
  }
}
void Card::download(void* to, CUdeviceptr from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += pinned_bytes) {
    const std::size_t piece = std::min(pinned_bytes, bytes - at);
    OCTAVO_CU(cuMemcpyDtoHAsync_v2, pinned_, from + at, piece, stream_);
    wait();
    std::memcpy(static_cast<char*>(to) + at, pinned_, piece);
  }
}
void Card::run(const cuda::Launch& launch) {
  CUfunction function = nullptr;
  OCTAVO_CU(cuModuleGetFunction, &function, module_, launch.kernel);
  void* params[] = {const_cast<unsigned char*>(launch.params)};
  OCTAVO_CU(cuLaunchKernel, function, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0], launch.block[1],
            launch.block[2], launch.shared, stream_, params, nullptr);
}
void Card::wait() { OCTAVO_CU(cuStreamSynchronize, stream_); }

template <class Enqueue>
double Card::graph_seconds(Enqueue enqueue, int times) {
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  OCTAVO_CU(cuStreamBeginCapture_v2, stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  for (int k = 0; k < times; ++k) enqueue();
  OCTAVO_CU(cuStreamEndCapture, stream_, &graph);
  OCTAVO_CU(cuGraphInstantiateWithFlags, &exec, graph, 0ull);
  OCTAVO_CU(cuGraphDestroy, graph);
  const double median = median_seconds([&] {
    OCTAVO_CU(cuGraphLaunch, exec, stream_);
    wait();
  });
  OCTAVO_CU(cuGraphExecDestroy, exec);
  return median / times;
}
double Card::seconds(const cuda::Launch& launch, int times) {
  run(launch);
  wait();
  return graph_seconds([&] { run(launch); }, times);
}
double Card::copy_seconds(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, int times) {
  return graph_seconds([&] { OCTAVO_CU(cuMemcpyDtoDAsync_v2, to, from, bytes, stream_); }, times);
}

}  // namespace octavo::bench

// Memory of the device and of the host, and copies between them.
#include <algorithm>
#include <cstring>

#include "state.h"

using namespace octavo::fake;

OCTAVO_ENTRY cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  const Call call("cuMemGetInfo");
  if (call.failed()) return call.error();
  *total = call.device().memory_bytes;
  *free = *total - std::min<std::uint64_t>(*total, call.device().memory.bytes());
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
  const Call call("cuMemAlloc");
  CUresult error;
  if (call.failed()) return call.error();
  if (call.illegal_in_capture(&error)) return error;
  if (bytes == 0) return call.broken("0 bytes");
  Device& d = call.device();
  if (bytes > d.memory_bytes - std::min<std::uint64_t>(d.memory_bytes, d.memory.bytes()))
    return CUDA_ERROR_OUT_OF_MEMORY;
  *address = d.memory.allocate(bytes);
  d.allocations.insert(*address);
  ++state().report.allocations;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuMemFree_v2(CUdeviceptr address) {
  const Call call("cuMemFree", Call::gives_back);
  CUresult error;
  if (call.illegal_in_capture(&error)) return error;
  Device* d = state().of_address(address);
  if (!d || !d->allocations.count(address)) return call.broken("this is no allocation, or one that was freed");
  // The driver waits for work that may use it.
  if (!state().sticky) state().drain_all(current()->device);
  d->allocations.erase(address);
  d->memory.release(address);
  return call.error();
}
OCTAVO_ENTRY cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  const Call call("cuMemHostAlloc");
  CUresult error;
  if (call.failed()) return call.error();
  if (call.illegal_in_capture(&error)) return error;
  if (bytes == 0) return call.broken("0 bytes");
  HostBlock block{std::unique_ptr<std::uint8_t[]>(new std::uint8_t[bytes]), bytes};
  std::memset(block.storage.get(), 0xA5, std::min<std::size_t>(bytes, 1 << 20));
  *address = block.storage.get();
  ++state().report.allocations;
  state().host.emplace(reinterpret_cast<std::uintptr_t>(*address), std::move(block));
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuMemFreeHost(void* address) {
  const Call call("cuMemFreeHost", Call::gives_back);
  const auto found = state().host.find(reinterpret_cast<std::uintptr_t>(address));
  if (found == state().host.end()) return call.broken("this was not allocated with cuMemHostAlloc");
  const std::uint8_t *const begin = found->second.storage.get(), *const end = begin + found->second.bytes;
  for (const CUstream stream : state().streams) {
    for (const Work& work : stream->queue) {
      const auto* const at = static_cast<const std::uint8_t*>(work.host);
      if (at >= begin && at < end && !state().sticky) return call.broken("freed while a copy of it is under way");
    }
  }
  state().host.erase(found);
  return call.error();
}

namespace {
// Checked when the call is made and again when the copy is done: memory may be gone by then.
CUresult copy(const Call& call, CUstream stream, CUdeviceptr device_side, void* host_side, std::size_t bytes,
              bool to_device) {
  Device& d = call.device();
  if (bytes == 0) return CUDA_SUCCESS;
  if (!state().is_pinned(host_side, bytes)) return call.broken("an asynchronous copy of pageable memory");
  if (!d.memory.find(device_side, bytes))
    return call.broken("outside of device memory: " + d.memory.describe(device_side));
  Work work{[&d, device_side, host_side, bytes, to_device] {
    if (!state().is_pinned(host_side, bytes))
      return state().broken(CUDA_ERROR_ILLEGAL_ADDRESS, "a copy's host memory was freed before the copy was done");
    std::uint8_t* at = d.memory.host(device_side, bytes);
    if (!at)
      return state().broken(CUDA_ERROR_ILLEGAL_ADDRESS, "a copy's device memory was freed before the copy was done");
    std::memcpy(to_device ? at : host_side, to_device ? host_side : at, bytes);
    return CUresult(CUDA_SUCCESS);
  }};
  work.host = host_side;
  return call.enqueue(stream, std::move(work));
}
}  // namespace

OCTAVO_ENTRY cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyHtoDAsync");
  return call.failed() ? call.error() : copy(call, stream, to, const_cast<void*>(from), bytes, true);
}
OCTAVO_ENTRY cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyDtoHAsync");
  return call.failed() ? call.error() : copy(call, stream, from, to, bytes, false);
}
OCTAVO_ENTRY cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call("cuMemcpyDtoDAsync");
  if (call.failed()) return call.error();
  Device& d = call.device();
  if (!d.memory.find(to, bytes) || !d.memory.find(from, bytes)) return call.broken("outside of device memory");
  if (from < to + bytes && to < from + bytes) return call.broken("source and destination overlap");
  return call.enqueue(stream, {[&d, to, from, bytes] {
                        std::uint8_t *out = d.memory.host(to, bytes), *in = d.memory.host(from, bytes);
                        if (!out || !in)
                          return state().broken(CUDA_ERROR_ILLEGAL_ADDRESS,
                                                "a copy's memory was freed before the copy was done");
                        std::memcpy(out, in, bytes);
                        return CUresult(CUDA_SUCCESS);
                      }});
}
OCTAVO_ENTRY cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream) {
  const Call call("cuMemsetD8Async");
  if (call.failed()) return call.error();
  Device& d = call.device();
  if (!d.memory.find(to, bytes)) return call.broken("outside of device memory: " + d.memory.describe(to));
  return call.enqueue(stream, {[&d, to, value, bytes] {
                        std::uint8_t* out = d.memory.host(to, bytes);
                        if (!out)
                          return state().broken(CUDA_ERROR_ILLEGAL_ADDRESS, "memory was freed before it was set");
                        std::memset(out, value, bytes);
                        return CUresult(CUDA_SUCCESS);
                      }});
}

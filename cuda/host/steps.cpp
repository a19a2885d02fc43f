// See steps.h.
#include "steps.h"

namespace octavo::cuda {

Steps::~Steps() {
  for (const CUgraphExec graph : graphs_) driver().cuGraphExecDestroy(graph);
  for (const CUevent event : events_) driver().cuEventDestroy_v2(event);
  for (void* const memory : pinned_) driver().cuMemFreeHost(memory);
}

void* Steps::pin(std::uint64_t bytes) {
  void* memory = nullptr;
  const CUresult result = driver().cuMemHostAlloc(&memory, bytes, CU_MEMHOSTALLOC_PORTABLE);
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    throw Failure{result, "the system has no " + std::to_string(bytes) + " bytes of memory to pin"};
  check(result, "cuMemHostAlloc");
  pinned_.insert(memory);
  return memory;
}
void Steps::unpin(void* memory) {
  if (pinned_.erase(memory) > 0) driver().cuMemFreeHost(memory);
}

void Steps::copy_in(CUdeviceptr to, const void* pinned, std::uint64_t bytes) {
  if (bytes > 0) OCTAVO_CU(cuMemcpyHtoDAsync_v2, to, pinned, bytes, stream_);
}
void Steps::copy_out(void* pinned, CUdeviceptr from, std::uint64_t bytes) {
  if (bytes > 0) OCTAVO_CU(cuMemcpyDtoHAsync_v2, pinned, from, bytes, stream_);
}

CUevent Steps::make_event() {
  CUevent event = nullptr;
  OCTAVO_CU(cuEventCreate, &event, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC);
  events_.insert(event);
  return event;
}
void Steps::release(CUevent event) {
  if (events_.erase(event) > 0) driver().cuEventDestroy_v2(event);
}

// Calls of other threads that a capture would forbid are theirs alone to make: the mode is this thread's. A capture
// ends whatever happens in it, or the stream would be lost.
CUgraphExec Steps::capture(const std::function<void()>& launch) {
  OCTAVO_CU(cuStreamBeginCapture_v2, stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  CUgraph graph = nullptr;
  try {
    launch();
  } catch (...) {
    if (driver().cuStreamEndCapture(stream_, &graph) == CUDA_SUCCESS && graph) driver().cuGraphDestroy(graph);
    throw;
  }
  OCTAVO_CU(cuStreamEndCapture, stream_, &graph);
  CUgraphExec made = nullptr;
  const CUresult result = driver().cuGraphInstantiateWithFlags(&made, graph, 0);
  driver().cuGraphDestroy(graph);
  check(result, "cuGraphInstantiate");
  graphs_.insert(made);
  return made;
}
void Steps::release(CUgraphExec graph) {
  if (graphs_.erase(graph) > 0) driver().cuGraphExecDestroy(graph);
}

}  // namespace octavo::cuda

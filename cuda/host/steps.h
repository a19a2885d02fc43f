// What steps are given to the device with: pinned memory, events, and graphs, which are launches taken down once. All
// on one stream; whatever is left is given back with it.
#pragma once
#include <functional>
#include <set>

#include "driver.h"

namespace octavo::cuda {

class Steps {
 public:
  explicit Steps(CUstream stream) : stream_(stream) {}
  ~Steps();
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  void* pin(std::uint64_t bytes);
  void unpin(void* memory);
  void copy_in(CUdeviceptr to, const void* pinned, std::uint64_t bytes);
  void copy_out(void* pinned, CUdeviceptr from, std::uint64_t bytes);

  CUevent make_event();
  void record(CUevent event) { OCTAVO_CU(cuEventRecord, event, stream_); }
  void release(CUevent event);

  // `launch` gives the stream what the graph is to hold, nothing else.
  CUgraphExec capture(const std::function<void()>& launch);
  void run(CUgraphExec graph) { OCTAVO_CU(cuGraphLaunch, graph, stream_); }
  void release(CUgraphExec graph);

 private:
  const CUstream stream_;
  std::set<void*> pinned_;
  std::set<CUevent> events_;
  std::set<CUgraphExec> graphs_;
};

}  // namespace octavo::cuda

// Launches of octavo's kernels as a CUDA graph, and how long one operation of it takes.
#pragma once
#include "cuda/memory/device.h"
#include "report.h"

namespace octavo::bench {

// Runs the graph as often as median_seconds says; what it writes is there afterwards. `operations` of one kind are in it.
inline double seconds_in_graph(cuda::Device& device, const cuda::Launches& launches, int operations) {
  const cuda::Owned<octavo_cuda_graph> graph(device, device.make_graph(launches));
  const double all = median_seconds([&] {
    device.run(graph.get());
    device.wait();
  });
  return all / operations;
}

}  // namespace octavo::bench

// Runs a kernel: blocks one after the other, the warps of a block in turns from one barrier to the next.
#pragma once
#include "memory.h"
#include "program.h"
#include "warp.h"

namespace octavo::ptx {

struct LaunchShape {
  unsigned grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  unsigned dynamic_shared = 0;
  // Warps of a block take turns in an order drawn from this; 0: ascending.
  std::uint64_t seed = 0;
};

// params: f.param_bytes bytes, laid out as f.params says. Throws PtxError.
LaunchStats launch(const Function& f, Memory& memory, const LaunchShape& shape, const void* params);

}  // namespace octavo::ptx

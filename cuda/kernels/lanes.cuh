// Sums over the specification's 16 virtual lanes (docs/numerics.md, "Sums over 16 virtual lanes"), a lane a thread: a
// half of a warp holds one sum, so a warp works on two rows. The tree as a butterfly: x + y is y + x, so every thread
// of the half ends with the sum's bits.
#pragma once
#include "kernels/device.cuh"

namespace octavo::gpu {

constexpr int sum_lanes = 16;
constexpr unsigned whole_warp = 0xFFFFFFFFu;

DEVICE float tree16(float lane) {
#pragma unroll
  for (int half = sum_lanes / 2; half >= 1; half /= 2) lane = __fadd_rn(lane, __shfl_xor_sync(whole_warp, lane, half));
  return lane;
}

// The largest of a half's numbers, in every thread of it.
DEVICE unsigned max16(unsigned lane) {
#pragma unroll
  for (int half = sum_lanes / 2; half >= 1; half /= 2) lane = max(lane, __shfl_xor_sync(whole_warp, lane, half));
  return lane;
}

}  // namespace octavo::gpu

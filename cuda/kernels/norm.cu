// RMSNorm (docs/numerics.md, "norm"). The order of the sum of squares is fixed: 16 chains of width / 16 steps, so a row
// takes at least that many dependent fma.
//   octavo_norm        a block a row, for wide rows: warp 0 walks the chains through a tile in shared memory while the
//                      other warps fetch the next one; then all scale. Bound by the chains while there are few rows
//                      (4,096 wide: 256 steps), by memory with many.
//   octavo_norm_heads  half a warp a row, for heads (up to some hundred wide). Bound by memory.
#include "kernels/device.cuh"
#include "kernels/lanes.cuh"
#include "kernels/params_ops.h"

namespace octavo::gpu {
namespace {

constexpr int norm_threads = 256, norm_tile = 2048;

DEVICE float inverse_root(float squares, int width, float eps) {
  return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(squares, static_cast<float>(width)), eps)));
}

DEVICE float scaled(float x, float r, float weight) { return __fmul_rn(__fmul_rn(x, r), weight); }

}  // namespace

OCTAVO_KERNEL(octavo_norm, NormParams, norm_threads) {
  SHARED_ARRAY(float, tiles, 2 * norm_tile);
  SHARED_ARRAY(float, inverse, 1);
  const int row = static_cast<int>(blockIdx.x) / p.heads, head = static_cast<int>(blockIdx.x) % p.heads;
  const float* x = p.x + static_cast<long long>(row) * p.x_ld + static_cast<long long>(head) * p.width;
  float* out = p.out + static_cast<long long>(row) * p.out_ld + static_cast<long long>(head) * p.width;
  const int thread = threadIdx.x;
  for (int i = thread; i < norm_tile && i < p.width; i += norm_threads) tiles[i] = x[i];
  float lane = 0;
  for (int first = 0, tile = 0; first < p.width; first += norm_tile, tile ^= 1) {
    __syncthreads();
    const int next = first + norm_tile;
    if (thread >= 32) {
      for (int i = thread - 32; i < norm_tile && next + i < p.width; i += norm_threads - 32)
        tiles[(tile ^ 1) * norm_tile + i] = x[next + i];
    } else if (thread < sum_lanes) {
      for (int i = thread; i < norm_tile && first + i < p.width; i += sum_lanes)
        lane = __fmaf_rn(tiles[tile * norm_tile + i], tiles[tile * norm_tile + i], lane);
    }
  }
  if (thread < 32) {
    const float squares = tree16(lane);
    if (thread == 0) *inverse = inverse_root(squares, p.width, p.eps);
  }
  __syncthreads();
  for (int i = thread; i < p.width; i += norm_threads) out[i] = scaled(x[i], *inverse, p.weight[i]);
}

OCTAVO_KERNEL(octavo_norm_heads, NormParams, norm_threads) {
  const int lane = threadIdx.x % sum_lanes;
  const int index =
      static_cast<int>(blockIdx.x) * (norm_threads / sum_lanes) + static_cast<int>(threadIdx.x) / sum_lanes;
  const bool real = index < p.rows * p.heads;  // half a warp may have no row; it takes part in the exchange
  const int row = real ? index / p.heads : 0, head = real ? index % p.heads : 0;
  const float* x = p.x + static_cast<long long>(row) * p.x_ld + static_cast<long long>(head) * p.width;
  float* out = p.out + static_cast<long long>(row) * p.out_ld + static_cast<long long>(head) * p.width;
  float squares = 0;
  for (int i = lane; real && i < p.width; i += sum_lanes) squares = __fmaf_rn(x[i], x[i], squares);
  const float r = inverse_root(tree16(squares), p.width, p.eps);
  for (int i = lane; real && i < p.width; i += sum_lanes) out[i] = scaled(x[i], r, p.weight[i]);
}

}  // namespace octavo::gpu

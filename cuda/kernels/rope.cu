// Rotary position embedding in place (docs/numerics.md, "rope"; Su et al. 2021): a thread a pair, the angles' cosines
// and sines made by the host. Dimensions from `dims` on are not touched. Bound by memory.
#include "kernels/device.cuh"
#include "kernels/params_ops.h"

namespace octavo::gpu {
namespace {

constexpr int rope_threads = 128;

}  // namespace

OCTAVO_KERNEL(octavo_rope, RopeParams, rope_threads) {
  const int pairs = p.dims / 2, row = static_cast<int>(blockIdx.x);
  const int index = static_cast<int>(blockIdx.y) * rope_threads + static_cast<int>(threadIdx.x);
  if (index >= p.heads * pairs) return;
  const int head = index / pairs, i = index % pairs;
  const float* turn = p.cos_sin + (static_cast<long long>(row) * pairs + i) * 2;
  float* x = p.x + static_cast<long long>(row) * p.ld + static_cast<long long>(head) * p.head_size;
  const int first = p.interleaved ? 2 * i : i, second = p.interleaved ? first + 1 : i + pairs;
  const float u = x[first], v = x[second], c = turn[0], s = turn[1];
  x[first] = __fmaf_rn(u, c, -__fmul_rn(v, s));
  x[second] = __fmaf_rn(u, s, __fmul_rn(v, c));
}

}  // namespace octavo::gpu

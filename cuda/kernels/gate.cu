// out = silu(gate) * up (docs/numerics.md, "gate"): four numbers a thread, by 16 bytes where rows allow it. Bound by
// memory. octavo_gather copies rows in the same manner.
#include "kernels/device.cuh"
#include "kernels/exp.cuh"
#include "kernels/params_ops.h"

namespace octavo::gpu {
namespace {

constexpr int row_threads = 256;  // of four numbers each

DEVICE float silu_times(float g, float u) { return __fmul_rn(__fdiv_rn(g, __fadd_rn(1.0f, exp_spec(-g))), u); }

// Whether both lie on 16 bytes, and their rows as well.
DEVICE bool is_wide(const void* a, const void* b, int width) {
  return ((reinterpret_cast<unsigned long long>(a) | reinterpret_cast<unsigned long long>(b)) & 15) == 0 &&
         width % 4 == 0;
}

}  // namespace

OCTAVO_KERNEL(octavo_gate, GateParams, row_threads) {
  const int at = 4 * (static_cast<int>(blockIdx.y) * row_threads + static_cast<int>(threadIdx.x));
  const float* gate = p.gate_up + static_cast<long long>(blockIdx.x) * 2 * p.width;
  const float* up = gate + p.width;
  float* out = p.out + static_cast<long long>(blockIdx.x) * p.width;
  if (is_wide(p.out, p.gate_up, p.width)) {
    if (at >= p.width) return;
    const float4 g = *reinterpret_cast<const float4*>(gate + at), u = *reinterpret_cast<const float4*>(up + at);
    *reinterpret_cast<float4*>(out + at) =
        make_float4(silu_times(g.x, u.x), silu_times(g.y, u.y), silu_times(g.z, u.z), silu_times(g.w, u.w));
    return;
  }
  for (int i = at; i < at + 4 && i < p.width; ++i) out[i] = silu_times(gate[i], up[i]);
}

OCTAVO_KERNEL(octavo_gather, GatherParams, row_threads) {
  const int at = 4 * (static_cast<int>(blockIdx.y) * row_threads + static_cast<int>(threadIdx.x));
  const float* x = p.x + static_cast<long long>(p.rows[blockIdx.x]) * p.width;
  float* out = p.out + static_cast<long long>(blockIdx.x) * p.width;
  if (is_wide(p.out, p.x, p.width)) {
    if (at < p.width) *reinterpret_cast<float4*>(out + at) = *reinterpret_cast<const float4*>(x + at);
    return;
  }
  for (int i = at; i < at + 4 && i < p.width; ++i) out[i] = x[i];
}

}  // namespace octavo::gpu

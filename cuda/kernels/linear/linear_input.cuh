// The input of a linear: a row as it is, RMS-normalised, or gated from its two halves (docs/numerics.md, "norm",
// "gate").
#pragma once
#include "kernels/exp.cuh"
#include "kernels/lanes.cuh"

namespace octavo::gpu {

enum class Input { plain, normed, gated };

DEVICE float silu_gate(float g, float u) { return __fmul_rn(__fdiv_rn(g, __fadd_rn(1.0f, exp_spec(-g))), u); }

// 1 / sqrt(mean square + eps) of a row, by the first warp; valid in all threads of the block, which all call it, once.
DEVICE float inverse_norm(const float* row, int k, float eps) {
  SHARED_ARRAY(float, result, 1);
  if (threadIdx.x < 32) {
    const int lane = static_cast<int>(threadIdx.x) % 16;
    float sum = 0;
#pragma unroll 8
    for (int i = lane; i < k; i += 16) sum = __fmaf_rn(row[i], row[i], sum);
    sum = tree16(sum);
    const float mean = __fdiv_rn(sum, __int2float_rn(k));
    if (threadIdx.x == 0) result[0] = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, eps)));
  }
  __syncthreads();
  return result[0];
}

// Element i of k; norm: inverse_norm of the row.
template <Input kind>
DEVICE float element(const float* row, const float* norm_weight, int k, int i, float norm) {
  if (kind == Input::normed) return __fmul_rn(__fmul_rn(row[i], norm), norm_weight[i]);
  if (kind == Input::gated) return silu_gate(row[i], row[k + i]);
  return row[i];
}

}  // namespace octavo::gpu

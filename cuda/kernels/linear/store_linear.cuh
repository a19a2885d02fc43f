// The end of a linear: bias and epilogue of docs/numerics.md, from a matrix product's fragment to rows of the output.
#pragma once
#include "kernels/device.cuh"
#include "kernels/linear/fragments.h"
#include "kernels/linear/params_linear.h"

namespace octavo::gpu {

// Where one output goes: y = acc + bias, then stored or added to what is there.
DEVICE void store_output(float* out, const float* bias, int n, int add, float acc) {
  const float y = bias != nullptr ? __fadd_rn(acc, bias[n]) : acc;
  *out = add != 0 ? __fadd_rn(*out, y) : y;
}

// A lane's four sums of row block `block` and token tile `tile`; rows and tokens that are not there are left out.
DEVICE void store_tile(const LinearParams& p, int block, int tile, int lane, const float (&acc)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int n = block * row_block + lane / 4 + 8 * (e / 2), token = tile * token_tile + 2 * (lane % 4) + e % 2;
    if (n < p.weight.n && token < p.m)
      store_output(p.out + static_cast<std::size_t>(token) * p.ld + n, p.bias, n, p.add, acc[e]);
  }
}

}  // namespace octavo::gpu

// out = x W^T with float weights: acc = fma(w, x, acc), k ascending one by one, so nothing but outputs goes side by
// side.
//
// A lane is a row of W, a warp 32 of them, which it reads 512 bytes at a time (weight_layout.h); it keeps the sums of 8
// tokens. The tokens' values come through shared memory, the same for all lanes.
#include "kernels/linear/linear_input.cuh"
#include "kernels/linear/store_linear.cuh"
#include "kernels/linear/weight_layout.h"

namespace octavo::gpu {

namespace {

constexpr int warps = 4, threads = 32 * warps, tokens = 8, step = 64;  // step: elements that are staged at once

struct F32 {
  static constexpr int bytes = 4;
  DEVICE static float value(const std::uint32_t (&words)[4], int i) { return __uint_as_float(words[i]); }
};
struct F16 {
  static constexpr int bytes = 2;
  DEVICE static float value(const std::uint32_t (&words)[4], int i) {
    return half_to_float(static_cast<unsigned short>(words[i / 2] >> (16 * (i % 2))));
  }
};
struct Bf16 {
  static constexpr int bytes = 2;
  DEVICE static float value(const std::uint32_t (&words)[4], int i) {
    return __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xFFFF0000u);
  }
};

template <class Format>
DEVICE void linear_float(const LinearFloatParams& p) {
  constexpr int chunk = float_chunk(Format::bytes);
  SHARED_ARRAY(float, x, step* tokens);  // [element][token]
  const int lane = static_cast<int>(threadIdx.x) % 32,
            block = static_cast<int>(blockIdx.x) * warps + static_cast<int>(threadIdx.x) / 32;
  const int first_token = static_cast<int>(blockIdx.y) * tokens, n = block * float_row_block + lane;
  const int chunks = (p.k + chunk - 1) / chunk;
  const bool has_rows = block * float_row_block < p.n;
  const uint4* const weight =
      reinterpret_cast<const uint4*>(p.weight) + static_cast<std::size_t>(block) * chunks * 32 + lane;
  float acc[tokens] = {};
  for (int begin = 0; begin < p.k; begin += step) {
    __syncthreads();  // the values before are no longer read
    for (int i = static_cast<int>(threadIdx.x); i < step * tokens; i += threads) {
      const int token = i % tokens,
                element = i / tokens;  // neighbours write neighbours; the cache has the rest of a line
      const bool real = first_token + token < p.m && begin + element < p.k;
      x[element * tokens + token] =
          real ? p.x[static_cast<std::size_t>(first_token + token) * p.ld_x + begin + element] : 0.0f;
    }
    __syncthreads();
    if (!has_rows) continue;
    const int count = min(step, p.k - begin);
    for (int c = 0; c * chunk < count; ++c) {
      const uint4 packed = weight[static_cast<std::size_t>(begin / chunk + c) * 32];
      const std::uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
      for (int i = 0; i < chunk; ++i) {
        if (c * chunk + i >= count) continue;
        const float w = Format::value(words, i);
#pragma unroll
        for (int t = 0; t < tokens; ++t) acc[t] = __fmaf_rn(w, x[(c * chunk + i) * tokens + t], acc[t]);
      }
    }
  }
  if (n >= p.n) return;
#pragma unroll
  for (int t = 0; t < tokens; ++t)
    if (first_token + t < p.m)
      store_output(p.out + static_cast<std::size_t>(first_token + t) * p.ld + n, p.bias, n, p.add, acc[t]);
}

// The input of a linear with float weights where it is not there as it is: [m, k] floats.
template <Input kind>
DEVICE void prepare(const PrepareParams& p) {
  const float* const row = p.x + static_cast<std::size_t>(blockIdx.x) * p.ld;
  const float norm = kind == Input::normed ? inverse_norm(row, p.k, p.eps) : 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < p.k; i += static_cast<int>(blockDim.x))
    p.out[static_cast<std::size_t>(blockIdx.x) * p.k + i] = element<kind>(row, p.norm_weight, p.k, i, norm);
}

}  // namespace

}  // namespace octavo::gpu

OCTAVO_KERNEL(octavo_linear_float_f32, LinearFloatParams, 128) { octavo::gpu::linear_float<octavo::gpu::F32>(p); }
OCTAVO_KERNEL(octavo_linear_float_f16, LinearFloatParams, 128) { octavo::gpu::linear_float<octavo::gpu::F16>(p); }
OCTAVO_KERNEL(octavo_linear_float_bf16, LinearFloatParams, 128) { octavo::gpu::linear_float<octavo::gpu::Bf16>(p); }
OCTAVO_KERNEL(octavo_prepare_normed, PrepareParams, 256) { octavo::gpu::prepare<octavo::gpu::Input::normed>(p); }
OCTAVO_KERNEL(octavo_prepare_gated, PrepareParams, 256) { octavo::gpu::prepare<octavo::gpu::Input::gated>(p); }

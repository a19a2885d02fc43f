// The input of a linear with a quantised weight: rows as they are, normalised or gated, rounded to 8 bits in groups of
// 32 (docs/numerics.md, "Quantising activations") and laid out as the operand B of the matrix product.
//
// A warp is a group: lane = element. A block has one token and some of its groups; the normalised form computes the
// row's norm again in each block, 16 chains of k / 16 steps by half a warp.
#include "kernels/linear/fragments.h"
#include "kernels/linear/linear_input.cuh"
#include "kernels/linear/params_linear.h"

namespace octavo::gpu {

namespace {

constexpr int warps = 8;

// The largest |x| over the warp by bit patterns, so that a NaN or an infinity wins.
DEVICE float warp_magnitude(float x) {
  const unsigned half = max16(__float_as_uint(x) & 0x7FFFFFFFu);
  return __uint_as_float(max(half, __shfl_xor_sync(whole_warp, half, 16)));
}

struct Quantised {
  int code;
  float scale;
};
DEVICE Quantised quantise_group(float x) {
  const float magnitude = warp_magnitude(x);
  if (magnitude < 1e-30f) return {0, 0.0f};
  return {__float2int_rn(__fmul_rn(x, __fdiv_rn(127.0f, magnitude))), __fdiv_rn(magnitude, 127.0f)};
}

DEVICE int half_warp_sum(int x) {
#pragma unroll
  for (int i = 8; i > 0; i /= 2) x += __shfl_xor_sync(whole_warp, x, i);
  return x;
}

// Tokens and groups that are padding get zeros.
template <Input kind, bool halves_of_floats>
DEVICE void quantise(const QuantiseParams& p) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int token = static_cast<int>(blockIdx.x), tile = token / token_tile;
  const float* const row = p.x + static_cast<std::size_t>(token) * p.ld;
  const bool real = token < p.m;
  const float norm = kind == Input::normed && real ? inverse_norm(row, p.k, p.eps) : 0.0f;
  const int padded = padded_groups(p.k / group_size), tokens = p.tiles * token_tile;
  const int first = static_cast<int>(blockIdx.y) * p.groups_per_block;
  const FragmentPlace place = token_place(token % token_tile, lane);
  for (int g = first + warp; g < min(first + p.groups_per_block, padded); g += warps) {
    const bool inside = real && g * group_size < p.k;
    const Quantised q =
        quantise_group(inside ? element<kind>(row, p.norm_weight, p.k, g * group_size + lane, norm) : 0.0f);
    const std::size_t at = (static_cast<std::size_t>(g) * p.tiles + tile) * 32 + place.lane;
    const int byte = place.reg * 4 + place.byte;
    if (halves_of_floats)
      static_cast<unsigned short*>(p.codes)[at * 8 + byte] = float_to_half(__int2float_rn(q.code));
    else
      static_cast<signed char*>(p.codes)[at * 8 + byte] = static_cast<signed char>(q.code);
    if (lane == 0) p.scales[static_cast<std::size_t>(g) * tokens + token] = q.scale;
    if (p.sums == nullptr) continue;
    const int half = half_warp_sum(q.code), whole = half + __shfl_xor_sync(whole_warp, half, 16);
    if (p.halves != 0) {
      if (lane % 16 == 0)
        p.sums[(static_cast<std::size_t>(g) * 2 + lane / 16) * tokens + token] =
            __fmul_rn(q.scale, __int2float_rn(half));
    } else if (lane == 0) {
      p.sums[static_cast<std::size_t>(g) * tokens + token] = __fmul_rn(q.scale, __int2float_rn(whole));
    }
  }
}

}  // namespace

}  // namespace octavo::gpu

using octavo::gpu::Input;

OCTAVO_KERNEL(octavo_quantise_plain_s8, QuantiseParams, 256) { octavo::gpu::quantise<Input::plain, false>(p); }
OCTAVO_KERNEL(octavo_quantise_normed_s8, QuantiseParams, 256) { octavo::gpu::quantise<Input::normed, false>(p); }
OCTAVO_KERNEL(octavo_quantise_gated_s8, QuantiseParams, 256) { octavo::gpu::quantise<Input::gated, false>(p); }
OCTAVO_KERNEL(octavo_quantise_plain_f16, QuantiseParams, 256) { octavo::gpu::quantise<Input::plain, true>(p); }
OCTAVO_KERNEL(octavo_quantise_normed_f16, QuantiseParams, 256) { octavo::gpu::quantise<Input::normed, true>(p); }
OCTAVO_KERNEL(octavo_quantise_gated_f16, QuantiseParams, 256) { octavo::gpu::quantise<Input::gated, true>(p); }

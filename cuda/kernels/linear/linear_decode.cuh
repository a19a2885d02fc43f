// out = x W^T for few tokens: bound by the bytes of W. The operand A is 16 rows of weights, B 8 tokens; a group's dot
// is one matrix product, exact, and what docs/numerics.md fixes is the chain of fma over groups behind it.
//
// A block has all of K for some row blocks. Its 8 warps take quads of 4 groups by turns, in rounds: each copies its own
// quads through a ring of its own in shared memory, and keeps their dots and scales in registers. Then they take turns
// on one accumulator, which goes from warp to warp through shared memory: warp w waits at barrier 1 + w for its
// predecessor, adds its four groups, and arrives at that of its successor. So the chain is as long as it has to be, and
// loading, unpacking and products of all other warps go on beside it.
#pragma once
#include "kernels/linear/linear_shapes.h"
#include "kernels/linear/magic.cuh"
#include "kernels/linear/store_linear.cuh"
#include "kernels/linear/unpack.cuh"

namespace octavo::gpu {

template <Packing P, int tiles>
struct DecodeStage {
  static constexpr PackingTraits t = packing<P>;
  static constexpr DecodeShape shape = decode_shape(t, tiles);
  static constexpr int codes = shape.codes, scales = shape.scales, headers = shape.headers;
  static constexpr int row_block_bytes = shape.row_block_bytes, row_blocks = shape.row_blocks;
  static constexpr int input_codes = shape.input_codes, input_scales = shape.input_scales;
  static constexpr int bytes = shape.stage_bytes, stages = shape.stages;
};

// A row of 16-byte pieces, copied by a warp.
template <int bytes>
DEVICE void copy_row(unsigned char* to, const unsigned char* from, int lane) {
#pragma unroll
  for (int i = 0; i < bytes; i += 512)
    if (i + 512 <= bytes || lane * 16 < bytes - i) copy_async_16(to + i + lane * 16, from + i + lane * 16);
}

template <Packing P, int tiles>
DEVICE void load_quad(const LinearParams& p, unsigned char* stage, int index, int first_block, int first_tile,
                      int lane) {
  using S = DecodeStage<P, tiles>;
  const int blocks = (p.weight.n + row_block - 1) / row_block, groups = padded_groups(p.weight.groups);
#pragma unroll
  for (int r = 0; r < S::row_blocks; ++r) {
    const std::size_t block = static_cast<std::size_t>(min(first_block + r, blocks - 1));
    unsigned char* const to = stage + r * S::row_block_bytes;
    copy_row<S::codes>(to, p.weight.codes + (block * (groups / 4) + index) * S::codes, lane);
    copy_row<S::scales>(to + S::codes, p.weight.scales + (block * (groups / 4) + index) * S::scales, lane);
    if (S::headers > 0)
      copy_row<S::headers>(to + S::codes + S::scales,
                           p.weight.headers + (block * (groups / 8) + index / 2) * S::headers, lane);
  }
  unsigned char* const input = stage + S::row_blocks * S::row_block_bytes;
  const auto* const scales = reinterpret_cast<const unsigned char*>(p.scales);
  const auto* const sums = reinterpret_cast<const unsigned char*>(p.sums);
#pragma unroll
  for (int k = 0; k < quad; ++k) {
    const std::size_t at = static_cast<std::size_t>(index * quad + k) * p.tiles + first_tile;
    copy_row<tiles * 256>(input + k * tiles * 256, p.codes + at * 256, lane);
    copy_row<tiles * 32>(input + S::input_codes + k * tiles * 32, scales + at * 32, lane);
#pragma unroll
    for (int i = 0; i < S::t.minima; ++i) {
      const std::size_t row = (static_cast<std::size_t>(index * quad + k) * S::t.minima + i) * p.tiles + first_tile;
      copy_row<tiles * 32>(input + S::input_codes + S::input_scales + (k * S::t.minima + i) * tiles * 32,
                           sums + row * 32, lane);
    }
  }
}

// What a warp brings to its turn: for each group the dots as floats and their scales, the minima and their sums.
template <Packing P, int tiles>
struct QuadTerms {
  static constexpr PackingTraits t = packing<P>;
  static constexpr int blocks = DecodeStage<P, tiles>::row_blocks, minima = t.minima == 0 ? 1 : t.minima;
  float dot[quad][t.dots][blocks][tiles][4], scale[quad][t.dots][blocks][tiles][4];
  float minimum[quad][minima][blocks][2], sum[quad][minima][tiles][2];
};

template <Packing P, int tiles, int k>
DEVICE void group_terms(const LinearParams& p, const unsigned char* stage, int lane, QuadTerms<P, tiles>& terms) {
  using S = DecodeStage<P, tiles>;
  const unsigned char* const input = stage + S::row_blocks * S::row_block_bytes;
  const int column = lane % 4;
  const int start[4] = {magic_bits, magic_bits, magic_bits, magic_bits};
#pragma unroll
  for (int r = 0; r < S::row_blocks; ++r) {
    const unsigned char* const at = stage + r * S::row_block_bytes;
    const PackedPair pair{at + k / 2 * pair_bytes(S::t), at + S::codes + k / 2 * 2 * scale_bytes(S::t.scales),
                          at + S::codes + S::scales};
    const GroupScales<P> own = load_scales<P, k % 2>(pair, lane, p.weight.unit);
    std::uint32_t a[4];
    unpack_s8<P, k % 2>(pair, lane, own, p.weight.table, a);
#pragma unroll
    for (int i = 0; i < S::t.minima; ++i) {
      terms.minimum[k][i][r][0] = own.minimum[i][0];
      terms.minimum[k][i][r][1] = own.minimum[i][1];
    }
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      const uint2 codes = *reinterpret_cast<const uint2*>(input + ((k * tiles + t) * 32 + lane) * 8);
      const float2 d = *reinterpret_cast<const float2*>(input + S::input_codes + (k * tiles + t) * 32 + column * 8);
      const std::uint32_t b[2] = {codes.x, codes.y};
#pragma unroll
      for (int half = 0; half < S::t.dots; ++half) {
        const bool both = S::t.dots == 1;
        const std::uint32_t part[4] = {both || half == 0 ? a[0] : 0, both || half == 0 ? a[1] : 0,
                                       both || half == 1 ? a[2] : 0, both || half == 1 ? a[3] : 0};
        int dot[4];
        mma_s8(dot, part, b, start);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          terms.dot[k][half][r][t][e] = from_magic<code_shift<P>>(dot[e]);
          terms.scale[k][half][r][t][e] = __fmul_rn(own.scale[half][e / 2], e % 2 == 0 ? d.x : d.y);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < S::t.minima; ++i) {
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      const float2 sum = *reinterpret_cast<const float2*>(input + S::input_codes + S::input_scales +
                                                          ((k * S::t.minima + i) * tiles + t) * 32 + column * 8);
      terms.sum[k][i][t][0] = sum.x;
      terms.sum[k][i][t][1] = sum.y;
    }
  }
}

// Groups ascending; of a group the dots, then the minima.
template <Packing P, int tiles>
DEVICE void add_terms(const QuadTerms<P, tiles>& terms, int count,
                      float (&acc)[DecodeStage<P, tiles>::row_blocks][tiles][4]) {
  using S = DecodeStage<P, tiles>;
#pragma unroll
  for (int k = 0; k < quad; ++k) {
    if (k >= count) continue;
#pragma unroll
    for (int r = 0; r < S::row_blocks; ++r) {
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& sum = acc[r][t][e];
#pragma unroll
          for (int i = 0; i < S::t.dots; ++i)
            sum = __fmaf_rn(terms.dot[k][i][r][t][e], terms.scale[k][i][r][t][e], sum);
#pragma unroll
          for (int i = 0; i < S::t.minima; ++i)
            sum = __fmaf_rn(terms.minimum[k][i][r][e / 2], terms.sum[k][i][t][e % 2], sum);
        }
      }
    }
  }
}

template <Packing P, int tiles>
DEVICE void linear_decode(const LinearParams& p) {
  using S = DecodeStage<P, tiles>;
  SharedMemory memory;
  unsigned char* const rings = memory.take<unsigned char>(decode_warps * S::stages * S::bytes);
  float4* const handed = memory.take<float4>(S::row_blocks * tiles * 32);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int first_block = static_cast<int>(blockIdx.x) * S::row_blocks,
            first_tile = static_cast<int>(blockIdx.y) * tiles;
  const int quads = padded_groups(p.weight.groups) / quad, rounds = (quads + decode_warps - 1) / decode_warps;
  unsigned char* const ring = rings + warp * S::stages * S::bytes;
  const auto load = [&](int round) {
    const int index = round * decode_warps + warp;
    if (index < quads)
      load_quad<P, tiles>(p, ring + round % S::stages * S::bytes, index, first_block, first_tile, lane);
    commit_copies();
  };

#pragma unroll
  for (int round = 0; round < S::stages - 1; ++round) load(round);
  for (int round = 0; round < rounds; ++round) {
    wait_copies<S::stages - 2>();
    __syncwarp();
    load(round + S::stages - 1);
    const unsigned char* const stage = ring + round % S::stages * S::bytes;
    const int count = min(quad, p.weight.groups - (round * decode_warps + warp) * quad);
    QuadTerms<P, tiles> terms;
    if (count > 0) group_terms<P, tiles, 0>(p, stage, lane, terms);
    if (count > 1) group_terms<P, tiles, 1>(p, stage, lane, terms);
    if (count > 2) group_terms<P, tiles, 2>(p, stage, lane, terms);
    if (count > 3) group_terms<P, tiles, 3>(p, stage, lane, terms);

    float acc[S::row_blocks][tiles][4] = {};
    if (round + warp > 0) {
      barrier_sync(1 + warp, 64);
#pragma unroll
      for (int i = 0; i < S::row_blocks * tiles; ++i) {
        const float4 sums = handed[i * 32 + lane];
        float(&own)[4] = acc[i / tiles][i % tiles];
        own[0] = sums.x, own[1] = sums.y, own[2] = sums.z, own[3] = sums.w;
      }
    }
    add_terms<P, tiles>(terms, count, acc);
    if (round + 1 < rounds || warp + 1 < decode_warps) {
#pragma unroll
      for (int i = 0; i < S::row_blocks * tiles; ++i) {
        const float(&own)[4] = acc[i / tiles][i % tiles];
        handed[i * 32 + lane] = make_float4(own[0], own[1], own[2], own[3]);
      }
      barrier_arrive(1 + (warp + 1) % decode_warps, 64);
    } else {
#pragma unroll
      for (int i = 0; i < S::row_blocks * tiles; ++i)
        store_tile(p, first_block + i / tiles, first_tile + i % tiles, lane, acc[i / tiles][i % tiles]);
    }
  }
  wait_copies<0>();
}

}  // namespace octavo::gpu

// The two kernels of a packing: for up to 8 tokens, and for 16 at a time.
#define OCTAVO_LINEAR_DECODE(name)                                        \
  OCTAVO_KERNEL(octavo_linear_decode_##name##_8, LinearParams, 256, 1) {  \
    octavo::gpu::linear_decode<octavo::gpu::Packing::name, 1>(p);         \
  }                                                                       \
  OCTAVO_KERNEL(octavo_linear_decode_##name##_16, LinearParams, 256, 1) { \
    octavo::gpu::linear_decode<octavo::gpu::Packing::name, 2>(p);         \
  }

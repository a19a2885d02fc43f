// out = x W^T for many tokens: bound by arithmetic. A block has 128 rows and 128 tokens, a warp 32 rows (two operands
// A) and 64 tokens (eight operands B) of them; K goes by in pairs of groups through a ring in shared memory. An
// accumulator is one output, groups ascending, so the chain of docs/numerics.md is the loop itself.
//
// Two forms with the same bits. On whole numbers: one product of s8 a group, whose result becomes a float by a trick
// (magic.cuh). On halves: codes and inputs as f16, which holds them exactly, two products a group whose float sums stay
// below 2^20, where every whole number is exact in any order: no conversion, but twice the products. Which is faster
// depends on how many more products of s8 than of f16 a device does.
#pragma once
#include "kernels/linear/linear_shapes.h"
#include "kernels/linear/magic.cuh"
#include "kernels/linear/store_linear.cuh"
#include "kernels/linear/unpack.cuh"

namespace octavo::gpu {

enum class TileForm { s8, f16 };

template <Packing P, TileForm form>
struct TileStage {
  static constexpr PackingTraits t = packing<P>;
  static constexpr TileShape shape = tile_shape(t, form == TileForm::f16);
  static constexpr int stages = shape.stages, bytes = shape.stage_bytes;
  static constexpr int input_tile = form == TileForm::f16 ? 512 : 256;  // bytes of a tile of 8 tokens
};

// `rows` rows of `bytes` each, piece by piece by all threads; rows from `present` on become zeros. from(row) is where
// one begins.
template <int rows, int bytes, class From>
DEVICE void copy_rows(unsigned char* to, int present, From from) {
  constexpr int pieces = bytes / 16, total = rows * pieces;
#pragma unroll
  for (int i = 0; i < total; i += tile_threads) {
    const int piece = i + static_cast<int>(threadIdx.x), row = piece / pieces;
    if (i + tile_threads > total && piece >= total) continue;
    const bool there = row < present;
    copy_async_16(to + piece * 16, from(there ? row : 0) + piece % pieces * 16, there);
  }
}

template <Packing P, TileForm form>
DEVICE void load_pair(const LinearParams& p, unsigned char* stage, int pair, int first_block, int first_tile) {
  using S = TileStage<P, form>;
  constexpr TileShape shape = S::shape;
  const int blocks = (p.weight.n + row_block - 1) / row_block - first_block, tiles = p.tiles - first_tile;
  const std::size_t groups = static_cast<std::size_t>(padded_groups(p.weight.groups)),
                    block = static_cast<std::size_t>(first_block);
  const std::size_t group = 2 * static_cast<std::size_t>(pair), token_tiles_all = static_cast<std::size_t>(p.tiles);
  copy_rows<tile_row_blocks, shape.codes / tile_row_blocks>(stage, blocks, [&](int r) {
    return p.weight.codes + ((block + r) * (groups / 2) + pair) * (shape.codes / tile_row_blocks);
  });
  copy_rows<tile_row_blocks, shape.scales / tile_row_blocks>(stage + shape.scales_at, blocks, [&](int r) {
    return p.weight.scales + ((block + r) * (groups / 2) + pair) * (shape.scales / tile_row_blocks);
  });
  if constexpr (shape.headers > 0)
    copy_rows<tile_row_blocks, shape.headers / tile_row_blocks>(stage + shape.headers_at, blocks, [&](int r) {
      return p.weight.headers + ((block + r) * (groups / 8) + pair / 4) * (shape.headers / tile_row_blocks);
    });
  const auto* const scales = reinterpret_cast<const unsigned char*>(p.scales);
  const auto* const sums = reinterpret_cast<const unsigned char*>(p.sums);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    copy_rows<tile_token_tiles, S::input_tile>(
        stage + shape.input_codes_at + h * tile_token_tiles * S::input_tile, tiles,
        [&](int r) { return p.codes + ((group + h) * token_tiles_all + first_tile + r) * S::input_tile; });
    copy_rows<tile_token_tiles, 32>(stage + shape.input_scales_at + h * tile_token_tiles * 32, tiles, [&](int r) {
      return scales + ((group + h) * token_tiles_all + first_tile + r) * 32;
    });
#pragma unroll
    for (int i = 0; i < S::t.minima; ++i)
      copy_rows<tile_token_tiles, 32>(stage + shape.input_sums_at + (h * S::t.minima + i) * tile_token_tiles * 32,
                                      tiles, [&](int r) {
                                        const std::size_t row = (group + h) * S::t.minima + i;
                                        return sums + (row * token_tiles_all + first_tile + r) * 32;
                                      });
  }
}

// Signed bytes, 2^shift times the codes, as halves that are the codes: A's registers for the two products of a group.
template <int shift>
DEVICE void halves_of_bytes(const std::uint32_t (&bytes)[4], std::uint32_t (&halves)[2][4]) {
  constexpr std::uint32_t unit = static_cast<std::uint32_t>(15 - shift) << 10;                      // 2^-shift
  constexpr std::uint32_t least = 0x8000u | (0x6480u - (static_cast<std::uint32_t>(shift) << 10));  // -1152 * 2^-shift
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const std::uint32_t above = bytes[r] ^ 0x80808080u;  // + 128; under an exponent of 0x64 that is 1024 + 128 + byte
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const std::uint32_t both = __byte_perm(above, 0x64646464u, part == 0 ? 0x4140 : 0x4342);
      halves[r / 2][2 * part + r % 2] = fma_half2(both, unit * 0x10001u, least * 0x10001u);
    }
  }
}

// float(dot) of one or two dots of a group, for a lane's four outputs.
template <Packing P>
DEVICE void dots_s8(const std::uint32_t (&a)[4], const unsigned char* input, float (&dots)[packing<P>.dots][4]) {
  const int start[4] = {magic_bits, magic_bits, magic_bits, magic_bits};
  const uint2 codes = *reinterpret_cast<const uint2*>(input);
  const std::uint32_t b[2] = {codes.x, codes.y};
  constexpr bool both = packing<P>.dots == 1;
#pragma unroll
  for (int half = 0; half < packing<P>.dots; ++half) {
    const std::uint32_t part[4] = {both || half == 0 ? a[0] : 0, both || half == 0 ? a[1] : 0,
                                   both || half == 1 ? a[2] : 0, both || half == 1 ? a[3] : 0};
    int dot[4];
    mma_s8(dot, part, b, start);
#pragma unroll
    for (int e = 0; e < 4; ++e) dots[half][e] = from_magic<code_shift<P>>(dot[e]);
  }
}
template <Packing P>
DEVICE void dots_f16(const std::uint32_t (&a)[2][4], const unsigned char* input, float (&dots)[packing<P>.dots][4]) {
  const float zero[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  const uint4 codes = *reinterpret_cast<const uint4*>(input);
  const std::uint32_t first[2] = {codes.x, codes.y}, last[2] = {codes.z, codes.w};
  mma_f16(dots[0], a[0], first, zero);
  if (packing<P>.dots == 1)
    mma_f16(dots[0], a[1], last, dots[0]);
  else
    mma_f16(dots[packing<P>.dots - 1], a[1], last, zero);
}

constexpr int warp_blocks = 2, warp_tiles = 8;  // row blocks and token tiles of a warp
using TileSums = float[warp_blocks][warp_tiles][4];

// One group of a stage: its terms on top of all of the warp's accumulators.
template <Packing P, TileForm form, int h>
DEVICE void add_group(const LinearParams& p, const unsigned char* stage, int lane, int warp_row, int warp_column,
                      TileSums& acc) {
  using S = TileStage<P, form>;
  constexpr TileShape shape = S::shape;
  GroupScales<P> own[warp_blocks];
  std::uint32_t bytes[warp_blocks][4], halves[warp_blocks][2][4];
#pragma unroll
  for (int r = 0; r < warp_blocks; ++r) {
    const int block = warp_row * warp_blocks + r;
    const PackedPair pair{stage + block * pair_bytes(S::t),
                          stage + shape.scales_at + block * 2 * scale_bytes(S::t.scales),
                          stage + shape.headers_at + block * header_bytes(S::t)};
    own[r] = load_scales<P, h>(pair, lane, p.weight.unit);
    unpack_s8<P, h>(pair, lane, own[r], p.weight.table, bytes[r]);
    if (form == TileForm::f16) halves_of_bytes<code_shift<P>>(bytes[r], halves[r]);
  }
#pragma unroll
  for (int t = 0; t < warp_tiles; ++t) {
    const int tile = h * tile_token_tiles + warp_column * warp_tiles + t, column = lane % 4 * 8;
    const float2 d = *reinterpret_cast<const float2*>(stage + shape.input_scales_at + tile * 32 + column);
    const unsigned char* const input =
        stage + shape.input_codes_at + tile * S::input_tile + lane * (S::input_tile / 32);
#pragma unroll
    for (int r = 0; r < warp_blocks; ++r) {
      float dots[S::t.dots][4];
      if constexpr (form == TileForm::f16)
        dots_f16<P>(halves[r], input, dots);
      else
        dots_s8<P>(bytes[r], input, dots);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& sum = acc[r][t][e];
#pragma unroll
        for (int i = 0; i < S::t.dots; ++i)
          sum = __fmaf_rn(dots[i][e], __fmul_rn(own[r].scale[i][e / 2], e % 2 == 0 ? d.x : d.y), sum);
#pragma unroll
        for (int i = 0; i < S::t.minima; ++i) {
          const int row = (h * S::t.minima + i) * tile_token_tiles + warp_column * warp_tiles + t;
          const float2 sums = *reinterpret_cast<const float2*>(stage + shape.input_sums_at + row * 32 + column);
          sum = __fmaf_rn(own[r].minimum[i][e / 2], e % 2 == 0 ? sums.x : sums.y, sum);
        }
      }
    }
  }
}

template <Packing P, TileForm form>
DEVICE void linear_tile(const LinearParams& p) {
  using S = TileStage<P, form>;
  SharedMemory memory;
  unsigned char* const ring = memory.take<unsigned char>(S::stages * S::bytes);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp % 4, warp_column = warp / 4;
  const int first_block = static_cast<int>(blockIdx.x) * tile_row_blocks,
            first_tile = static_cast<int>(blockIdx.y) * tile_token_tiles;
  const int pairs = (p.weight.groups + 1) / 2;
  const bool has_tokens = first_tile + warp_column * warp_tiles < p.tiles;
  const auto load = [&](int pair) {
    if (pair < pairs) load_pair<P, form>(p, ring + pair % S::stages * S::bytes, pair, first_block, first_tile);
    commit_copies();
  };
  TileSums acc = {};
#pragma unroll
  for (int pair = 0; pair < S::stages - 1; ++pair) load(pair);
  for (int pair = 0; pair < pairs; ++pair) {
    wait_copies<S::stages - 2>();
    __syncthreads();  // all have their copies, and nobody reads the stage that is filled next
    load(pair + S::stages - 1);
    if (!has_tokens) continue;
    const unsigned char* const stage = ring + pair % S::stages * S::bytes;
    add_group<P, form, 0>(p, stage, lane, warp_row, warp_column, acc);
    if (2 * pair + 1 < p.weight.groups) add_group<P, form, 1>(p, stage, lane, warp_row, warp_column, acc);
  }
  wait_copies<0>();
#pragma unroll
  for (int r = 0; r < warp_blocks; ++r)
#pragma unroll
    for (int t = 0; t < warp_tiles; ++t)
      store_tile(p, first_block + warp_row * warp_blocks + r, first_tile + warp_column * warp_tiles + t, lane,
                 acc[r][t]);
}

}  // namespace octavo::gpu

#define OCTAVO_LINEAR_TILE(name, form, blocks)                                            \
  OCTAVO_KERNEL(octavo_linear_tile_##name##_##form, LinearParams, 256, blocks) {          \
    octavo::gpu::linear_tile<octavo::gpu::Packing::name, octavo::gpu::TileForm::form>(p); \
  }

// How the kernels of a linear cut their work, and the shared memory they ask for: constants of a packing that the
// kernels and the host's launches both need.
#pragma once
#include "kernels/linear/weight_layout.h"

namespace octavo::gpu {

// ---- linear_decode.cuh ----------------------------------------------------------------------------------------
constexpr int decode_warps = 8, decode_threads = 32 * decode_warps;
constexpr int quad = 4;                       // groups that a warp takes at once
constexpr int most_shared_bytes = 99 * 1024;  // that a block may have on every device

// A stage of a warp's ring in bytes: row blocks (codes, scales, headers), then the input (codes, scales, sums).
struct DecodeShape {
  int codes, scales, headers, row_block_bytes;
  int input_codes, input_scales, input_sums, input_bytes;
  int row_blocks;  // of a block: two share the input's loads where they fit and leave enough registers
  int stage_bytes, stages, shared_bytes;
};
constexpr DecodeShape decode_shape(const PackingTraits& p, int tiles, int row_blocks, int stages) {
  DecodeShape s{};
  s.codes = 2 * pair_bytes(p);
  s.scales = quad * scale_bytes(p.scales);
  s.headers = header_bytes(p);
  s.row_block_bytes = s.codes + s.scales + s.headers;
  s.input_codes = quad * tiles * 256;
  s.input_scales = quad * tiles * 32;
  s.input_sums = p.minima * s.input_scales;
  s.input_bytes = s.input_codes + s.input_scales + s.input_sums;
  s.row_blocks = row_blocks;
  s.stage_bytes = row_blocks * s.row_block_bytes + s.input_bytes;
  s.stages = stages;
  s.shared_bytes = decode_warps * stages * s.stage_bytes + row_blocks * tiles * 512;
  return s;
}
constexpr DecodeShape decode_shape(const PackingTraits& p, int tiles) {
  const bool two = tiles == 1 && p.dots == 1 && decode_shape(p, tiles, 2, 3).shared_bytes <= most_shared_bytes;
  const DecodeShape s = decode_shape(p, tiles, two ? 2 : 1, 3);
  return s.shared_bytes <= most_shared_bytes ? s : decode_shape(p, tiles, s.row_blocks, 2);
}

// ---- linear_tile.cuh ------------------------------------------------------------------------------------------
constexpr int tile_threads = 256, tile_row_blocks = 8, tile_token_tiles = 16;  // 128 rows, 128 tokens a block

// A stage: one pair of groups of the block's rows, then of its tokens; in bytes.
struct TileShape {
  int codes, scales, headers;  // of all row blocks
  int input_codes, input_scales, input_sums;
  int scales_at, headers_at, input_codes_at, input_scales_at, input_sums_at, stage_bytes;
  int stages, shared_bytes;
};
// halves: the input's codes are f16.
constexpr TileShape tile_shape(const PackingTraits& p, bool halves) {
  TileShape s{};
  s.codes = tile_row_blocks * pair_bytes(p);
  s.scales = tile_row_blocks * 2 * scale_bytes(p.scales);
  s.headers = tile_row_blocks * header_bytes(p);
  s.input_codes = 2 * tile_token_tiles * (halves ? 512 : 256);
  s.input_scales = 2 * tile_token_tiles * 32;
  s.input_sums = p.minima * s.input_scales;
  s.scales_at = s.codes;
  s.headers_at = s.scales_at + s.scales;
  s.input_codes_at = s.headers_at + s.headers;
  s.input_scales_at = s.input_codes_at + s.input_codes;
  s.input_sums_at = s.input_scales_at + s.input_scales;
  s.stage_bytes = s.input_sums_at + s.input_sums;
  // Two blocks of a multiprocessor with 164 KB, where four stages leave room for that.
  s.stages = 4 * s.stage_bytes <= 81 * 1024 ? 4 : 3;
  s.shared_bytes = s.stages * s.stage_bytes;
  return s;
}

}  // namespace octavo::gpu

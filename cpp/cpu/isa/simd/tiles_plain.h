// The matrix registers of tiles_amx.h in plain C++, over the plain vectors: what tests run where there is no AMX.
#pragma once
#include "cpu/isa/simd/simd.h"

namespace {

struct TileRegister {
  std::int32_t sums[16][16];
  std::int8_t bytes[16][64];  // as an operand
};
thread_local TileRegister tile_registers[8];
thread_local int tile_k, tile_tokens;  // 0: the registers are not in use
constexpr int sum_tiles[4] = {0, 1, 6, 7};

SIMD_FN void tiles_begin(int k, int tokens) {
  std::memset(tile_registers, 0, sizeof tile_registers);
  tile_k = k;
  tile_tokens = tokens;
}
SIMD_FN void tiles_end() { tile_k = tile_tokens = 0; }

template <int r>
SIMD_FN void tile_zero() {
  std::memset(tile_registers[r].sums, 0, sizeof tile_registers[r].sums);
}
template <int r>
SIMD_FN void tile_load(const void* p, std::ptrdiff_t stride) {
  constexpr bool left = r == 2 || r == 3;
  for (int i = 0; i < (left ? tile_tokens : tile_k / 4); ++i)
    std::memcpy(tile_registers[r].bytes[i], static_cast<const char*>(p) + i * stride, left ? tile_k : 64);
}
template <int r>
SIMD_FN void tile_store(void* p, std::ptrdiff_t stride) {
  for (int i = 0; i < tile_tokens; ++i) std::memcpy(static_cast<char*>(p) + i * stride, tile_registers[r].sums[i], 64);
}
template <int sums, int left, int right>
SIMD_FN void tile_dot() {
  for (int i = 0; i < tile_tokens; ++i)
    for (int j = 0; j < 16; ++j)
      for (int k = 0; k < tile_k; ++k)
        tile_registers[sums].sums[i][j] +=
            tile_registers[left].bytes[i][k] * tile_registers[right].bytes[k / 4][4 * j + k % 4];
}

SIMD_FN f32x16 tile_floats(const std::int32_t* sums) { return f_from_int(i_load(sums)); }
SIMD_FN double tile_operations_loop(std::int64_t rounds) {
  tiles_begin(32, 16);
  for (std::int64_t n = 0; n < rounds; ++n) tile_dot<0, 2, 4>();
  return static_cast<double>(rounds) * 16 * 32 * 16 * 2;
}

}  // namespace

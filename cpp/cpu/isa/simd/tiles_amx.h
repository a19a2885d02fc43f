// Matrix registers of AMX, eight of up to 16 rows x 64 bytes, for cpp/cpu/linear/linear_amx.inc; tiles_plain.h is the
// same in plain C++. Registers are numbered: 0, 1, 6 and 7 hold sums (tokens x 16 int32), 2 and 3 a left operand (tokens x
// K int8), 4 and 5 a right one (K / 4 rows x 16 columns x 4 int8: row r, column c holds elements 4r .. 4r + 3 of column
// c). K is 32 or 16; tokens are 8, 10 .. 16.
// The instructions are written out, so that the compiler needs to know nothing of them.
#pragma once
#include "cpu/isa/simd/simd.h"

namespace {

struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
  constexpr TileShapes(int k, int tokens) {
    for (int r = 0; r < 8; ++r) {
      const bool left = r == 2 || r == 3, right = r == 4 || r == 5;
      row_bytes[r] = static_cast<std::uint16_t>(left ? k : 64);
      rows[r] = static_cast<std::uint8_t>(right ? k / 4 : tokens);
    }
  }
};
constexpr TileShapes tile_shapes[2][5] = {{{16, 8}, {16, 10}, {16, 12}, {16, 14}, {16, 16}},
                                          {{32, 8}, {32, 10}, {32, 12}, {32, 14}, {32, 16}}};
constexpr int sum_tiles[4] = {0, 1, 6, 7};

// A thread's registers hold something only between these two: what the system saves for a thread that waits is small.
SIMD_FN void tiles_begin(int k, int tokens) {
  __asm__ volatile("ldtilecfg %0" : : "m"(tile_shapes[k / 16 - 1][tokens / 2 - 4]));
}
SIMD_FN void tiles_end() { __asm__ volatile("tilerelease"); }

template <int r>
SIMD_FN void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(r));
}
template <int r>
SIMD_FN void tile_load(const void* p, std::ptrdiff_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(r) : "memory");
}
template <int r>
SIMD_FN void tile_store(void* p, std::ptrdiff_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(r) : "memory");
}
// sums += left x right, signed bytes
template <int sums, int left, int right>
SIMD_FN void tile_dot() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(left), "i"(right));
}

// 16 sums of at most 2^22 as f32. After a tile instruction half of the units that multiply and convert rest for some
// 400 cycles; those that only add do not: 1.5 * 2^23 + sum is made in its bits and 1.5 * 2^23 taken off.
SIMD_FN f32x16 tile_floats(const std::int32_t* sums) {
  const f32x16 shifted = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_load_si512(sums), _mm512_set1_epi32(0x4B400000)));
  return f_sub(shifted, f_set(12582912.0f));
}

// Four products of 16 x 64 x 16 a round.
SIMD_FN double tile_operations_loop(std::int64_t rounds) {
  constexpr struct alignas(64) Whole {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } whole;
  __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm4\n\ttilezero %%tmm5" : : "m"(whole));
  for (std::int64_t n = 0; n < rounds; ++n) {
    tile_dot<0, 4, 5>();
    tile_dot<1, 4, 5>();
    tile_dot<2, 4, 5>();
    tile_dot<3, 4, 5>();
  }
  tiles_end();
  return static_cast<double>(rounds) * 4 * 16 * 64 * 16 * 2;
}

}  // namespace

// The formats of the model's file whose weights share codes (cpp/files/codebook.h says how), read a weight at a time as
// those of stored.cuh are. A point of a codebook is a number whose digits are levels, of base 3 or, for IQ3, of 8.
#pragma once
#include "files/iq_grids.h"
#include "kernels/stored.cuh"

namespace octavo::gpu::stored {

template <int points>
struct Grid {
  unsigned short number[points];
};
template <int points>
constexpr Grid<points> make_grid(const char* steps) {
  Grid<points> grid{};
  unsigned number = 0;
  for (int i = 0; i < points; ++i) {
    grid.number[i] = static_cast<unsigned short>(number);
    for (; *steps == '!'; ++steps) number += 28;
    if (*steps != 0) number += static_cast<unsigned>(*steps++ - '#');
  }
  return grid;
}

CONSTANT Grid<2048> grid_iq1 = make_grid<2048>(iq1_s_steps);
CONSTANT Grid<256> grid_iq2_xxs = make_grid<256>(iq2_xxs_steps);
CONSTANT Grid<512> grid_iq2_xs = make_grid<512>(iq2_xs_steps);
CONSTANT Grid<1024> grid_iq2_s = make_grid<1024>(iq2_s_steps);
CONSTANT Grid<256> grid_iq3_xxs = make_grid<256>(iq3_xxs_steps);
CONSTANT Grid<512> grid_iq3_s = make_grid<512>(iq3_s_steps);

DEVICE int digit3(unsigned number, int i) {
  for (; i > 0; --i) number /= 3;
  return static_cast<int>(number % 3);
}
DEVICE int digit8(unsigned number, int i) { return static_cast<int>(number >> (3 * i) & 7); }

// Bit i of seven bits of signs and the eighth that makes their number even.
DEVICE bool sign_of(unsigned seven, int i) { return ((i < 7 ? seven >> i : __popc(seven)) & 1) != 0; }
DEVICE int nibble_of(Bytes nibbles, int i) { return nibbles[i / 2] >> (4 * (i % 2)) & 15; }
DEVICE int turned(int level, bool negative) { return negative ? -level : level; }

// Levels: IQ1's are eighths that a shift moves by one, IQ2's and IQ3's have a sign.
DEVICE int iq1_level(int digit, bool shift) { return 8 * (digit - 1) + (shift ? -1 : 1); }
DEVICE int iq2_level(int digit) { return digit == 0 ? 8 : digit == 1 ? 25 : 43; }
DEVICE int iq3_xxs_level(int digit) { return digit == 7 ? 62 : 4 + 8 * digit; }
DEVICE int iq3_s_level(int digit) { return 1 + 2 * digit; }

// (d * (2 s + 1) * unit) * level: the product of scales is exact.
DEVICE float of_levels(float d, int scale, float unit, int level) {
  return times(__fmul_rn(times(d, 2 * scale + 1), unit), level);
}

struct Iq1S {
  static constexpr int group = 256, bytes = 50;
  DEVICE static float weight(Bytes p, int i) {
    const int g = i / 32, o = i / 8;
    const unsigned high = word16(p + 34 + 2 * g), point = p[2 + o] | (high >> (3 * (o % 4)) & 7) << 8;
    const int level = iq1_level(digit3(grid_iq1.number[point], i % 8), high >> 15 != 0);
    return of_levels(scale16(p), static_cast<int>(high >> 12 & 7), 0.125f, level);
  }
};
struct Iq1M {
  static constexpr int group = 256, bytes = 56;
  DEVICE static float weight(Bytes p, int i) {
    const int o = i / 8, h = i / 16;
    const unsigned high = static_cast<unsigned>(nibble_of(p + 32, o)), point = p[o] | (high & 7) << 8;
    const int level = iq1_level(digit3(grid_iq1.number[point], i % 8), high >> 3 != 0);
    unsigned d = 0;
    for (int k = 0; k < 4; ++k) d |= static_cast<unsigned>(p[49 + 2 * k] >> 4) << (4 * k);
    const int scale = static_cast<int>(word16(p + 48 + 2 * (h / 4)) >> (3 * (h % 4)) & 7);
    return of_levels(half_to_float(static_cast<unsigned short>(d)), scale, 0.125f, level);
  }
};
struct Iq2Xxs {
  static constexpr int group = 256, bytes = 66;
  DEVICE static float weight(Bytes p, int i) {
    const Bytes eight = p + 2 + 8 * (i / 32);
    const int o = i / 8 % 4;
    const unsigned last = word32(eight + 4);
    const int level = iq2_level(digit3(grid_iq2_xxs.number[eight[o]], i % 8));
    return of_levels(scale16(p), static_cast<int>(last >> 28), 0.125f,
                     turned(level, sign_of(last >> (7 * o) & 127, i % 8)));
  }
};
struct Iq2Xs {
  static constexpr int group = 256, bytes = 74;
  DEVICE static float weight(Bytes p, int i) {
    const unsigned both = word16(p + 2 + 2 * (i / 8));
    const int level = iq2_level(digit3(grid_iq2_xs.number[both & 511], i % 8));
    return of_levels(scale16(p), nibble_of(p + 66, i / 16), 0.125f, turned(level, sign_of(both >> 9, i % 8)));
  }
};
struct Iq2S {
  static constexpr int group = 256, bytes = 82;
  DEVICE static float weight(Bytes p, int i) {
    const int o = i / 8;
    const unsigned point = p[2 + o] | (p[66 + i / 32] >> (2 * (o % 4)) & 3u) << 8;
    const int level = iq2_level(digit3(grid_iq2_s.number[point], i % 8));
    return of_levels(scale16(p), nibble_of(p + 74, i / 16), 0.125f, turned(level, (p[34 + o] >> (i % 8) & 1) != 0));
  }
};
struct Iq3Xxs {
  static constexpr int group = 256, bytes = 98;
  DEVICE static float weight(Bytes p, int i) {
    const int o = i / 8 % 4;
    const unsigned word = word32(p + 66 + 4 * (i / 32));
    const int level = iq3_xxs_level(digit8(grid_iq3_xxs.number[p[2 + i / 4]], i % 4));
    return of_levels(scale16(p), static_cast<int>(word >> 28), 0.25f,
                     turned(level, sign_of(word >> (7 * o) & 127, i % 8)));
  }
};
struct Iq3S {
  static constexpr int group = 256, bytes = 110;
  DEVICE static float weight(Bytes p, int i) {
    const int q = i / 4;
    const unsigned point = p[2 + q] | (static_cast<unsigned>(p[66 + i / 32]) >> (q % 8) & 1u) << 8;
    const int level = iq3_s_level(digit8(grid_iq3_s.number[point], i % 4));
    return of_levels(scale16(p), nibble_of(p + 106, i / 32), 1.0f, turned(level, (p[74 + i / 8] >> (i % 8) & 1) != 0));
  }
};

}  // namespace octavo::gpu::stored

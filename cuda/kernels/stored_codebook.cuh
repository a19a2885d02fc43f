// The formats of the model's file whose weights share codes (cpp/files/codebook.h says how), taken apart as those of
// stored.cuh are. A point of a codebook is a number whose digits are levels, of base 3 or, for IQ3, of 8; a code is a
// digit with the sign above it.
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

DEVICE unsigned digit3(unsigned number, int i) {
  for (; i > 0; --i) number /= 3u;
  return number % 3u;
}
DEVICE unsigned digit8(unsigned number, int i) { return number >> (3 * i) & 7u; }

// Bit i of seven bits of signs and the eighth that makes their number even.
DEVICE unsigned sign_of(unsigned seven, int i) {
  return (i < 7 ? seven >> i : static_cast<unsigned>(__popc(seven))) & 1u;
}
DEVICE unsigned nibble_of(Bytes nibbles, int i) { return nibbles[i / 2] >> (4 * (i % 2)) & 15u; }

struct Iq1S : Block<Packing::levels, 50> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int o = i / 8;
    const unsigned high = word16(p + 34 + 2 * (i / 32)), point = p[2 + o] | (high >> (3 * (o % 4)) & 7u) << 8;
    return digit3(grid_iq1.number[point], i % 8) | high >> 15 << 2;
  }
  DEVICE static unsigned scale(Bytes p, int g, int) { return 2u * (word16(p + 34 + 2 * g) >> 12 & 7u) + 1u; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};
struct Iq1M : Block<Packing::half_levels, 56> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int o = i / 8;
    const unsigned high = nibble_of(p + 32, o), point = p[o] | (high & 7u) << 8;
    return digit3(grid_iq1.number[point], i % 8) | high >> 3 << 2;
  }
  DEVICE static unsigned scale(Bytes p, int g, int field) {
    const int h = 2 * g + field;
    return 2u * (word16(p + 48 + 2 * (h / 4)) >> (3 * (h % 4)) & 7u) + 1u;
  }
  DEVICE static unsigned header(Bytes p, int) {
    unsigned d = 0;
    for (int k = 0; k < 4; ++k) d |= static_cast<unsigned>(p[49 + 2 * k] >> 4) << (4 * k);
    return d;
  }
};
struct Iq2Xxs : Block<Packing::levels, 66> {
  DEVICE static unsigned code(Bytes p, int i) {
    const Bytes eight = p + 2 + 8 * (i / 32);
    const int o = i / 8 % 4;
    return digit3(grid_iq2_xxs.number[eight[o]], i % 8) | sign_of(word32(eight + 4) >> (7 * o) & 127u, i % 8) << 2;
  }
  DEVICE static unsigned scale(Bytes p, int g, int) { return 2u * (word32(p + 6 + 8 * g) >> 28) + 1u; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};
struct Iq2Xs : Block<Packing::half_levels, 74> {
  DEVICE static unsigned code(Bytes p, int i) {
    const unsigned both = word16(p + 2 + 2 * (i / 8));
    return digit3(grid_iq2_xs.number[both & 511u], i % 8) | sign_of(both >> 9, i % 8) << 2;
  }
  DEVICE static unsigned scale(Bytes p, int g, int field) { return 2u * nibble_of(p + 66, 2 * g + field) + 1u; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};
struct Iq2S : Block<Packing::half_levels, 82> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int o = i / 8;
    const unsigned point = p[2 + o] | (p[66 + i / 32] >> (2 * (o % 4)) & 3u) << 8;
    return digit3(grid_iq2_s.number[point], i % 8) | (p[34 + o] >> (i % 8) & 1u) << 2;
  }
  DEVICE static unsigned scale(Bytes p, int g, int field) { return 2u * nibble_of(p + 74, 2 * g + field) + 1u; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};
struct Iq3Xxs : Block<Packing::levels, 98> {
  DEVICE static unsigned code(Bytes p, int i) {
    const unsigned signs = word32(p + 66 + 4 * (i / 32)) >> (7 * (i / 8 % 4)) & 127u;
    return digit8(grid_iq3_xxs.number[p[2 + i / 4]], i % 4) | sign_of(signs, i % 8) << 3;
  }
  DEVICE static unsigned scale(Bytes p, int g, int) { return 2u * (word32(p + 66 + 4 * g) >> 28) + 1u; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};
struct Iq3S : Block<Packing::levels, 110> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int q = i / 4;
    const unsigned point = p[2 + q] | (p[66 + i / 32] >> (q % 8) & 1u) << 8;
    return digit8(grid_iq3_s.number[point], i % 4) | (p[74 + i / 8] >> (i % 8) & 1u) << 3;
  }
  DEVICE static unsigned scale(Bytes p, int g, int) { return 2u * nibble_of(p + 106, g) + 1u; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};

}  // namespace octavo::gpu::stored

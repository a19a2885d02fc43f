#include "files/codebook.h"

#include <array>
#include <bit>
#include <cstring>

#include "files/iq_grids.h"
#include "files/little_endian.h"

namespace octavo {

namespace {


// A point is `digits` levels, a byte each, the first weight's the lowest.
template <std::size_t points, class Point, int digits, int base>
std::array<Point, points> grid(const char* steps) {
  std::array<Point, points> out{};
  unsigned number = 0;
  for (std::size_t i = 0; i < points; ++i) {
    unsigned rest = number;
    for (int digit = 0; digit < digits; ++digit, rest /= base) out[i] |= Point{rest % base} << (8 * digit);
    for (; *steps == '!'; ++steps) number += 28;
    if (*steps != 0) number += static_cast<unsigned>(*steps++ - '#');
  }
  return out;
}
template <std::size_t points>
std::array<std::uint64_t, points> octets(const char* steps) {
  return grid<points, std::uint64_t, 8, 3>(steps);
}
template <std::size_t points>
std::array<std::uint32_t, points> quartets(const char* steps) {
  return grid<points, std::uint32_t, 4, 8>(steps);
}

struct Grids {
  std::array<std::uint64_t, 2048> iq1 = octets<2048>(iq1_s_steps);
  std::array<std::uint64_t, 256> iq2_xxs = octets<256>(iq2_xxs_steps);
  std::array<std::uint64_t, 512> iq2_xs = octets<512>(iq2_xs_steps);
  std::array<std::uint64_t, 1024> iq2_s = octets<1024>(iq2_s_steps);
  std::array<std::uint32_t, 256> iq3_xxs = quartets<256>(iq3_xxs_steps);
  std::array<std::uint32_t, 512> iq3_s = quartets<512>(iq3_s_steps);
};
const Grids& grids() {
  static const Grids all;
  return all;
}

// Eight codes: a point, and signs, of which bit i adds `sign` to code i.
void put_octet(std::uint8_t* codes, std::uint64_t point, unsigned signs, unsigned sign) {
  std::memcpy(codes, &point, 8);
  for (int i = 0; i < 8; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] | ((signs >> i) & 1) * sign);
}
std::uint64_t octet_of(std::uint32_t first, std::uint32_t second) { return first | std::uint64_t{second} << 32; }

// Seven bits and the eighth that makes their number even.
unsigned even_signs(unsigned seven) { return seven | (static_cast<unsigned>(std::popcount(seven)) & 1) << 7; }

int nibble_at(const std::uint8_t* nibbles, int i) { return nibbles[i / 2] >> (4 * (i % 2)) & 15; }

constexpr unsigned sign_of_3_bits = 4, sign_of_4_bits = 8, all_eight = 255;

CodebookGroup group_iq1(Format f, const std::uint8_t* block, int g) {
  CodebookGroup out;
  const std::uint8_t *const points = block + (f == Format::iq1_s ? 2 : 0), *const high = points + 32;
  for (int i = 0; i < 4; ++i) {
    const int o = 4 * g + i;
    unsigned above, shift;
    if (f == Format::iq1_s) {
      const unsigned bits = load_u16(high + 2 * g);
      above = bits >> (3 * i) & 7;
      shift = bits >> 15;
    } else {
      const unsigned bits = static_cast<unsigned>(nibble_at(high, o));
      above = bits & 7;
      shift = bits >> 3;
    }
    put_octet(out.code + 8 * i, grids().iq1[points[o] | above << 8], shift != 0 ? all_eight : 0, sign_of_3_bits);
  }
  for (int h = 0; h < 2; ++h) {
    const int at = 2 * g + h, scale = f == Format::iq1_s ? load_u16(high + 2 * g) >> 12 & 7
                                                         : load_u16(block + 48 + 2 * (at / 4)) >> (3 * (at % 4)) & 7;
    out.factor[h] = 2 * scale + 1;
  }
  return out;
}

CodebookGroup group_iq2(Format f, const std::uint8_t* block, int g) {
  CodebookGroup out;
  const std::uint8_t* const eight = block + 2 + 8 * g;  // of iq2_xxs and iq2_xs: this group's points and signs
  const std::uint8_t* const scales = block + (f == Format::iq2_xs ? 66 : 74);
  const std::uint32_t last = load_u32(eight + 4);
  for (int i = 0; i < 4; ++i) {
    const int o = 4 * g + i;
    std::uint64_t point;
    unsigned signs;
    if (f == Format::iq2_xxs) {
      point = grids().iq2_xxs[eight[i]];
      signs = even_signs(last >> (7 * i) & 127);
    } else if (f == Format::iq2_xs) {
      const unsigned both = load_u16(eight + 2 * i);
      point = grids().iq2_xs[both & 511];
      signs = even_signs(both >> 9);
    } else {
      const unsigned above = block[66 + g] >> (2 * i) & 3u;
      point = grids().iq2_s[block[2 + o] | above << 8];
      signs = block[34 + o];
    }
    put_octet(out.code + 8 * i, point, signs, sign_of_3_bits);
  }
  for (int h = 0; h < 2; ++h) {
    const int scale = f == Format::iq2_xxs ? static_cast<int>(last >> 28) : nibble_at(scales, 2 * g + h);
    out.factor[h] = 2 * scale + 1;
  }
  return out;
}

CodebookGroup group_iq3(Format f, const std::uint8_t* block, int g) {
  CodebookGroup out;
  const std::uint8_t* const points = block + 2 + 8 * g;
  const std::uint32_t word = load_u32(block + 66 + 4 * g);  // iq3_xxs: signs and scale
  for (int i = 0; i < 4; ++i) {
    std::uint64_t point;
    unsigned signs;
    if (f == Format::iq3_xxs) {
      point = octet_of(grids().iq3_xxs[points[2 * i]], grids().iq3_xxs[points[2 * i + 1]]);
      signs = even_signs(word >> (7 * i) & 127);
    } else {
      const unsigned above = block[66 + g];
      point = octet_of(grids().iq3_s[points[2 * i] | (above >> (2 * i) & 1) << 8],
                       grids().iq3_s[points[2 * i + 1] | (above >> (2 * i + 1) & 1) << 8]);
      signs = block[74 + 4 * g + i];
    }
    put_octet(out.code + 8 * i, point, signs, sign_of_4_bits);
  }
  const int scale = f == Format::iq3_xxs ? static_cast<int>(word >> 28) : nibble_at(block + 106, g);
  out.factor[0] = out.factor[1] = 2 * scale + 1;
  return out;
}

}  // namespace

CodebookGroup codebook_group(Format f, const std::uint8_t* block, int g) {
  switch (f) {
    case Format::iq1_s:
    case Format::iq1_m: return group_iq1(f, block, g);
    case Format::iq3_xxs:
    case Format::iq3_s: return group_iq3(f, block, g);
    default: return group_iq2(f, block, g);
  }
}

std::uint16_t codebook_scale(Format f, const std::uint8_t* block) {
  if (f != Format::iq1_m) return load_u16(block);
  unsigned bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<unsigned>(block[48 + 2 * i + 1] >> 4) << (4 * i);
  return static_cast<std::uint16_t>(bits);
}

}  // namespace octavo

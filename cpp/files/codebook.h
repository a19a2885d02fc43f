// The weight formats of GGUF whose weights share codes: eight (IQ3: four) neighbours are a point of a codebook and a
// sign each. Told apart, a weight is one of six (IQ3: sixteen) levels, and a group of 32 is like that of other formats:
//   w = (d * unit * factor[i / 16]) * levels[code[i]]
//
// Blocks of 256; o = 0..31 numbers octets of weights, g = 0..7 groups of 32, h = 0..15 their halves. s: scales of 4
// bits. Unit 1/8 and factor 2 s[h] + 1, or 2 s[g] + 1 for both halves, where nothing else is said.
//   iq2_xxs  f16 d, 8 x (u8 point[4], u32: 7 bits of signs[4], s[g])
//   iq2_xs   f16 d, u16 (9 bits of point, 7 of signs)[32], s[16]
//   iq2_s    f16 d, u8 point[32], u8 signs[32], qh[8], s[16]; bits 2 (o % 4) and on of qh[o / 4] are above a point
//   iq3_xxs  f16 d, u8 point[64], 8 x u32 as in iq2_xxs; unit 1/4
//   iq3_s    f16 d, u8 point[64], qh[8], u8 signs[32], s[8]; the bits of qh[g] are above its 8 points; unit 1
//   iq1_s    f16 d, u8 point[32], u16 qh[8]; of qh[g] 3 bits are above each point, then s[g] (3 bits), then the shift
//   iq1_m    u8 point[32], 4 bits [32], u16 [4]; 3 bits are above a point, then its shift; s[h] are 3 bits each of the
//            words, and d their upper nibbles
// Of seven bits of signs, an eighth makes the number even. A shift adds 1/8 to each level of iq1, or subtracts it.
// (Formats and codebooks: ggml, https://github.com/ggml-org/ggml.)
#pragma once
#include <cstdint>

#include "files/quant.h"

namespace octavo {

// Levels that codes name; the upper half is that of the other sign (iq1: shift). Of eight, unused ones are 0.
inline constexpr std::int8_t iq1_levels[16] = {-7, 1, 9, 0, -9, -1, 7, 0};
inline constexpr std::int8_t iq2_levels[16] = {8, 25, 43, 0, -8, -25, -43, 0};
inline constexpr std::int8_t iq3_xxs_levels[16] = {4,  12,  20,  28,  36,  44,  52,  62,
                                                   -4, -12, -20, -28, -36, -44, -52, -62};
inline constexpr std::int8_t iq3_s_levels[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};
constexpr const std::int8_t (&codebook_levels(Format f))[16] {
  if (f == Format::iq1_s || f == Format::iq1_m) return iq1_levels;
  if (f == Format::iq3_xxs) return iq3_xxs_levels;
  return f == Format::iq3_s ? iq3_s_levels : iq2_levels;
}
constexpr float codebook_unit(Format f) { return f == Format::iq3_s ? 1.0f : f == Format::iq3_xxs ? 0.25f : 0.125f; }

struct CodebookGroup {
  std::uint8_t code[32];
  int factor[2];
};
// Group g of a stored block.
CodebookGroup codebook_group(Format f, const std::uint8_t* block, int g);
// The f16 bits of a block's d.
std::uint16_t codebook_scale(Format f, const std::uint8_t* block);

}  // namespace octavo

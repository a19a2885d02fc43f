// Weight formats as the model's file stores them (cpp/files/quant.h says how), taken apart for the packed layout
// (linear/weight_layout.h). A format is a struct with the weights and bytes of a block, the packing it gets, and of a
// block what is packed: code(block, i) of a weight, scale(block, g, field) of a group, header(block, field). As
// ops/repack.cpp on the host, number by number.
//
// Blocks lie at any address, so 16-bit numbers are put together from bytes.
#pragma once
#include "kernels/device.cuh"
#include "kernels/linear/weight_layout.h"

namespace octavo::gpu::stored {

using Bytes = const unsigned char*;

DEVICE unsigned word16(Bytes p) { return p[0] | static_cast<unsigned>(p[1]) << 8; }
DEVICE unsigned word32(Bytes p) { return word16(p) | word16(p + 2) << 16; }
// Of an f16.
DEVICE unsigned negated16(Bytes p) { return word16(p) ^ 0x8000u; }
// Code i of 16 bytes of nibbles: the low ones, then the high ones.
DEVICE unsigned nibble(Bytes qs, int i) { return i < 16 ? qs[i] & 15u : qs[i - 16] >> 4; }
// Of FP4 the zero without a sign stands for both.
DEVICE unsigned fp4(unsigned code) { return code == 8u ? 0u : code; }

// Formats of which a group is a block, its scale the first two bytes, its minimum the next.
template <Packing P, int block_bytes>
struct Group {
  static constexpr Packing packing = P;
  static constexpr int group = 32, bytes = block_bytes;
  DEVICE static unsigned scale(Bytes p, int, int field) { return word16(p + 2 * field); }
  DEVICE static unsigned header(Bytes, int) { return 0; }
};
// Formats whose blocks of 256 have a header.
template <Packing P, int block_bytes>
struct Block {
  static constexpr Packing packing = P;
  static constexpr int group = 256, bytes = block_bytes;
};

struct Q4_0 : Group<Packing::q4_0, 18> {
  DEVICE static unsigned code(Bytes p, int i) { return nibble(p + 2, i) ^ 8u; }
};
struct Q4_1 : Group<Packing::q4_1, 20> {
  DEVICE static unsigned code(Bytes p, int i) { return nibble(p + 4, i); }
};
struct Q5_0 : Group<Packing::q5_0, 22> {
  DEVICE static unsigned code(Bytes p, int i) { return (nibble(p + 6, i) | (word32(p + 2) >> i & 1u) << 4) ^ 16u; }
};
struct Q5_1 : Group<Packing::q5_1, 24> {
  DEVICE static unsigned code(Bytes p, int i) { return nibble(p + 8, i) | (word32(p + 4) >> i & 1u) << 4; }
};
struct Q8_0 : Group<Packing::q8_0, 34> {
  DEVICE static unsigned code(Bytes p, int i) { return p[2 + i]; }
};
struct Iq4Nl : Group<Packing::iq4_nl, 18> {
  DEVICE static unsigned code(Bytes p, int i) { return nibble(p + 2, i); }
};
struct Mxfp4 : Group<Packing::mxfp4, 17> {
  DEVICE static unsigned code(Bytes p, int i) { return fp4(nibble(p + 1, i)); }
  // 2^(e - 128) as bf16: subnormal below e = 2.
  DEVICE static unsigned scale(Bytes p, int, int) {
    const unsigned e = p[0];
    return (e < 2 ? 0x20u << e : (e - 1) << 7) & 0xFFFFu;
  }
};
struct Nvfp4 {
  static constexpr Packing packing = Packing::nvfp4;
  static constexpr int group = 64, bytes = 36;
  DEVICE static unsigned code(Bytes p, int i) {
    const int j = i % 16;
    const Bytes qs = p + 4 + 8 * (i / 16);
    return fp4(j < 8 ? qs[j] & 15u : qs[j - 8] >> 4);
  }
  // An FP8 E4M3 number without its sign, halved, as f16; 0x7F stands for 0.
  DEVICE static unsigned scale(Bytes p, int g, int field) {
    const unsigned bits = p[2 * g + field], exponent = bits >> 3 & 15u, mantissa = bits & 7u;
    if (bits == 0x7Fu) return 0;
    if (exponent == 0) return float_to_half(__fmul_rn(__uint2float_rn(mantissa), 0x1p-10f));
    return float_to_half(__uint_as_float((exponent + 119) << 23 | mantissa << 20));
  }
  DEVICE static unsigned header(Bytes, int) { return 0; }
};

template <bool five_bits>
struct Q45K : Block<five_bits ? Packing::q5_k : Packing::q4_k, five_bits ? 176 : 144> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int g = i / 32, l = i % 32;
    const unsigned q = p[(five_bits ? 48 : 16) + 32 * (g / 2) + l], low = g % 2 == 0 ? q & 15u : q >> 4;
    return five_bits ? low | (p[16 + l] >> g & 1u) << 4 : low;
  }
  // Six bits.
  DEVICE static unsigned scale(Bytes p, int g, int field) {
    const Bytes scales = p + 4, own = scales + 4 * field;
    if (g < 4) return own[g] & 63u;
    const unsigned low = field == 1 ? scales[g + 4] >> 4 : scales[g + 4] & 15u;
    return low | static_cast<unsigned>(own[g - 4] >> 6) << 4;
  }
  DEVICE static unsigned header(Bytes p, int field) { return field == 0 ? word16(p) : negated16(p + 2); }
};
using Q4K = Q45K<false>;
using Q5K = Q45K<true>;

struct Q6K : Block<Packing::q6_k, 210> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int n = i / 128, q = i / 32 % 4, l = i % 32;
    const unsigned low = p[64 * n + 32 * (q % 2) + l];
    return ((q < 2 ? low & 15u : low >> 4) | (p[128 + 32 * n + l] >> (2 * q) & 3u) << 4) ^ 32u;
  }
  DEVICE static unsigned scale(Bytes p, int g, int field) { return p[192 + 2 * g + field]; }
  DEVICE static unsigned header(Bytes p, int) { return word16(p + 208); }
};
struct Q2K : Block<Packing::q2_k, 84> {
  DEVICE static unsigned code(Bytes p, int i) { return p[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3u; }
  DEVICE static unsigned scale(Bytes p, int g, int field) { return p[2 * g + field]; }
  DEVICE static unsigned header(Bytes p, int field) { return field == 0 ? word16(p + 80) : negated16(p + 82); }
};
struct Q3K : Block<Packing::q3_k, 110> {
  DEVICE static unsigned code(Bytes p, int i) {
    const int l = i % 32;
    return (p[32 + 32 * (i / 128) + l] >> (2 * (i / 32 % 4)) & 3u) | (p[l] >> (i / 32) & 1u) << 2;
  }
  DEVICE static unsigned scale(Bytes p, int g, int field) {
    const int h = 2 * g + field;
    const Bytes scales = p + 96;
    const unsigned low = h < 8 ? scales[h] & 15u : scales[h - 8] >> 4, high = scales[8 + h % 4] >> (2 * (h / 4)) & 3u;
    return ((low | high << 4) - 32u) & 255u;
  }
  DEVICE static unsigned header(Bytes p, int) { return word16(p + 108); }
};
struct Iq4Xs : Block<Packing::levels, 136> {
  DEVICE static unsigned code(Bytes p, int i) { return nibble(p + 8 + 16 * (i / 32), i % 32); }
  DEVICE static unsigned scale(Bytes p, int g, int) {
    const unsigned low = p[4 + g / 2] >> (4 * (g % 2)) & 15u, high = word16(p + 2) >> (2 * g) & 3u;
    return ((low | high << 4) - 32u) & 255u;
  }
  DEVICE static unsigned header(Bytes p, int) { return word16(p); }
};

}  // namespace octavo::gpu::stored

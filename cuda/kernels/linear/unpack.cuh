// From a weight's packed bytes (weight_layout.h) to what a warp multiplies: for a group of 32 and 16 rows, four
// registers of signed bytes (the operand A), and the scales of a lane's two rows. Codes stay shifted up where that
// saves an instruction: the dot is then 2^code_shift times the whole number.
#pragma once
#include "kernels/device.cuh"
#include "kernels/linear/params_linear.h"
#include "kernels/linear/weight_layout.h"

namespace octavo::gpu {

// Codes of 4 or 5 bits with a sign are left at the top of their bytes.
template <Packing P>
constexpr int code_shift = packing<P>.low < 0 && !packing<P>.factors && packing<P>.code_bits == 4
                               ? 8 - packing<P>.code_bits - packing<P>.plane_bits
                               : 0;

// A lane's bytes of one pair of groups, and where its scales begin; either in shared or in global memory.
struct PackedPair {
  const unsigned char* codes;    // of the pair
  const unsigned char* scales;   // of the pair's first group
  const unsigned char* headers;  // of the eight groups
};

DEVICE std::uint32_t load_word(const unsigned char* p) { return *reinterpret_cast<const std::uint32_t*>(p); }

// Bits 0 and up of each byte of a word to bit `to`, of those at bit `from`, masked.
template <int from, int to>
DEVICE std::uint32_t move_bits(std::uint32_t word, std::uint32_t mask) {
  return (from > to ? word >> (from > to ? from - to : 0) : word << (to > from ? to - from : 0)) & mask;
}

// The four values that nibbles 0..3 of `codes` name in a table of 16 bytes.
DEVICE std::uint32_t look_up(std::uint32_t codes, const unsigned (&table)[4]) {
  const std::uint32_t low = __byte_perm(table[0], table[1], codes & 0x7777u);
  const std::uint32_t high = __byte_perm(table[2], table[3], codes & 0x7777u);
  const std::uint32_t is_high = __byte_perm(0x0000FF00u, 0, codes >> 3 & 0x1111u);
  return (low & ~is_high) | (high & is_high);
}

// Registers of 4-bit codes, before tables.
template <Packing P, int group>
DEVICE void unpack_nibbles(const unsigned char* codes, int lane, const unsigned (&table)[4], std::uint32_t (&a)[4]) {
  constexpr PackingTraits t = packing<P>;
  const uint2 words = *reinterpret_cast<const uint2*>(codes + (group * 32 + lane) * 8);
  const std::uint32_t w[2] = {words.x, words.y};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (t.table) {
      a[2 * i] = look_up(w[i], table);
      a[2 * i + 1] = look_up(w[i] >> 16, table);
    } else {
      constexpr int shift = code_shift<P>;
      constexpr std::uint32_t mask = 0x0F0F0F0Fu << shift;
      a[2 * i] = move_bits<0, shift>(w[i], mask);
      a[2 * i + 1] = move_bits<4, shift>(w[i], mask);
    }
  }
}

// One bit above the codes of `bits` bits.
template <Packing P, int group>
DEVICE void add_plane(const unsigned char* plane, int lane, std::uint32_t (&a)[4]) {
  constexpr PackingTraits t = packing<P>;
  constexpr int to = code_shift<P> + t.code_bits;
  if (t.plane_bits == 1) {
    const std::uint32_t word = load_word(plane + lane * 4);
    constexpr std::uint32_t mask = 0x01010101u << to;
    a[0] |= move_bits<4 * group, to>(word, mask);
    a[1] |= move_bits<4 * group + 1, to>(word, mask);
    a[2] |= move_bits<4 * group + 2, to>(word, mask);
    a[3] |= move_bits<4 * group + 3, to>(word, mask);
  } else {
    const std::uint32_t word = load_word(plane + (group * 32 + lane) * 4);
    constexpr std::uint32_t mask = 0x03030303u << to;
    a[0] |= move_bits<0, to>(word, mask);
    a[1] |= move_bits<2, to>(word, mask);
    a[2] |= move_bits<4, to>(word, mask);
    a[3] |= move_bits<6, to>(word, mask);
  }
}

// What a lane needs besides codes: of each of its rows lane / 4 and lane / 4 + 8 (index r).
template <Packing P>
struct GroupScales {
  float scale[packing<P>.dots][2];
  float minimum[packing<P>.minima == 0 ? 1 : packing<P>.minima][2];
  unsigned factor[2][2];  // of the halves, as bytes
};

template <Packing P, int group>
DEVICE GroupScales<P> load_scales(const PackedPair& pair, int lane, float unit) {
  constexpr PackingTraits t = packing<P>;
  constexpr int fields = scale_fields(t.scales);
  const int row = lane / 4;
  const unsigned char* const at = pair.scales + group * scale_bytes(t.scales) + row * (scale_bytes(t.scales) / 8);
  GroupScales<P> s;
  float2 header[2] = {};
#pragma unroll
  for (int i = 0; i < t.header_fields; ++i)
    header[i] = half2_to_float2(load_word(pair.headers + (row * t.header_fields + i) * 4));
  const float d[2] = {header[0].x, header[0].y}, dm[2] = {header[1].x, header[1].y};
  if (t.scales == Scales::f16 || t.scales == Scales::f16_minimum || t.scales == Scales::f16_halves) {
    float2 values[2] = {};
#pragma unroll
    for (int i = 0; i < fields; ++i) values[i] = half2_to_float2(load_word(at + 4 * i));
    s.scale[0][0] = values[0].x;
    s.scale[0][1] = values[0].y;
    float(&second)[2] = t.scales == Scales::f16_halves ? s.scale[t.dots - 1] : s.minimum[0];
    if (fields == 2) {
      second[0] = values[1].x;
      second[1] = values[1].y;
    }
    return s;
  }
  if (t.scales == Scales::bf16) {
    const std::uint32_t both = load_word(at);
    s.scale[0][0] = __uint_as_float(both << 16);
    s.scale[0][1] = __uint_as_float(both & 0xFFFF0000u);
    return s;
  }
  const unsigned bytes = fields == 2 ? load_word(at) : *reinterpret_cast<const unsigned short*>(at);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const unsigned first = bytes >> (8 * r) & 255u, second = bytes >> (16 + 8 * r) & 255u;
    if (t.scales == Scales::u8_minimum) {
      s.scale[0][r] = __fmul_rn(d[r], __uint2float_rn(first));
      s.minimum[0][r] = __fmul_rn(dm[r], __uint2float_rn(second));
    } else if (t.scales == Scales::nibbles_halves) {
      s.scale[0][r] = d[r];
      s.factor[0][r] = first & 15u;
      s.factor[1][r] = second & 15u;
      s.minimum[0][r] = __fmul_rn(dm[r], __uint2float_rn(first >> 4));
      s.minimum[t.minima - 1][r] = __fmul_rn(dm[r], __uint2float_rn(second >> 4));
    } else if (t.factors) {
      s.scale[0][r] = -d[r];
      s.factor[0][r] = first;
      s.factor[1][r] = second;
    } else {
      const float own = t.table ? __fmul_rn(d[r], unit) : d[r];  // exact, as all of these products are
      s.scale[0][r] = __fmul_rn(own, __int2float_rn(static_cast<signed char>(first)));
      if (t.dots == 2) s.scale[1][r] = __fmul_rn(own, __int2float_rn(static_cast<signed char>(second)));
    }
  }
  return s;
}

// Codes times a whole number, byte by byte modulo 256: products in 16 bits do not reach each other.
DEVICE std::uint32_t multiply_bytes(std::uint32_t codes, unsigned factor) {
  const std::uint32_t even = (codes & 0x00FF00FFu) * factor, odd = (codes >> 8 & 0x00FF00FFu) * factor;
  return __byte_perm(even, odd, 0x6240);
}

// The operand A of a group: 2^code_shift times the codes, times their factors where the format has such.
template <Packing P, int group>
DEVICE void unpack_s8(const PackedPair& pair, int lane, const GroupScales<P>& scales, const unsigned (&table)[4],
                      std::uint32_t (&a)[4]) {
  constexpr PackingTraits t = packing<P>;
  if (t.code_bits == 8) {
    const uint4 words = *reinterpret_cast<const uint4*>(pair.codes + (group * 32 + lane) * 16);
    a[0] = words.x;
    a[1] = words.y;
    a[2] = words.z;
    a[3] = words.w;
    return;
  }
  if (t.code_bits == 4) {
    unpack_nibbles<P, group>(pair.codes, lane, table, a);
  } else {
    const std::uint32_t word = load_word(pair.codes + (group * 32 + lane) * 4);
    a[0] = move_bits<0, 0>(word, 0x03030303u);
    a[1] = move_bits<2, 0>(word, 0x03030303u);
    a[2] = move_bits<4, 0>(word, 0x03030303u);
    a[3] = move_bits<6, 0>(word, 0x03030303u);
  }
  if (t.plane_bits > 0) add_plane<P, group>(pair.codes + 128 * t.code_bits, lane, a);
  if (P == Packing::q2_k) {
#pragma unroll
    for (int r = 0; r < 4; ++r) a[r] *= scales.factor[r / 2][r % 2];  // at most 45 in a byte
  }
  if (P == Packing::q3_k) {  // sc * (4 - c): the dot of docs/numerics.md with its sign
#pragma unroll
    for (int r = 0; r < 4; ++r) a[r] = multiply_bytes((0x84848484u - a[r]) ^ 0x80808080u, scales.factor[r / 2][r % 2]);
  }
}

}  // namespace octavo::gpu

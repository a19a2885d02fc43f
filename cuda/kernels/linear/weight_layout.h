// Layout of quantised weights on the device: one for all kernels. Rows are cut into blocks of 16, the operand A of the
// matrix product (fragments.h); missing rows and groups are zeros.
//
//   codes    [row block][pair of groups][...]   a pair (64 elements), so that 32 lanes read bytes without a gap:
//              4 bits   [group][lane][word w]: byte i of word w has the code of register 2 w (low nibble) and 2 w + 1
//                       (high); with a table: nibble i of word w is byte i of register 2 w, nibble 4 + i of 2 w + 1
//              8 bits   [group][lane][register]
//              2 bits   [group][lane]: bits 2 r, 2 r + 1 of byte i are the code of byte i of register r
//            then planes of higher bits:
//              1 bit    [lane]: bit 4 group + r of byte i belongs to byte i of register r
//              2 bits   as codes of 2 bits
//   scales   [row block][group][row % 8][field][row / 8]     fields: what the table below says
//   headers  [row block][8 groups][row % 8][field][row / 8]  f16: d, and where there is a minimum -dm
//
// Codes are two's complement where the format subtracts an offset (but for q3_k), and name values of a table of 16
// where it has one. Those of IQ1, IQ2 and IQ3 name levels (cpp/files/codebook.h), with d * factor * unit for a scale:
// four bits each, so that IQ1 and IQ2 take twice their file's memory; others take what the file does, or up to 1/9 more.
#pragma once
#include <cstddef>

#include "kernels/linear/fragments.h"

namespace octavo::gpu {

enum class Packing : int {
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q4_k,
  q5_k,
  q6_k,
  q2_k,
  q3_k,
  iq4_nl,
  mxfp4,
  nvfp4,
  levels,
  half_levels
};
constexpr int packing_count = 15;

enum class Scales : int {
  f16,             // d
  bf16,            // d
  f16_minimum,     // d, m
  f16_halves,      // d of the first 16 elements, of the last 16
  u8_minimum,      // sc, mn
  i8,              // sc
  i8_halves,       // sc of the first 16 elements, of the last 16
  nibbles_halves,  // u8 (sc, mn) of the first 16 elements, of the last 16
};

struct PackingTraits {
  const char* name;
  int code_bits, plane_bits;
  int low;     // the least code; below 0 the codes are two's complement
  bool table;  // codes name values
  Scales scales;
  int header_fields;
  int dots;      // 2: the halves of a group are summed apart
  int minima;    // of a group: 0, 1, or 2 for its halves
  bool factors;  // scales of halves enter the dot
};

constexpr PackingTraits packing_table[packing_count] = {
    {"q4_0", 4, 0, -8, false, Scales::f16, 0, 1, 0, false},
    {"q4_1", 4, 0, 0, false, Scales::f16_minimum, 0, 1, 1, false},
    {"q5_0", 4, 1, -16, false, Scales::f16, 0, 1, 0, false},
    {"q5_1", 4, 1, 0, false, Scales::f16_minimum, 0, 1, 1, false},
    {"q8_0", 8, 0, -128, false, Scales::f16, 0, 1, 0, false},
    {"q4_k", 4, 0, 0, false, Scales::u8_minimum, 2, 1, 1, false},
    {"q5_k", 4, 1, 0, false, Scales::u8_minimum, 2, 1, 1, false},
    {"q6_k", 4, 2, -32, false, Scales::i8_halves, 1, 2, 0, false},
    {"q2_k", 2, 0, 0, false, Scales::nibbles_halves, 2, 1, 2, true},
    {"q3_k", 2, 1, 0, false, Scales::i8_halves, 1, 1, 0, true},
    {"iq4_nl", 4, 0, 0, true, Scales::f16, 0, 1, 0, false},
    {"mxfp4", 4, 0, 0, true, Scales::bf16, 0, 1, 0, false},
    {"nvfp4", 4, 0, 0, true, Scales::f16_halves, 0, 2, 0, false},
    {"levels", 4, 0, 0, true, Scales::i8, 1, 1, 0, false},
    {"half_levels", 4, 0, 0, true, Scales::i8_halves, 1, 2, 0, false},
};
template <Packing P>
constexpr PackingTraits packing = packing_table[static_cast<int>(P)];

constexpr int header_groups = 8;  // groups that share a header

HOST_AND_DEVICE constexpr int scale_bytes(Scales s) {  // of a group
  return s == Scales::i8                                       ? row_block
         : s == Scales::f16_minimum || s == Scales::f16_halves ? 4 * row_block
                                                               : 2 * row_block;
}
HOST_AND_DEVICE constexpr bool has_byte_scales(Scales s) {
  return s == Scales::u8_minimum || s == Scales::i8 || s == Scales::i8_halves || s == Scales::nibbles_halves;
}
HOST_AND_DEVICE constexpr int scale_fields(Scales s) {  // of a row, 1 or 2
  return scale_bytes(s) / row_block / (has_byte_scales(s) ? 1 : 2);
}
HOST_AND_DEVICE constexpr int pair_bytes(const PackingTraits& p) {
  return row_block * 2 * group_size * (p.code_bits + p.plane_bits) / 8;
}
HOST_AND_DEVICE constexpr int header_bytes(const PackingTraits& p) { return p.header_fields * 2 * row_block; }

// The parts of a weight of n rows and k columns, one behind the other.
struct WeightParts {
  std::size_t scales_at, headers_at, bytes;
};
constexpr WeightParts weight_parts(const PackingTraits& p, long long n, long long k) {
  const auto whole = [](std::size_t bytes) { return (bytes + 255) / 256 * 256; };
  const std::size_t blocks = static_cast<std::size_t>((n + row_block - 1) / row_block);
  const std::size_t groups = static_cast<std::size_t>(padded_groups(static_cast<int>(k / group_size)));
  WeightParts parts{};
  parts.scales_at = whole(blocks * (groups / 2) * static_cast<std::size_t>(pair_bytes(p)));
  parts.headers_at = parts.scales_at + whole(blocks * groups * static_cast<std::size_t>(scale_bytes(p.scales)));
  parts.bytes = parts.headers_at + whole(blocks * ((groups + header_groups - 1) / header_groups) *
                                         static_cast<std::size_t>(header_bytes(p)));
  return parts;
}

// ---- float formats: [row block][16 bytes of k][row], so that 32 lanes of 32 rows read 512 bytes at once --------------
constexpr int float_row_block = 32;
HOST_AND_DEVICE constexpr int float_chunk(int value_bytes) { return 16 / value_bytes; }  // elements in 16 bytes
constexpr std::size_t float_weight_bytes(int value_bytes, long long n, long long k) {
  const long long chunks = (k + float_chunk(value_bytes) - 1) / float_chunk(value_bytes);
  return static_cast<std::size_t>((n + float_row_block - 1) / float_row_block * float_row_block * chunks * 16);
}

}  // namespace octavo::gpu

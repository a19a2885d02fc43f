// Layout of the weight formats whose codes are nibbles or pairs of bits with something beside them: high bits, a table,
// or scales of scales. It keeps the file's values in the file's bytes or a few percent more. A tile
// (cpp/cpu/isa/kernels.h) is a row of runs; a run is a header for all of its groups (a whole stored block of the file)
// and then, per group of 32:
//   codes    [vector][half 0..1][row 16][4]; code vector v = 0..7 holds k = 4v + i.
//            4 bits, as q4: vector j holds code vectors j (low nibbles) and 4 + j (high)
//            2 bits: bits 2u and 2u + 1 of vector j are code vector 4j + u
//   planes   [plane][half 0..1][row 16][4] the bits above. One plane: bit v belongs to code vector v. Two: of plane p,
//            bits 2u and 2u + 1 belong to vector 4p + u
//   scales   32 rows of what the table below says
//
//   format  bits+planes  scales of a group                 header of 8 groups      bytes a group   in the file
//   q5_0    4+1          f16 d                             -                       704             704
//   q5_1    4+1          f16 d, f16 m                      -                       768             768
//   q4_k    4            u8 sc, u8 mn                      f16 d, f16 -dm          592             576
//   q5_k    4+1          u8 sc, u8 mn                      f16 d, f16 -dm          720             704
//   q6_k    4+2          i8 sc (k < 16), i8 sc (k >= 16)   f16 d                   840             840
//   iq4_nl  4            f16 d                             -                       576             576
//   mxfp4   4            bf16 d (a power of two: exact)    -                       576             544
//   q2_k    2            [row][half of k] (sc, mn)         f16 d, f16 -dm          336             336
//   q3_k    2+1          [row][half of k] i8 -sc           f16 -d                  456             440
//   iq4_xs  4            -                                 f16 d, i8 sc[8 groups]  552             544
//   iq3_*   4            -                                 as iq4_xs               552             392, 440
//   iq2_xxs 2+1          -                                 as iq4_xs               424             264
//   iq2_*   2+1          i8 sc, i8 sc, as q6_k             f16 d                   456             296, 328
//   iq1_s   2+1          -                                 as iq4_xs               424             200
//   iq1_m   2+1          as iq2_xs                         f16 d                   456             224
//   nvfp4   4            f16 d (k < 16), f16 d (k >= 16)   -                       640             576
//
// Codes of the IQ formats are levels (cpp/files/codebook.h), no points of codebooks: a kernel then looks them up in a
// register as those of iq4_nl, where a point would cost a load for every eight weights. That is why IQ1 and IQ2 take
// more memory than their files.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cpu/isa/kernels.h"
#include "files/quant.h"

namespace octavo::cpu {

struct PackedLayout {
  int code_bits, planes;
  std::size_t scale_bytes;    // of a group
  std::size_t header_bytes;   // of a run
  int run_groups;
  constexpr std::size_t plane_at() const { return static_cast<std::size_t>(code_bits) * 128; }
  constexpr std::size_t scales_at() const { return plane_at() + static_cast<std::size_t>(planes) * 128; }
  constexpr std::size_t group_bytes() const { return scales_at() + scale_bytes; }
  constexpr std::size_t run_bytes() const {
    return header_bytes + static_cast<std::size_t>(run_groups) * group_bytes();
  }
};

constexpr bool is_packed(Format f) { return f >= Format::q5_0; }

// Where the scales of groups begin in a header that has them.
inline constexpr std::size_t header_scales_at = 64;
constexpr bool scales_in_header(Format f) {
  return f == Format::iq4_xs || (has_codebook(f) && !has_two_dots(f));
}

constexpr PackedLayout packed_layout(Format f) {
  switch (f) {
    case Format::q5_0: return {4, 1, 64, 0, 1};
    case Format::q5_1: return {4, 1, 128, 0, 1};
    case Format::q4_k: return {4, 0, 64, 128, 8};
    case Format::q5_k: return {4, 1, 64, 128, 8};
    case Format::q6_k: return {4, 2, 64, 64, 8};
    case Format::q2_k: return {2, 0, 64, 128, 8};
    case Format::q3_k: return {2, 1, 64, 64, 8};
    case Format::iq4_xs:
    case Format::iq3_xxs:
    case Format::iq3_s: return {4, 0, 0, header_scales_at + 8 * tile_rows, 8};
    case Format::iq2_xxs:
    case Format::iq1_s: return {2, 1, 0, header_scales_at + 8 * tile_rows, 8};
    case Format::iq2_xs:
    case Format::iq2_s:
    case Format::iq1_m: return {2, 1, 64, 64, 8};
    case Format::nvfp4: return {4, 0, 128, 0, 2};
    default: return {4, 0, 64, 0, 1};  // iq4_nl, mxfp4
  }
}

// What an unsigned code is above the weight's own whole number.
constexpr int packed_offset(Format f) {
  return f == Format::q5_0 ? 16 : f == Format::q6_k ? 32 : f == Format::q3_k ? 4 : 0;
}

// Formats that few files have: only a single token is multiplied with the tile as it is, for more the tile is unpacked. A
// kernel for every number of tokens would be a third of the library.
constexpr bool unpacked_from_two(Format f) { return f == Format::nvfp4 || (has_codebook(f) && f != Format::iq4_xs); }

// A group once unpacked for many panels (linear_unpacked.inc).
inline constexpr std::size_t unpacked_codes_bytes = 1024, unpacked_scales_bytes = 4 * tile_rows;
constexpr std::size_t unpacked_group_bytes(Format f) {
  const int scales = (has_two_dots(f) ? 2 : 1) + (has_two_minima(f) ? 2 : has_minimum(f) ? 1 : 0);
  return unpacked_codes_bytes + static_cast<std::size_t>(scales) * unpacked_scales_bytes;
}

// Group g of a stored row into lane `lane` of a tile, and back as f32 (docs/numerics.md, "embed").
void packed_store(Format f, std::uint8_t* tile, int lane, std::size_t g, const std::uint8_t* row);
void packed_read(Format f, const std::uint8_t* tile, int lane, std::size_t g, float* out);

}  // namespace octavo::cpu

// One weight of the packed layout (weight_layout.h) as f32 (docs/numerics.md, "embed"): what ops/repack.h put there,
// read back. For what reads few weights of a table: linear's kernels take whole fragments (unpack.cuh).
#pragma once
#include "kernels/device.cuh"
#include "kernels/linear/params_linear.h"
#include "kernels/linear/weight_layout.h"

namespace octavo::gpu {

// The bits of a code, as they are kept: those of the planes above the others.
template <Packing P>
DEVICE int packed_bits(const unsigned char* pair, int row, int group, int element) {
  constexpr PackingTraits t = packing<P>;
  const FragmentPlace at = weight_place(row, element);
  const int slot = group * 32 + at.lane;
  if (t.code_bits == 8) return pair[slot * 16 + at.reg * 4 + at.byte];
  int code;
  if (t.code_bits == 2) {
    code = pair[slot * 4 + at.byte] >> (2 * at.reg) & 3;
  } else {
    const unsigned char* const word = pair + slot * 8 + at.reg / 2 * 4;
    const int byte = t.table ? word[at.reg % 2 * 2 + at.byte / 2] : word[at.byte];
    code = byte >> (4 * (t.table ? at.byte % 2 : at.reg % 2)) & 15;
  }
  const unsigned char* const plane = pair + 128 * t.code_bits;
  if (t.plane_bits == 1) code |= (plane[at.lane * 4 + at.byte] >> (4 * group + at.reg) & 1) << t.code_bits;
  if (t.plane_bits == 2) code |= (plane[slot * 4 + at.byte] >> (2 * at.reg) & 3) << t.code_bits;
  return code;
}

// What the code stands for, a whole number.
template <Packing P>
DEVICE int packed_code(const PackedWeight& w, const unsigned char* pair, int row, int group, int element) {
  constexpr PackingTraits t = packing<P>;
  constexpr int unused = 32 - t.code_bits - t.plane_bits;
  const int bits = packed_bits<P>(pair, row, group, element);
  if (P == Packing::q3_k) return bits - 4;
  if (t.table && t.code_bits == 4) return static_cast<signed char>(w.table[bits / 4] >> (8 * (bits % 4)) & 255u);
  if (t.low >= 0) return bits;
  return static_cast<int>(static_cast<unsigned>(bits) << unused) >> unused;
}

// Field i of a group's scales, or of a header, of one row.
DEVICE unsigned packed_field16(const unsigned char* at, int fields, int row, int i) {
  return *reinterpret_cast<const unsigned short*>(at + ((row % 8 * fields + i) * 2 + row / 8) * 2);
}
DEVICE unsigned packed_field8(const unsigned char* at, int fields, int row, int i) {
  return at[(row % 8 * fields + i) * 2 + row / 8];
}
DEVICE float packed_half(const unsigned char* at, int fields, int row, int i) {
  return half_to_float(static_cast<unsigned short>(packed_field16(at, fields, row, i)));
}

template <Packing P>
DEVICE float packed_value(const PackedWeight& w, int row, int k) {
  constexpr PackingTraits t = packing<P>;
  constexpr int fields = scale_fields(t.scales);
  const long long block = row / row_block, groups = padded_groups(w.groups);
  const long long headers = (groups + header_groups - 1) / header_groups;
  const int in_block = row % row_block, group = k / group_size, element = k % group_size, half = element / 16;
  const unsigned char* const pair = w.codes + (block * (groups / 2) + group / 2) * pair_bytes(t);
  const unsigned char* const scales = w.scales + (block * groups + group) * scale_bytes(t.scales);
  const unsigned char* const header = w.headers + (block * headers + group / header_groups) * header_bytes(t);
  const float code = static_cast<float>(packed_code<P>(w, pair, in_block, group % 2, element));

  if (t.scales == Scales::bf16)
    return __fmul_rn(bf16_to_float(static_cast<unsigned short>(packed_field16(scales, 1, in_block, 0))), code);
  if (t.scales == Scales::f16 || t.scales == Scales::f16_halves)
    return __fmul_rn(packed_half(scales, fields, in_block, fields == 2 ? half : 0), code);
  if (t.scales == Scales::f16_minimum)
    return __fmaf_rn(packed_half(scales, 2, in_block, 0), code, packed_half(scales, 2, in_block, 1));

  const float d = packed_half(header, t.header_fields, in_block, 0);
  if (t.scales == Scales::u8_minimum || t.scales == Scales::nibbles_halves) {
    const float minus_dm = packed_half(header, t.header_fields, in_block, 1);
    unsigned scale = packed_field8(scales, fields, in_block, t.scales == Scales::u8_minimum ? 0 : half), minimum;
    if (t.scales == Scales::u8_minimum) {
      minimum = packed_field8(scales, fields, in_block, 1);
    } else {
      minimum = scale >> 4;
      scale &= 15u;
    }
    return __fmaf_rn(__fmul_rn(d, __uint2float_rn(scale)), code, __fmul_rn(minus_dm, __uint2float_rn(minimum)));
  }
  const int scale = static_cast<signed char>(packed_field8(scales, fields, in_block, fields == 2 ? half : 0));
  const float own = t.table && t.code_bits == 4 ? __fmul_rn(d, w.unit) : d;  // exact
  return __fmul_rn(__fmul_rn(own, __int2float_rn(scale)), code);
}

// Of a float format, `bytes` a number.
template <int bytes>
DEVICE const unsigned char* float_place(const PackedWeight& w, int row, int k, int columns) {
  constexpr int chunk = float_chunk(bytes);
  const long long chunks = (columns + chunk - 1) / chunk;
  const long long at = (row / float_row_block * chunks + k / chunk) * float_row_block + row % float_row_block;
  return w.codes + at * 16 + k % chunk * bytes;
}

}  // namespace octavo::gpu

#include "cpu/linear/packed.h"

#include <cmath>
#include <cstring>

#include "files/codebook.h"
#include "files/little_endian.h"

namespace octavo::cpu {

namespace {

constexpr std::uint32_t low_nibbles = 0x0F0F0F0Fu;

float load_f16(const std::uint8_t* p) { return f16_to_f32(load_u16(p)); }
float load_bf16(const std::uint8_t* p) {
  const std::uint16_t v = load_u16(p);
  return bf16_to_f32(v);
}

// A row's dword of vector j (of 4) of codes or of a plane.
std::size_t vector_at(int lane, int j) { return static_cast<std::size_t>((2 * j + lane / 16) * 64 + lane % 16 * 4); }

// Four codes a word, code 4v + i in byte i of word v: their low four bits, and the bits above.
struct Codes {
  std::uint32_t low[8], high[8];
};

void split_nibbles(Codes& codes, const std::uint8_t* qs) {
  for (int j = 0; j < 4; ++j) {
    const std::uint32_t both = load_u32(qs + 4 * j);
    codes.low[j] = both & low_nibbles;
    codes.low[4 + j] = (both >> 4) & low_nibbles;
  }
}

// Group g's pairs of bits of a block of 256, as q2_k and q3_k store them.
void split_pairs(Codes& codes, const std::uint8_t* qs, int g) {
  for (int v = 0; v < 8; ++v) codes.low[v] = (load_u32(qs + 32 * (g / 4) + 4 * v) >> (2 * (g % 4))) & 0x03030303u;
}

void spread_bits(Codes& codes, std::uint32_t bits) {
  // The product puts bit i of four at bit 8 i; the copies do not meet.
  for (int v = 0; v < 8; ++v) codes.high[v] = ((bits >> (4 * v) & 15u) * 0x00204081u) & 0x01010101u;
}

// Codes of a codebook format: a level's lower bits and the one above.
Codes split_levels(const PackedLayout& layout, const std::uint8_t* codes) {
  Codes out{};
  for (int v = 0; v < 8; ++v) {
    const std::uint32_t four = load_u32(codes + 4 * v);
    out.low[v] = layout.code_bits == 4 ? four : four & 0x03030303u;
    out.high[v] = layout.code_bits == 4 ? 0 : four >> 2 & 0x01010101u;
  }
  return out;
}

// Both sixteens of group g of an nvfp4 block.
void split_sixteens(Codes& codes, const std::uint8_t* qs) {
  for (int j = 0; j < 8; ++j) {
    const std::uint32_t both = load_u32(qs + 8 * (j / 4) + 4 * (j % 2));
    codes.low[j] = both >> (j % 4 / 2 * 4) & low_nibbles;
  }
}

Codes codes_of(Format f, const std::uint8_t* block, int g) {
  if (has_codebook(f)) return split_levels(packed_layout(f), codebook_group(f, block, g).code);
  Codes codes{};
  switch (f) {
    case Format::q5_0:
      split_nibbles(codes, block + 6);
      spread_bits(codes, load_u32(block + 2));
      break;
    case Format::q5_1:
      split_nibbles(codes, block + 8);
      spread_bits(codes, load_u32(block + 4));
      break;
    case Format::q4_k:
    case Format::q5_k:
      for (int v = 0; v < 8; ++v) {
        const std::uint8_t* const qs = block + (f == Format::q5_k ? 48 : 16) + 32 * (g / 2);
        codes.low[v] = (load_u32(qs + 4 * v) >> (4 * (g % 2))) & low_nibbles;
        if (f == Format::q5_k) codes.high[v] = (load_u32(block + 16 + 4 * v) >> g) & 0x01010101u;
      }
      break;
    case Format::q6_k:
      for (int v = 0; v < 8; ++v) {
        const int n = g / 4, q = g % 4;
        codes.low[v] = (load_u32(block + 64 * n + 32 * (q % 2) + 4 * v) >> (4 * (q / 2))) & low_nibbles;
        codes.high[v] = (load_u32(block + 128 + 32 * n + 4 * v) >> (2 * q)) & 0x03030303u;
      }
      break;
    case Format::q2_k: split_pairs(codes, block + 16, g); break;
    case Format::q3_k:
      split_pairs(codes, block + 32, g);
      for (int v = 0; v < 8; ++v) codes.high[v] = (load_u32(block + 4 * v) >> g) & 0x01010101u;
      break;
    case Format::iq4_xs: split_nibbles(codes, block + 8 + 16 * g); break;
    case Format::mxfp4: split_nibbles(codes, block + 1); break;
    case Format::nvfp4: split_sixteens(codes, block + 4 + 16 * g); break;
    default: split_nibbles(codes, block + 2); break;
  }
  return codes;
}

void store_codes(const PackedLayout& layout, std::uint8_t* to, int lane, const Codes& codes) {
  for (int j = 0; j < layout.code_bits; ++j) {
    std::uint32_t word = 0;
    if (layout.code_bits == 4) word = codes.low[j] | codes.low[4 + j] << 4;
    else
      for (int u = 0; u < 4; ++u) word |= codes.low[4 * j + u] << (2 * u);
    std::memcpy(to + vector_at(lane, j), &word, 4);
  }
  for (int p = 0; p < layout.planes; ++p) {
    const int bits = layout.planes, per_plane = 8 / bits;
    std::uint32_t plane = 0;
    for (int u = 0; u < per_plane; ++u) plane |= codes.high[p * per_plane + u] << (bits * u);
    std::memcpy(to + layout.plane_at() + vector_at(lane, p), &plane, 4);
  }
}

// The 6-bit scale and minimum of group g, as 12 bytes pack them (cpp/files/quant.h).
void store_packed_scales(std::uint8_t* to, int lane, const std::uint8_t* packed, int g) {
  const std::uint32_t d = load_u32(packed), m = load_u32(packed + 4), rest = load_u32(packed + 8);
  const int shift = 8 * (g % 4);
  std::uint32_t scale = d >> shift & 63u, minimum = m >> shift & 63u;
  if (g >= 4) {
    scale = (rest >> shift & 15u) | (d >> (shift + 6) & 3u) << 4;
    minimum = (rest >> (shift + 4) & 15u) | (m >> (shift + 6) & 3u) << 4;
  }
  to[lane] = static_cast<std::uint8_t>(scale);
  to[32 + lane] = static_cast<std::uint8_t>(minimum);
}

// Of group g of a q3_k block, 32 - sc: the scale with its sign turned over (the header's d is turned over too), so that
// it times a code of -4..3 fits a signed byte.
void store_negative_scales(std::uint8_t* to, int lane, const std::uint8_t* packed, int g) {
  for (int h = 0; h < 2; ++h) {
    const int i = 2 * g + h, low = packed[i % 8] >> (4 * (i / 8)) & 15, high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
    to[2 * lane + h] = static_cast<std::uint8_t>(32 - (low | high << 4));
  }
}

void store_codebook_scales(Format f, std::uint8_t* header, std::uint8_t* scales, int lane, int g,
                           const std::uint8_t* block) {
  const CodebookGroup stored = codebook_group(f, block, g);
  if (scales_in_header(f)) scales = header + header_scales_at + 32 * g;
  scales[lane] = static_cast<std::uint8_t>(stored.factor[0]);
  if (has_two_dots(f)) scales[32 + lane] = static_cast<std::uint8_t>(stored.factor[1]);
  const std::uint16_t d = codebook_scale(f, block);
  if (g == 0) std::memcpy(header + 2 * lane, &d, 2);
}

void store_scales(Format f, std::uint8_t* header, std::uint8_t* scales, int lane, int g, const std::uint8_t* block) {
  if (has_codebook(f)) return store_codebook_scales(f, header, scales, lane, g, block);
  switch (f) {
    case Format::q4_k:
    case Format::q5_k:
      store_packed_scales(scales, lane, block + 4, g);
      if (g != 0) return;
      std::memcpy(header + 2 * lane, block, 2);
      std::memcpy(header + 64 + 2 * lane, block + 2, 2);
      header[64 + 2 * lane + 1] ^= 0x80;  // the minimum is subtracted: its sign, once for all
      return;
    case Format::q6_k:
      scales[lane] = block[192 + 2 * g];
      scales[32 + lane] = block[192 + 2 * g + 1];
      if (g == 0) std::memcpy(header + 2 * lane, block + 208, 2);
      return;
    case Format::q2_k:
      std::memcpy(scales + 2 * lane, block + 2 * g, 2);
      if (g != 0) return;
      std::memcpy(header + 2 * lane, block + 80, 2);
      std::memcpy(header + 64 + 2 * lane, block + 82, 2);
      header[64 + 2 * lane + 1] ^= 0x80;
      return;
    case Format::q3_k:
      store_negative_scales(scales, lane, block + 96, g);
      if (g != 0) return;
      std::memcpy(header + 2 * lane, block + 108, 2);
      header[2 * lane + 1] ^= 0x80;
      return;
    case Format::iq4_xs: {
      const int low = block[4 + g / 2] >> (4 * (g % 2)) & 15, high = block[2 + g / 4] >> (2 * (g % 4)) & 3;
      header[header_scales_at + static_cast<std::size_t>(32 * g + lane)] =
          static_cast<std::uint8_t>((low | high << 4) - 32);
      if (g == 0) std::memcpy(header + 2 * lane, block, 2);
      return;
    }
    case Format::mxfp4: {
      const int e = block[0];  // 2^(e - 128); below 2^-126 as a subnormal
      const std::uint16_t power = static_cast<std::uint16_t>(e < 2 ? 0x20 << e : (e - 1) << 7);
      std::memcpy(scales + 2 * lane, &power, 2);
      return;
    }
    case Format::nvfp4:
      for (int h = 0; h < 2; ++h) {
        const std::uint16_t d = half_ue4m3_to_f16(block[2 * g + h]);
        std::memcpy(scales + 64 * h + 2 * lane, &d, 2);
      }
      return;
    case Format::q5_1: std::memcpy(scales + 64 + 2 * lane, block + 2, 2); [[fallthrough]];
    default: std::memcpy(scales + 2 * lane, block, 2); return;
  }
}

}  // namespace

void packed_store(Format f, std::uint8_t* tile, int lane, std::size_t g, const std::uint8_t* row) {
  const PackedLayout layout = packed_layout(f);
  const std::size_t run = g / static_cast<std::size_t>(layout.run_groups);
  const int within = static_cast<int>(g % static_cast<std::size_t>(layout.run_groups));
  const std::uint8_t* const block = row + run * traits(f).group_bytes;
  std::uint8_t* const header = tile + run * layout.run_bytes();
  std::uint8_t* const group = header + layout.header_bytes + static_cast<std::size_t>(within) * layout.group_bytes();
  store_codes(layout, group, lane, codes_of(f, block, within));
  store_scales(f, header, group + layout.scales_at(), lane, within, block);
}

namespace {

// Of one lane: the weights of a group are (d * scale) * code + minimum, by halves.
struct GroupScales {
  float scale[2], minimum[2] = {0, 0};
};
GroupScales scales_of(Format f, const std::uint8_t* header, const std::uint8_t* scales, int lane, std::size_t within) {
  const auto twice = [](float scale, float minimum) { return GroupScales{{scale, scale}, {minimum, minimum}}; };
  const auto byte = [&](int h) { return scales[32 * h + lane]; };
  const auto paired_byte = [&](int h) { return scales[2 * lane + h]; };
  const auto of_header = [&](float factor) { return load_f16(header + 2 * lane) * factor; };
  const auto signed_byte = [](std::uint8_t b) { return static_cast<float>(static_cast<std::int8_t>(b)); };
  if (has_codebook(f)) {
    const auto scale = [&](std::uint8_t factor) { return of_header(signed_byte(factor)) * codebook_unit(f); };
    if (has_two_dots(f)) return {{scale(byte(0)), scale(byte(1))}};
    return twice(scale(header[header_scales_at + 32 * within + static_cast<std::size_t>(lane)]), 0);
  }
  switch (f) {
    case Format::q4_k:
    case Format::q5_k:
      return twice(of_header(static_cast<float>(byte(0))),
                   load_f16(header + 64 + 2 * lane) * static_cast<float>(byte(1)));
    case Format::q6_k: return {{of_header(signed_byte(byte(0))), of_header(signed_byte(byte(1)))}};
    case Format::q3_k: {
      // Turned back before they meet, so that a zero has the file's sign.
      const auto scale = [&](int h) {
        return of_header(-1) * static_cast<float>(-static_cast<std::int8_t>(paired_byte(h)));
      };
      return {{scale(0), scale(1)}};
    }
    case Format::q2_k: {
      const float dm = load_f16(header + 64 + 2 * lane);
      const auto scale = [&](int h) { return of_header(static_cast<float>(paired_byte(h) & 15)); };
      const auto minimum = [&](int h) { return dm * static_cast<float>(paired_byte(h) >> 4); };
      return {{scale(0), scale(1)}, {minimum(0), minimum(1)}};
    }
    case Format::iq4_xs: {
      const std::size_t at = header_scales_at + 32 * within + static_cast<std::size_t>(lane);
      return twice(of_header(signed_byte(header[at])), 0);
    }
    case Format::mxfp4: return twice(load_bf16(scales + 2 * lane), 0);
    case Format::nvfp4: return {{load_f16(scales + 2 * lane), load_f16(scales + 64 + 2 * lane)}};
    case Format::q5_1: return twice(load_f16(scales + 2 * lane), load_f16(scales + 64 + 2 * lane));
    default: return twice(load_f16(scales + 2 * lane), 0);
  }
}

// Code k of a lane, as stored: the bits of the codes and of the planes.
int code_of(const PackedLayout& layout, const std::uint8_t* group, int lane, int k) {
  const int v = k / 4, bits = layout.planes;
  const auto byte = [&](std::size_t at, int vector) {
    return group[at + vector_at(lane, vector) + static_cast<std::size_t>(k % 4)];
  };
  int code = layout.code_bits == 2 ? byte(0, v / 4) >> (2 * (v % 4)) & 3 : byte(0, v % 4) >> (v < 4 ? 0 : 4) & 15;
  if (bits > 0) {
    const int per_plane = 8 / bits;
    const int above = byte(layout.plane_at(), v / per_plane) >> (bits * (v % per_plane)) & ((1 << bits) - 1);
    code += above << layout.code_bits;
  }
  return code;
}

}  // namespace

void packed_read(Format f, const std::uint8_t* tile, int lane, std::size_t g, float* out) {
  const PackedLayout layout = packed_layout(f);
  const std::size_t run = g / static_cast<std::size_t>(layout.run_groups),
                    within = g % static_cast<std::size_t>(layout.run_groups);
  const std::uint8_t* const header = tile + run * layout.run_bytes();
  const std::uint8_t* const group = header + layout.header_bytes + within * layout.group_bytes();
  const GroupScales scales = scales_of(f, header, group + layout.scales_at(), lane, within);
  for (int k = 0; k < group_size; ++k) {
    int code = code_of(layout, group, lane, k);
    if (has_codebook(f)) code = codebook_levels(f)[code];
    if (f == Format::iq4_nl || f == Format::iq4_xs) code = iq4_nl_values[code];
    if (f == Format::mxfp4 || f == Format::nvfp4) code = mxfp4_values[code];
    const float value = static_cast<float>(code - packed_offset(f)), scale = scales.scale[k / 16];
    out[k] = has_minimum(f) ? std::fma(scale, value, scales.minimum[k / 16]) : scale * value;
  }
}

}  // namespace octavo::cpu

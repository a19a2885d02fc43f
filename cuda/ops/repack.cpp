#include "ops/repack.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "files/codebook.h"

namespace octavo::cuda {

namespace {

using namespace gpu;

const PackingTraits& traits_of(Format format) { return packing_table[static_cast<int>(packing_of(format))]; }

std::uint16_t load_u16(const std::uint8_t* p) { return static_cast<std::uint16_t>(p[0] | p[1] << 8); }

void set_bits(unsigned char& byte, int at, int width, int value) {
  const int mask = ((1 << width) - 1) << at;
  byte = static_cast<unsigned char>((byte & ~mask) | (value << at & mask));
}

// The code, plane bits and all, of one element into its pair's bytes.
void put_code(const PackingTraits& p, unsigned char* pair, int row, int group, int element, int code) {
  const FragmentPlace at = weight_place(row, element);
  const int slot = group * 32 + at.lane;
  switch (p.code_bits) {
    case 8:
      pair[slot * 16 + at.reg * 4 + at.byte] = static_cast<unsigned char>(code);
      break;
    case 2:
      set_bits(pair[slot * 4 + at.byte], 2 * at.reg, 2, code & 3);
      break;
    default: {
      unsigned char* const word = pair + slot * 8 + at.reg / 2 * 4;
      if (p.table)
        set_bits(word[at.reg % 2 * 2 + at.byte / 2], at.byte % 2 * 4, 4, code & 15);
      else
        set_bits(word[at.byte], at.reg % 2 * 4, 4, code & 15);
    }
  }
  unsigned char* const plane = pair + 128 * p.code_bits;
  if (p.plane_bits == 1) set_bits(plane[at.lane * 4 + at.byte], 4 * group + at.reg, 1, code >> p.code_bits & 1);
  if (p.plane_bits == 2) set_bits(plane[slot * 4 + at.byte], 2 * at.reg, 2, code >> p.code_bits & 3);
}

const std::int8_t* values_of(Format format) {
  if (has_codebook(format)) return codebook_levels(format);
  return format == Format::mxfp4 || format == Format::nvfp4 ? mxfp4_values : iq4_nl_values;
}

// A code that names the value.
int index_of(const std::int8_t* values, int value) {
  int i = 0;
  while (values[i] != value) ++i;
  return i;
}

// Scale (or, 4 bytes on, minimum) g of the 12 bytes of a q4_k or q5_k block.
int packed_scale(const std::uint8_t* scales, int g, bool minimum) {
  const std::uint8_t* const own = scales + (minimum ? 4 : 0);
  if (g < 4) return own[g] & 63;
  return (minimum ? scales[g + 4] >> 4 : scales[g + 4] & 15) | own[g - 4] >> 6 << 4;
}

// 2^(e - 128) as bf16, which holds every power of two down to 2^-133.
std::uint16_t power_of_two(std::uint8_t e) { return static_cast<std::uint16_t>(e < 2 ? 0x20 << e : (e - 1) << 7); }

// The fields of a group's scale, and those of its header.
struct StoredScales {
  int fields[2], headers[2];
};
StoredScales stored_scales(Format format, const std::uint8_t* block, int g, const WeightGroup& values) {
  const auto own = [&](std::size_t at) { return static_cast<int>(load_u16(block + at)); };
  const auto negated = [&](std::size_t at) { return own(at) ^ 0x8000; };
  switch (format) {
    case Format::q4_1:
    case Format::q5_1:
      return {{own(0), own(2)}, {}};
    case Format::mxfp4:
      return {{power_of_two(block[0])}, {}};
    case Format::nvfp4:
      return {{half_ue4m3_to_f16(block[2 * g]), half_ue4m3_to_f16(block[2 * g + 1])}, {}};
    case Format::q4_k:
    case Format::q5_k:
      return {{packed_scale(block + 4, g, false), packed_scale(block + 4, g, true)}, {own(0), negated(2)}};
    case Format::q6_k:
      return {{block[192 + 2 * g], block[193 + 2 * g]}, {own(208)}};
    case Format::q2_k:
      return {{block[2 * g], block[2 * g + 1]}, {own(80), negated(82)}};
    case Format::q3_k:
      return {{values.factor[0], values.factor[1]}, {own(108)}};
    case Format::iq4_xs:
      return {{((block[4 + g / 2] >> (4 * (g % 2)) & 15) | (own(2) >> (2 * g) & 3) << 4) - 32}, {own(0)}};
    default:
      return {{own(0)}, {}};
  }
}

// A row of one group's scales or header: fields of 1 or 2 bytes, each for two rows.
void put_fields(unsigned char* at, int count, int bytes, int row, const int (&values)[2]) {
  for (int i = 0; i < count; ++i) {
    unsigned char* const to = at + ((row % 8 * count + i) * 2 + row / 8) * bytes;
    to[0] = static_cast<unsigned char>(values[i]);
    if (bytes == 2) to[1] = static_cast<unsigned char>(values[i] >> 8);
  }
}

void pack_group(Format format, const PackingTraits& p, const WeightParts& parts, long long k, long long row, int g,
                const std::uint8_t* from, unsigned char* weight) {
  const std::size_t block = static_cast<std::size_t>(row / row_block),
                    groups = static_cast<std::size_t>(k / group_size);
  const std::size_t padded = static_cast<std::size_t>(padded_groups(static_cast<int>(groups)));
  const std::size_t at = static_cast<std::size_t>(g);
  const int in_block = static_cast<int>(row % row_block), groups_stored = static_cast<int>(traits(format).group) / 32;
  const std::uint8_t* const stored = from + g / groups_stored * static_cast<int>(traits(format).group_bytes);
  const WeightGroup values = weight_group(format, from, at);
  CodebookGroup points;
  if (has_codebook(format)) points = codebook_group(format, stored, g % groups_stored);

  unsigned char* const pair = weight + (block * (padded / 2) + at / 2) * static_cast<std::size_t>(pair_bytes(p));
  for (int i = 0; i < group_size; ++i) {
    int code = values.code[i];
    if (has_codebook(format))
      code = points.code[i];
    else if (p.table)
      code = index_of(values_of(format), code);
    else if (format == Format::q3_k)
      code += 4;
    put_code(p, pair, in_block, g % 2, i, code);
  }
  StoredScales scales;
  if (has_codebook(format))
    scales = {{points.factor[0], points.factor[1]}, {codebook_scale(format, stored)}};
  else
    scales = stored_scales(format, stored, g % groups_stored, values);
  const int bytes = has_byte_scales(p.scales) ? 1 : 2, fields = scale_fields(p.scales);
  put_fields(weight + parts.scales_at + (block * padded + at) * static_cast<std::size_t>(scale_bytes(p.scales)), fields,
             bytes, in_block, scales.fields);
  const std::size_t headers = (padded + header_groups - 1) / header_groups;
  put_fields(
      weight + parts.headers_at + (block * headers + at / header_groups) * static_cast<std::size_t>(header_bytes(p)),
      p.header_fields, 2, in_block, scales.headers);
}

int value_bytes(Format format) { return static_cast<int>(traits(format).group_bytes); }

void pack_float_row(Format format, long long k, long long row, const std::uint8_t* from, unsigned char* weight) {
  const int bytes = value_bytes(format);
  const long long chunk = float_chunk(bytes), chunks = (k + chunk - 1) / chunk;
  for (long long c = 0; c < chunks; ++c) {
    const long long count = k - c * chunk < chunk ? k - c * chunk : chunk;
    std::memcpy(weight + ((row / float_row_block * chunks + c) * float_row_block + row % float_row_block) * 16,
                from + c * chunk * bytes, static_cast<std::size_t>(count * bytes));
  }
}

}  // namespace

Packing packing_of(Format format) {
  switch (format) {
    case Format::q4_1:
      return Packing::q4_1;
    case Format::q5_0:
      return Packing::q5_0;
    case Format::q5_1:
      return Packing::q5_1;
    case Format::q8_0:
      return Packing::q8_0;
    case Format::q4_k:
      return Packing::q4_k;
    case Format::q5_k:
      return Packing::q5_k;
    case Format::q6_k:
      return Packing::q6_k;
    case Format::q2_k:
      return Packing::q2_k;
    case Format::q3_k:
      return Packing::q3_k;
    case Format::iq4_nl:
      return Packing::iq4_nl;
    case Format::mxfp4:
      return Packing::mxfp4;
    case Format::nvfp4:
      return Packing::nvfp4;
    case Format::iq4_xs:
    case Format::iq1_s:
    case Format::iq2_xxs:
    case Format::iq3_xxs:
    case Format::iq3_s:
      return Packing::levels;
    case Format::iq1_m:
    case Format::iq2_xs:
    case Format::iq2_s:
      return Packing::half_levels;
    default:
      return Packing::q4_0;
  }
}

std::size_t device_weight_bytes(Format format, long long n, long long k) {
  if (!is_quantised(format)) return float_weight_bytes(value_bytes(format), n, k);
  return weight_parts(traits_of(format), n, k).bytes;
}

void pack_rows(Format format, long long n, long long k, long long first, long long count, const void* rows,
               unsigned char* weight) {
  const std::size_t stride = row_bytes(format, static_cast<std::size_t>(k));
  const WeightParts parts = is_quantised(format) ? weight_parts(traits_of(format), n, k) : WeightParts{};
  for (long long row = first; row < first + count; ++row) {
    const auto* const from = static_cast<const std::uint8_t*>(rows) + stride * static_cast<std::size_t>(row - first);
    if (!is_quantised(format)) {
      pack_float_row(format, k, row, from, weight);
      continue;
    }
    for (int g = 0; g < k / group_size; ++g) pack_group(format, traits_of(format), parts, k, row, g, from, weight);
  }
}

std::array<PiecePart, 3> piece_parts(Format format, long long n, long long k, long long row, long long count) {
  const auto size = [](long long a) { return static_cast<std::size_t>(a); };
  if (!is_quantised(format)) {
    const std::size_t block = float_weight_bytes(value_bytes(format), float_row_block, k);
    return {{{0, size(row / float_row_block) * block, device_weight_bytes(format, count, k)}, {}, {}}};
  }
  const PackingTraits& p = traits_of(format);
  const WeightParts whole = weight_parts(p, n, k), piece = weight_parts(p, count, k);
  const std::size_t first = size(row / row_block), blocks = size((count + row_block - 1) / row_block);
  const std::size_t groups = size(padded_groups(static_cast<int>(k / group_size)));
  const std::size_t codes = groups / 2 * size(pair_bytes(p)), scales = groups * size(scale_bytes(p.scales)),
                    headers = (groups + header_groups - 1) / header_groups * size(header_bytes(p));
  return {{{0, first * codes, blocks * codes},
           {piece.scales_at, whole.scales_at + first * scales, blocks * scales},
           {piece.headers_at, whole.headers_at + first * headers, blocks * headers}}};
}

PackedWeight packed_weight(Format format, long long n, long long k, const unsigned char* weight) {
  const PackingTraits& p = traits_of(format);
  const WeightParts parts = weight_parts(p, n, k);
  PackedWeight packed{};
  packed.codes = weight;
  packed.scales = weight + parts.scales_at;
  packed.headers = weight + parts.headers_at;
  if (p.table) std::memcpy(packed.table, values_of(format), sizeof(packed.table));
  packed.unit = has_codebook(format) ? codebook_unit(format) : 1.0f;
  packed.n = static_cast<int>(n);
  packed.groups = static_cast<int>(k / group_size);
  return packed;
}

}  // namespace octavo::cuda

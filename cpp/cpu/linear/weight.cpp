#include "cpu/linear/weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "cpu/linear/packed.h"
#include "error.h"

namespace octavo::cpu {

namespace {

constexpr std::int64_t value_lanes = 16;  // float rows are whole vectors of norm and gate

std::uint16_t load_half(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}

float float_value(Format format, const std::uint8_t* p) {
  if (format == Format::f16) return f16_to_f32(load_half(p));
  if (format == Format::bf16) return bf16_to_f32(load_half(p));
  float v;
  std::memcpy(&v, p, 4);
  return v;
}

[[noreturn]] void refuse_scale(std::int64_t row, std::int64_t group) {
  throw Error(Code::model_invalid, "a weight's scale is not a finite number",
              {{"expected", "finite scales"}, {"row", std::to_string(row)}, {"group", std::to_string(group)}});
}

bool is_infinite(std::uint16_t half) { return (half & 0x7C00u) == 0x7C00u; }

// Where a row's dword j lies in a quantised block.
std::size_t dword_offset(int lane, int j) { return static_cast<std::size_t>((2 * j + lane / 16) * 64 + lane % 16 * 4); }

typedef std::uint32_t Dwords __attribute__((vector_size(16)));
typedef std::uint16_t Words __attribute__((vector_size(16)));

Dwords load_dwords(const std::uint8_t* p) {
  Dwords v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

std::uint32_t load_dword(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Four dwords of four rows become four rows' dword 0, 1, 2 and 3, with the bits of `flip` turned over.
void turn_dwords(std::uint8_t* to, const std::uint8_t* from, std::size_t stride, std::uint32_t flip) {
  const Dwords a = load_dwords(from), b = load_dwords(from + stride), c = load_dwords(from + 2 * stride),
               d = load_dwords(from + 3 * stride);
  const Dwords ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
               cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const Dwords turned[] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5) ^ flip,
                           __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7) ^ flip,
                           __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5) ^ flip,
                           __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7) ^ flip};
  for (int j = 0; j < 4; ++j) std::memcpy(to + dword_offset(0, j), &turned[j], sizeof(Dwords));
}

// Scales of eight rows, and minima where they have them, in places of their own. The highest bit of a word of `bad` is
// set where one was not finite.
template <int halves>
void turn_halves(std::uint8_t* to, const std::uint8_t* from, std::size_t stride, Words& bad) {
  constexpr Words exponent = {0x7C00, 0x7C00, 0x7C00, 0x7C00, 0x7C00, 0x7C00, 0x7C00, 0x7C00}, one = exponent & 0x0400;
  Words found[halves];
  if constexpr (halves == 1) {
    for (int lane = 0; lane < 8; ++lane) found[0][lane] = load_half(from + static_cast<std::size_t>(lane) * stride);
  } else {
    const auto four = [&](const std::uint8_t* p) {
      const Dwords pairs = {load_dword(p), load_dword(p + stride), load_dword(p + 2 * stride),
                            load_dword(p + 3 * stride)};
      return reinterpret_cast<Words>(pairs);
    };
    const Words a = four(from), b = four(from + 4 * stride);
    found[0] = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    found[1] = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  }
  for (int h = 0; h < halves; ++h) {
    bad |= (found[h] & exponent) + one;
    std::memcpy(to + static_cast<std::size_t>(h) * tile_halves_bytes, &found[h], sizeof(Words));
  }
}

bool any_high_bit(Words v) {
  std::uint64_t halves[2];
  std::memcpy(halves, &v, sizeof halves);
  return ((halves[0] | halves[1]) & 0x8000800080008000ull) != 0;
}

// One tile of a weight whose groups are stored as `halves` f16 (scale, minimum) and then `dwords` of codes, of which
// `flip` bits are turned over: rows[lanes] of `stride` bytes each. Refuses infinities and NaN.
template <int dwords, int halves, std::uint32_t flip>
void load_tile(std::uint8_t* block, const std::uint8_t* rows, int lanes, std::size_t stride, std::int64_t first_row,
               std::int64_t groups) {
  constexpr std::size_t stored = 2 * halves + 4 * dwords, codes_bytes = std::size_t{128} * dwords;
  const int whole = lanes / 8 * 8;
  for (std::int64_t g = 0; g < groups; ++g, rows += stored, block += codes_bytes + halves * tile_halves_bytes) {
    std::uint8_t* const scales = block + codes_bytes;
    Words bad = {};
    for (int lane = 0; lane < whole; lane += 8) {
      const std::uint8_t* const from = rows + static_cast<std::size_t>(lane) * stride;
      turn_halves<halves>(scales + 2 * lane, from, stride, bad);
      for (int four = lane; four < lane + 8; four += 4)
        for (int j = 0; j < dwords; j += 4)
          turn_dwords(block + dword_offset(four, j),
                      rows + static_cast<std::size_t>(four) * stride + 2 * halves + 4 * j, stride, flip);
    }
    for (int lane = whole; lane < lanes; ++lane) {
      const std::uint8_t* const from = rows + static_cast<std::size_t>(lane) * stride;
      for (int h = 0; h < halves; ++h) {
        const std::uint16_t half = load_half(from + 2 * h);
        bad[0] = static_cast<std::uint16_t>(bad[0] | ((half & 0x7C00u) + 0x0400u));
        std::memcpy(scales + static_cast<std::size_t>(h) * tile_halves_bytes + 2 * lane, &half, 2);
      }
      for (int j = 0; j < dwords; ++j) {
        const std::uint32_t dword = load_dword(from + 2 * halves + 4 * j) ^ flip;
        std::memcpy(block + dword_offset(lane, j), &dword, 4);
      }
    }
    if (!any_high_bit(bad)) continue;
    for (int lane = 0; lane < lanes; ++lane)
      for (int h = 0; h < halves; ++h)
        if (is_infinite(load_half(rows + static_cast<std::size_t>(lane) * stride + 2 * h)))
          refuse_scale(first_row + lane, g);
  }
}

// Floats fill part of a block's bytes where k ends within a group; of the other formats k is whole groups.
std::size_t tile_bytes_of(Format format, std::int64_t k) {
  return block_bytes(format) * static_cast<std::size_t>(k) / group_size;
}

std::size_t memory_bytes(Format format, std::int64_t n, std::int64_t k) {
  const std::int64_t multiple = is_quantised(format) ? traits(format).group : value_lanes;
  if (n < 1 || k < 1 || k % multiple != 0)
    throw Error(Code::invalid_argument, "a weight's shape",
                {{"expected", "n >= 1, k a positive multiple of " + std::to_string(multiple)},
                                                             {"found", std::to_string(n) + " x " + std::to_string(k)}});
  const std::uint64_t tiles = (static_cast<std::uint64_t>(n) + tile_rows - 1) / tile_rows;
  const std::uint64_t blocks_limit = std::numeric_limits<std::int64_t>::max() / block_bytes(format);
  if ((static_cast<std::uint64_t>(k) + group_size - 1) / group_size > blocks_limit / tiles)
    throw Error(Code::out_of_memory, "a weight is larger than any memory",
                {{"shape", std::to_string(n) + " x " + std::to_string(k)}});
  return tiles * tile_bytes_of(format, k);
}

}  // namespace

std::size_t block_bytes(Format format) {
  switch (format) {
    case Format::q4_0: return q4_0_block_bytes;
    case Format::q4_1: return q4_1_block_bytes;
    case Format::q8_0: return q8_0_block_bytes;
    case Format::f32: return std::size_t{tile_rows} * group_size * 4;
    case Format::f16:
    case Format::bf16: return std::size_t{tile_rows} * group_size * 2;
    default: return packed_layout(format).run_bytes() / static_cast<std::size_t>(packed_layout(format).run_groups);
  }
}

CpuWeight::CpuWeight(Format format, std::int64_t n, std::int64_t k, os::Arena& arena)
    : Weight(format, n, k),
      bytes_(memory_bytes(format, n, k)),
      tile_bytes_(tile_bytes_of(format, k)),
      memory_(arena.allocate(bytes_)) {}

void CpuWeight::load(std::int64_t row, std::int64_t count, const std::uint8_t* rows) {
  if (row < 0 || count < 0 || row % tile_rows != 0 || row > n || count > n - row ||
      (count % tile_rows != 0 && row + count != n))
    throw Error(Code::invalid_argument, "rows of a weight are loaded in whole tiles",
                {{"row", std::to_string(row)}, {"count", std::to_string(count)}, {"rows", std::to_string(n)}});
  const std::size_t stride = row_bytes(format, static_cast<std::size_t>(k));
  const std::int64_t groups = k / group_size;
  for (; count > 0; row += tile_rows, count -= tile_rows, rows += tile_rows * stride) {
    std::uint8_t* const block = tile(row / tile_rows);
    const int lanes = static_cast<int>(std::min<std::int64_t>(tile_rows, count));
    switch (format) {
      case Format::q4_0: load_tile<4, 1, 0>(block, rows, lanes, stride, row, groups); break;
      case Format::q4_1: load_tile<4, 2, 0>(block, rows, lanes, stride, row, groups); break;
      case Format::q8_0: load_tile<8, 1, 0x80808080u>(block, rows, lanes, stride, row, groups); break;
      default:
        if (is_quantised(format)) load_packed(block, row, lanes, rows);
        else load_float(block, lanes, rows);
    }
  }
}

void CpuWeight::load_float(std::uint8_t* block, int lanes, const std::uint8_t* rows) {
  const std::size_t stride = row_bytes(format, static_cast<std::size_t>(k)), size = traits(format).group_bytes;
  for (std::int64_t i = 0; i < k; ++i, block += tile_rows * size, rows += size)
    for (int lane = 0; lane < lanes; ++lane)
      std::memcpy(block + static_cast<std::size_t>(lane) * size, rows + static_cast<std::size_t>(lane) * stride, size);
}

void CpuWeight::load_packed(std::uint8_t* to, std::int64_t first_row, int lanes, const std::uint8_t* rows) {
  const std::size_t row_stride = row_bytes(format, static_cast<std::size_t>(k)), stored = traits(format).group_bytes;
  const std::size_t groups = static_cast<std::size_t>(k / group_size);
  for (int lane = 0; lane < lanes; ++lane, rows += row_stride) {
    for (std::size_t at = 0; at < row_stride; at += stored)
      if (!scales_are_finite(format, rows + at)) refuse_scale(first_row + lane, static_cast<std::int64_t>(at / stored));
    for (std::size_t g = 0; g < groups; ++g) packed_store(format, to, lane, g, rows);
  }
}

void CpuWeight::read_row(std::int64_t row, float* out) const {
  const std::uint8_t* block = tile(row / tile_rows);
  const int lane = static_cast<int>(row % tile_rows);
  if (!is_quantised(format)) {
    const std::size_t size = traits(format).group_bytes;
    block += static_cast<std::size_t>(lane) * size;
    for (std::int64_t i = 0; i < k; ++i, block += tile_rows * size) out[i] = float_value(format, block);
    return;
  }
  if (is_packed(format)) {
    for (std::size_t g = 0; g < static_cast<std::size_t>(k / group_size); ++g, out += group_size)
      packed_read(format, block, lane, g, out);
    return;
  }
  for (std::int64_t g = 0; g < k / group_size; ++g, block += block_bytes(format), out += group_size) {
    switch (format) {
      case Format::q8_0: {
        const float d = f16_to_f32(load_half(block + q8_codes_bytes + 2 * lane));
        for (int i = 0; i < group_size; ++i)
          out[i] = d * static_cast<float>(static_cast<int>(block[dword_offset(lane, i / 4) + i % 4]) - 128);
        break;
      }
      case Format::q4_0: {
        const float d = f16_to_f32(load_half(block + q4_codes_bytes + 2 * lane));
        for (int i = 0; i < 16; ++i) {
          const int codes = block[dword_offset(lane, i / 4) + i % 4];
          out[i] = d * static_cast<float>((codes & 15) - 8);
          out[i + 16] = d * static_cast<float>((codes >> 4) - 8);
        }
        break;
      }
      case Format::q4_1: {
        const float d = f16_to_f32(load_half(block + q4_codes_bytes + 2 * lane));
        const float m = f16_to_f32(load_half(block + q4_codes_bytes + tile_halves_bytes + 2 * lane));
        for (int i = 0; i < 16; ++i) {
          const int codes = block[dword_offset(lane, i / 4) + i % 4];
          out[i] = std::fma(d, static_cast<float>(codes & 15), m);
          out[i + 16] = std::fma(d, static_cast<float>(codes >> 4), m);
        }
        break;
      }
      default: break;
    }
  }
}

}  // namespace octavo::cpu

// Rows of a weight as the model's file has them -> the layout that kernels read (linear/weight_layout.h), byte for byte
// as ops/repack.cpp packs them on the host, so that a load is bound by reading the file. A block of threads makes a
// pair of groups of 16 rows, a thread a word: it gathers the codes that belong there. What is added to make blocks and
// pairs whole is zero.
#include "kernels/device.cuh"
#include "kernels/linear/params_linear.h"
#include "kernels/linear/weight_layout.h"
#include "kernels/stored_codebook.cuh"

namespace octavo::gpu {
namespace {

constexpr int repack_threads = 128;

// 16 rows and where in them a pair of groups begins.
template <class F>
struct Source {
  const unsigned char* rows;
  long long row_bytes;
  int rows_there, groups_there;  // of the 16, of the 2
  int group;                     // the first
  DEVICE bool has(int row, int g) const { return row < rows_there && g < groups_there; }
  DEVICE const unsigned char* block(int row, int g) const {
    return rows + row * row_bytes + static_cast<long long>((group + g) * group_size / F::group) * F::bytes;
  }
  DEVICE unsigned code(int row, int g, int element) const {
    return has(row, g) ? F::code(block(row, g), (group + g) * group_size % F::group + element) : 0u;
  }
};

// Bits [from, from + bits) of the code that byte `byte` of register `reg` of a lane has.
template <class F>
DEVICE unsigned code_bits(const Source<F>& source, int g, int lane, int reg, int byte, int from, int bits) {
  const int row = lane / 4 + 8 * (reg % 2), element = 4 * (lane % 4) + byte + 16 * (reg / 2);
  return source.code(row, g, element) >> from & ((1u << bits) - 1u);
}

// Word `w` of a pair's codes, planes behind them.
template <class F>
DEVICE unsigned code_word(const Source<F>& source, int w) {
  constexpr PackingTraits t = packing<F::packing>;
  constexpr int plane = 32 * t.code_bits;
  unsigned word = 0;
  if (w >= plane) {
    w -= plane;
    for (int byte = 0; byte < 4; ++byte) {
      if (t.plane_bits == 1) {
        for (int i = 0; i < 8; ++i) word |= code_bits(source, i / 4, w, i % 4, byte, t.code_bits, 1) << (8 * byte + i);
      } else {
        for (int reg = 0; reg < 4; ++reg)
          word |= code_bits(source, w / 32, w % 32, reg, byte, t.code_bits, 2) << (8 * byte + 2 * reg);
      }
    }
    return word;
  }
  const int slot = t.code_bits == 8 ? w / 4 : t.code_bits == 4 ? w / 2 : w, g = slot / 32, lane = slot % 32;
  for (int byte = 0; byte < 4; ++byte) {
    if (t.code_bits == 8) {
      word |= code_bits(source, g, lane, w % 4, byte, 0, 8) << (8 * byte);
    } else if (t.code_bits == 4) {
      for (int i = 0; i < 2; ++i)
        word |= code_bits(source, g, lane, w % 2 * 2 + i, byte, 0, 4)
                << (t.table ? 16 * i + 4 * byte : 8 * byte + 4 * i);
    } else {
      for (int reg = 0; reg < 4; ++reg) word |= code_bits(source, g, lane, reg, byte, 0, 2) << (8 * byte + 2 * reg);
    }
  }
  return word;
}

// Word `w` of the fields of one group's scales, or of a header: [row % 8][field][row / 8], 1 or 2 bytes each.
template <class F, class Field>
DEVICE unsigned field_word(int w, int fields, int bytes, Field field) {
  unsigned word = 0;
  for (int byte = 0; byte < 4; byte += bytes) {
    const int at = (4 * w + byte) / bytes;
    word |= field(at / 2 / fields + 8 * (at % 2), at / 2 % fields) << (8 * byte);
  }
  return word;
}

template <class F>
DEVICE void repack(const RepackParams& p) {
  constexpr PackingTraits t = packing<F::packing>;
  constexpr int code_words = pair_bytes(t) / 4, group_words = scale_bytes(t.scales) / 4,
                header_words = header_bytes(t) / 4;
  const int block = static_cast<int>(blockIdx.x), pair = static_cast<int>(blockIdx.y), groups = padded_groups(p.groups);
  const Source<F> source{p.rows + static_cast<long long>(block) * row_block * p.row_bytes, p.row_bytes,
                         p.count - block * row_block, p.groups - 2 * pair, 2 * pair};
  const long long whole_block = p.first / row_block + block;
  auto* const words = reinterpret_cast<unsigned*>(p.weight);
  unsigned* const codes = words + (whole_block * (groups / 2) + pair) * code_words;
  unsigned* const scales = words + (p.scales_at / 4 + (whole_block * groups + 2 * pair) * group_words);
  for (int w = static_cast<int>(threadIdx.x); w < code_words; w += repack_threads) codes[w] = code_word(source, w);
  for (int w = static_cast<int>(threadIdx.x); w < 2 * group_words; w += repack_threads) {
    const int g = w / group_words;
    scales[w] = field_word<F>(w % group_words, scale_fields(t.scales), has_byte_scales(t.scales) ? 1 : 2,
                              [&](int row, int field) -> unsigned {
                                if (!source.has(row, g)) return 0u;
                                return F::scale(source.block(row, g),
                                                (source.group + g) * group_size % F::group / group_size, field);
                              });
  }
  if (t.header_fields == 0 || pair % (header_groups / 2) != 0) return;
  const long long headers = (groups + header_groups - 1) / header_groups;
  unsigned* const header =
      words + (p.headers_at / 4 + (whole_block * headers + pair / (header_groups / 2)) * header_words);
  for (int w = static_cast<int>(threadIdx.x); w < header_words; w += repack_threads)
    header[w] = field_word<F>(w, t.header_fields, 2, [&](int row, int field) -> unsigned {
      return source.has(row, 0) ? F::header(source.block(row, 0), field) : 0u;
    });
}

}  // namespace

#define OCTAVO_REPACK(name, Format) \
  OCTAVO_KERNEL(octavo_repack_##name, RepackParams, repack_threads) { repack<stored::Format>(p); }

OCTAVO_REPACK(q4_0, Q4_0)
OCTAVO_REPACK(q4_1, Q4_1)
OCTAVO_REPACK(q5_0, Q5_0)
OCTAVO_REPACK(q5_1, Q5_1)
OCTAVO_REPACK(q8_0, Q8_0)
OCTAVO_REPACK(q2_k, Q2K)
OCTAVO_REPACK(q3_k, Q3K)
OCTAVO_REPACK(q4_k, Q4K)
OCTAVO_REPACK(q5_k, Q5K)
OCTAVO_REPACK(q6_k, Q6K)
OCTAVO_REPACK(iq4_nl, Iq4Nl)
OCTAVO_REPACK(iq4_xs, Iq4Xs)
OCTAVO_REPACK(mxfp4, Mxfp4)
OCTAVO_REPACK(nvfp4, Nvfp4)
OCTAVO_REPACK(iq1_s, Iq1S)
OCTAVO_REPACK(iq1_m, Iq1M)
OCTAVO_REPACK(iq2_xxs, Iq2Xxs)
OCTAVO_REPACK(iq2_xs, Iq2Xs)
OCTAVO_REPACK(iq2_s, Iq2S)
OCTAVO_REPACK(iq3_xxs, Iq3Xxs)
OCTAVO_REPACK(iq3_s, Iq3S)

#undef OCTAVO_REPACK

// Float formats: blocks of 32 rows, 16 bytes of each in turn. Rows are whole pieces of 16 bytes.
OCTAVO_KERNEL(octavo_repack_floats, RepackParams, repack_threads) {
  const long long chunks = p.row_bytes / 16, at = static_cast<long long>(blockIdx.x) * repack_threads + threadIdx.x;
  const long long block = at / (chunks * float_row_block), chunk = at / float_row_block % chunks;
  const int row = static_cast<int>(block) * float_row_block + static_cast<int>(at % float_row_block);
  if (row / float_row_block * float_row_block >= p.count) return;
  uint4 bytes = make_uint4(0, 0, 0, 0);
  if (row < p.count) bytes = *reinterpret_cast<const uint4*>(p.rows + row * p.row_bytes + chunk * 16);
  reinterpret_cast<uint4*>(p.weight)[p.first * chunks + at] = bytes;
}

}  // namespace octavo::gpu

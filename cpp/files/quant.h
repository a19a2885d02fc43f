// Weight formats as GGUF stores them: one table row each. Layouts inside a backend are that backend's own. Nothing is
// approximated: a backend computes with exactly these weights w.
//
// Blocks of 32 weights. qs[16]: byte j holds the code of weight j (low nibble) and of weight j + 16 (high). qh: 32
// bits, bit i is bit 4 of code i.
//   q4_0    f16 d, qs              w = d * (code - 8)
//   q4_1    f16 d, f16 m, qs       w = d * code + m
//   q5_0    f16 d, qh, qs          w = d * (code - 16)
//   q5_1    f16 d, f16 m, qh, qs   w = d * code + m
//   q8_0    f16 d, 32 int8         w = d * q
//   iq4_nl  f16 d, qs              w = d * iq4_nl_values[code]
//   mxfp4   u8 e, qs               w = 2^(e - 128) * mxfp4_values[code]: FP4 E2M1 times 2^(e - 127); e = 255 is no number
// Blocks of 64. qs of 16 weights are 8 bytes: low nibbles, then high ones.
//   nvfp4   u8 e[4], 4 x qs                w = (e[i / 16] / 2) * mxfp4_values[code], e in FP8 E4M3 without its sign
// Blocks of 256 weights, groups g of 32 with a scale each, or a scale for 16 (i / 16). scales[12]: eight 6-bit scales
// sc and minima mn, or sixteen 6-bit scales, packed.
//   q2_k    u8 (sc, mn)[16], qs[64], f16 d, f16 dm      w = (d * sc[i / 16]) * code - dm * mn[i / 16], nibbles sc, mn
//             weight 128 n + 32 q + l: bits 2q and 2q + 1 of qs[32 n + l]
//   q3_k    hm[32], qs[64], scales[12], f16 d           w = (d * (sc[i / 16] - 32)) * (code - 4), low bits as in q2_k
//             bit g of hm[l] is bit 2 of the code of weight 32 g + l
//   q4_k    f16 d, f16 dm, scales, 4 x 32 bytes         w = (d * sc[g]) * code - dm * mn[g]
//             byte l of run r: the codes of weight 64 r + l (low nibble) and of weight 64 r + 32 + l (high)
//   q5_k    f16 d, f16 dm, scales, qh[32], as q4_k      bit g of qh[l] is bit 4 of the code of weight 32 g + l
//   q6_k    ql[2][64], qh[2][32], 16 int8 sc, f16 d     w = (d * sc[i / 16]) * (code - 32), scales 16 weights apart
//             weight 128 n + 32 q + l: nibble q / 2 of ql[n][32 (q % 2) + l], bits 2q and 2q + 1 of qh[n][l] above it
//   iq4_xs  f16 d, u16 sh, sl[4], 8 x qs               w = (d * (sc[g] - 32)) * iq4_nl_values[code]
//             sc[g]: nibble g % 2 of sl[g / 2] under bits 2g and 2g + 1 of sh; qs of each group as above
//   iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s: codebook.h
// f32, f16, bf16: plain.
// (Formats: ggml, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; FP4 and e: OCP Microscaling Formats 1.0.)
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

enum class Format : std::uint8_t { f32, f16, q4_0, q4_1, q8_0, bf16, q5_0, q5_1, q4_k, q5_k, q6_k, iq4_nl, mxfp4,
                                    q2_k, q3_k, iq4_xs, iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, nvfp4 };

struct FormatTraits {
  const char* name;
  std::uint32_t ggml_type;   // type id in the file
  std::uint32_t group;       // weights in one stored block
  std::uint32_t group_bytes; // bytes of one stored block
};

inline constexpr FormatTraits format_table[] = {
    {"f32", 0, 1, 4},       {"f16", 1, 1, 2},       {"q4_0", 2, 32, 18},    {"q4_1", 3, 32, 20},
    {"q8_0", 8, 32, 34},    {"bf16", 30, 1, 2},     {"q5_0", 6, 32, 22},    {"q5_1", 7, 32, 24},
    {"q4_k", 12, 256, 144}, {"q5_k", 13, 256, 176}, {"q6_k", 14, 256, 210}, {"iq4_nl", 20, 32, 18},
    {"mxfp4", 39, 32, 17},  {"q2_k", 10, 256, 84},  {"q3_k", 11, 256, 110}, {"iq4_xs", 23, 256, 136},
    {"iq1_s", 19, 256, 50}, {"iq1_m", 29, 256, 56}, {"iq2_xxs", 16, 256, 66}, {"iq2_xs", 17, 256, 74},
    {"iq2_s", 22, 256, 82}, {"iq3_xxs", 18, 256, 98}, {"iq3_s", 21, 256, 110}, {"nvfp4", 40, 64, 36},
};
inline constexpr std::size_t format_count = sizeof(format_table) / sizeof(format_table[0]);

// Of iq4_nl and iq4_xs: sixteen levels, closer to each other near zero.
inline constexpr std::int8_t iq4_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                  1,    13,   25,  38,  53,  69,  89,  113};
// Of mxfp4 and nvfp4: FP4 E2M1 doubled, so that they are whole numbers; the sign is bit 3.
inline constexpr std::int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

inline const FormatTraits& traits(Format f) { return format_table[static_cast<std::size_t>(f)]; }
inline bool is_quantised(Format f) { return traits(f).group > 1; }
// w = scale * code + minimum; elsewhere w = scale * code.
constexpr bool has_minimum(Format f) {
  return f == Format::q4_1 || f == Format::q5_1 || f == Format::q4_k || f == Format::q5_k || f == Format::q2_k;
}
// The halves of a group of 32 have minima of their own.
constexpr bool has_two_minima(Format f) { return f == Format::q2_k; }
// They have scales of their own, which no dot of whole numbers takes in.
constexpr bool has_two_dots(Format f) {
  return f == Format::q6_k || f == Format::iq1_m || f == Format::iq2_xs || f == Format::iq2_s || f == Format::nvfp4;
}
constexpr bool has_codebook(Format f) { return f >= Format::iq1_s && f <= Format::iq3_s; }
// Codes name values.
constexpr bool has_value_table(Format f) {
  return f == Format::iq4_nl || f == Format::iq4_xs || f == Format::mxfp4 || f == Format::nvfp4 || has_codebook(f);
}

// Bytes of one stored row of k weights; k is a multiple of the group.
inline std::size_t row_bytes(Format f, std::size_t k) { return k / traits(f).group * traits(f).group_bytes; }

// f16 bits -> f32, exact (subnormals, infinities and NaN included).
float f16_to_f32(std::uint16_t bits);
// f32 -> f16 bits, nearest even; overflow gives infinity.
std::uint16_t f32_to_f16(float value);
// FP8 E4M3 without its sign, halved, as nvfp4's scales: the bits of an f16, which holds it. 0x7F is no number there: 0.
std::uint16_t half_ue4m3_to_f16(std::uint8_t bits);
// bf16 bits -> f32, exact.
float bf16_to_f32(std::uint16_t bits);
// f32 -> bf16 bits, nearest even.
std::uint16_t f32_to_bf16(float value);

// 32 consecutive weights of a quantised row: w[i] = (scale * factor) * code[i] + minimum, scale, factor and minimum
// those of i / 16. Offsets and tables are applied to the codes; the scales are exact products of what is stored, 19
// bits at most. A factor is a whole number that stays small enough to enter a group's dot; most formats have none (1).
struct WeightGroup {
  int code[32];
  int factor[2] = {1, 1};
  float scale[2], minimum[2];
};
// Group g of a stored row of a quantised format. Scalar, and used by no kernel.
WeightGroup weight_group(Format f, const void* row, std::size_t g);

// Where a stored block of a quantised format has its f16 scale (iq1_m's is in four parts, mxfp4 and nvfp4 have none);
// the minimum of those that have one is 2 bytes on.
constexpr std::size_t scale_offset(Format f) {
  switch (f) {
    case Format::q6_k: return 208;
    case Format::q2_k: return 80;
    case Format::q3_k: return 108;
    default: return 0;
  }
}

// Whether every scale and minimum of a stored block of a quantised format is a finite number.
bool scales_are_finite(Format f, const std::uint8_t* block);

// One stored row of k weights -> f32 as docs/numerics.md "embed" says. Scalar; for embeddings, norms and tests.
void dequantise_row(Format f, const void* row, std::size_t k, float* out);

}  // namespace octavo

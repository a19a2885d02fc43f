// Weight formats as GGUF stores them: one table row each. Layouts inside a backend are that backend's own.
//
//   q4_0  32 weights: f16 d, 16 bytes qs; qs[j] = code j (low nibble) and code j + 16 (high); w = d * (code - 8)
//   q4_1  32 weights: f16 d, f16 m, 16 bytes qs as above; w = d * code + m
//   q8_0  32 weights: f16 d, 32 int8; w = d * q
//   f32, f16, bf16: plain
// (Format: ggml, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

enum class Format : std::uint8_t { f32, f16, q4_0, q4_1, q8_0, bf16 };

struct FormatTraits {
  const char* name;
  std::uint32_t ggml_type;   // type id in the file
  std::uint32_t group;       // weights in one stored block
  std::uint32_t group_bytes; // bytes of one stored block
};

inline constexpr FormatTraits format_table[] = {
    {"f32", 0, 1, 4}, {"f16", 1, 1, 2}, {"q4_0", 2, 32, 18}, {"q4_1", 3, 32, 20}, {"q8_0", 8, 32, 34}, {"bf16", 30, 1, 2},
};
inline constexpr std::size_t format_count = sizeof(format_table) / sizeof(format_table[0]);

inline const FormatTraits& traits(Format f) { return format_table[static_cast<std::size_t>(f)]; }
inline bool is_quantised(Format f) { return traits(f).group > 1; }

// Bytes of one stored row of k weights; k is a multiple of the group.
inline std::size_t row_bytes(Format f, std::size_t k) { return k / traits(f).group * traits(f).group_bytes; }

// f16 bits -> f32, exact (subnormals, infinities and NaN included).
float f16_to_f32(std::uint16_t bits);
// f32 -> f16 bits, nearest even; overflow gives infinity.
std::uint16_t f32_to_f16(float value);
// bf16 bits -> f32, exact.
float bf16_to_f32(std::uint16_t bits);
// f32 -> bf16 bits, nearest even.
std::uint16_t f32_to_bf16(float value);

// One stored row of k weights -> f32 as docs/numerics.md "embed" says. Scalar; for embeddings, norms and tests.
void dequantise_row(Format f, const void* row, std::size_t k, float* out);

}  // namespace octavo

#include "files/quant.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "files/codebook.h"
#include "files/little_endian.h"

namespace octavo {

float f16_to_f32(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t exp = (h >> 10) & 31u, frac = h & 0x3FFu;
  if (exp == 0) {  // zero and subnormals: frac * 2^-24 is exact in f32
    const float v = static_cast<float>(frac) * 5.9604644775390625e-8f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) | sign);
  }
  const std::uint32_t out_exp = exp == 31 ? 255u : exp + 112u;
  return std::bit_cast<float>(sign | (out_exp << 23) | (frac << 13));
}

std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t mag = bits & 0x7FFFFFFFu;
  if (mag > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u | ((mag >> 13) & 0x3FFu));  // NaN stays quiet
  if (mag >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // rounds to 65536 and above
  if (mag < 0x38800000u) {  // below 2^-14: subnormal; adding 0.5 aligns the last bit with 2^-24 and rounds to even
    const float aligned = std::bit_cast<float>(mag) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3F000000u));
  }
  const std::uint32_t rounded = mag + 0xFFFu + ((mag >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

std::uint16_t half_ue4m3_to_f16(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  if (bits == 0x7F) return 0;
  if (exponent != 0) return static_cast<std::uint16_t>((exponent + 7) << 10 | mantissa << 7);  // biases 7, 15; halved
  return f32_to_f16(static_cast<float>(mantissa) * 0x1p-10f);
}

float bf16_to_f32(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

namespace {

float load_f16(const std::uint8_t* p) { return f16_to_f32(load_u16(p)); }

// Code i of 16 bytes of nibbles.
int nibble(const std::uint8_t* qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }

// Scale (or, 4 bytes on, minimum) g of a q4_k or q5_k block: the first four are the low 6 bits of a byte, the others a
// nibble of bytes 8..11 under the two bits that the first four leave free.
int packed_scale(const std::uint8_t* scales, int g, bool minimum) {
  const std::uint8_t* const own = scales + (minimum ? 4 : 0);
  if (g < 4) return own[g] & 63;
  const int low = minimum ? scales[g + 4] >> 4 : scales[g + 4] & 15;
  return low | (own[g - 4] >> 6) << 4;
}

// Group g of 8 of a q4_k or q5_k block.
WeightGroup group_of_k45(const std::uint8_t* block, int g, bool five_bits) {
  WeightGroup w;
  w.scale[0] = w.scale[1] = load_f16(block) * static_cast<float>(packed_scale(block + 4, g, false));
  w.minimum[0] = w.minimum[1] = -(load_f16(block + 2) * static_cast<float>(packed_scale(block + 4, g, true)));
  const std::uint8_t* const qs = block + (five_bits ? 48 : 16) + 32 * (g / 2);
  for (int l = 0; l < 32; ++l) {
    w.code[l] = g % 2 == 0 ? qs[l] & 15 : qs[l] >> 4;
    if (five_bits) w.code[l] += 16 * ((block[16 + l] >> g) & 1);
  }
  return w;
}

WeightGroup group_of_k6(const std::uint8_t* block, int g) {
  WeightGroup w;
  const int n = g / 4, q = g % 4;
  const std::uint8_t *ql = block + 64 * n + 32 * (q % 2), *qh = block + 128 + 32 * n;
  const float d = load_f16(block + 208);
  for (int i = 0; i < 2; ++i) w.scale[i] = d * static_cast<float>(static_cast<std::int8_t>(block[192 + 2 * g + i]));
  w.minimum[0] = w.minimum[1] = 0;
  for (int l = 0; l < 32; ++l) {
    const int low = q < 2 ? ql[l] & 15 : ql[l] >> 4;
    w.code[l] = low + 16 * ((qh[l] >> (2 * q)) & 3) - 32;
  }
  return w;
}

WeightGroup group_of_k2(const std::uint8_t* block, int g) {
  WeightGroup w;
  for (int i = 0; i < 2; ++i) {
    const int both = block[2 * g + i];
    w.factor[i] = both & 15;
    w.scale[i] = load_f16(block + 80);
    w.minimum[i] = -(load_f16(block + 82) * static_cast<float>(both >> 4));
  }
  for (int l = 0; l < 32; ++l) w.code[l] = (block[16 + 32 * (g / 4) + l] >> (2 * (g % 4))) & 3;
  return w;
}

WeightGroup group_of_k3(const std::uint8_t* block, int g) {
  WeightGroup w;
  const std::uint8_t* const scales = block + 96;
  for (int h = 0; h < 2; ++h) {
    const int i = 2 * g + h;  // of sixteen: eight low nibbles, eight high ones, and two bits of each in the last four
    const int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
    w.factor[h] = (low | ((scales[8 + i % 4] >> (2 * (i / 4))) & 3) << 4) - 32;
    w.scale[h] = load_f16(block + 108);
    w.minimum[h] = 0;
  }
  for (int l = 0; l < 32; ++l) {
    const int low = (block[32 + 32 * (g / 4) + l] >> (2 * (g % 4))) & 3;
    w.code[l] = low + 4 * ((block[l] >> g) & 1) - 4;
  }
  return w;
}

WeightGroup group_of_iq4_xs(const std::uint8_t* block, int g) {
  WeightGroup w;
  const int low = (block[4 + g / 2] >> (4 * (g % 2))) & 15, high = (load_u16(block + 2) >> (2 * g)) & 3;
  w.scale[0] = w.scale[1] = load_f16(block) * static_cast<float>((low | high << 4) - 32);
  w.minimum[0] = w.minimum[1] = 0;
  for (int i = 0; i < 32; ++i) w.code[i] = iq4_nl_values[nibble(block + 8 + 16 * g, i)];
  return w;
}

WeightGroup group_of_codebook(Format f, const std::uint8_t* block, int g) {
  WeightGroup w;
  const CodebookGroup stored = codebook_group(f, block, g);
  for (int h = 0; h < 2; ++h) {
    w.scale[h] = f16_to_f32(codebook_scale(f, block)) * static_cast<float>(stored.factor[h]) * codebook_unit(f);
    w.minimum[h] = 0;
  }
  for (int i = 0; i < 32; ++i) w.code[i] = codebook_levels(f)[stored.code[i]];
  return w;
}

// Group g of 2.
WeightGroup group_of_nvfp4(const std::uint8_t* block, int g) {
  WeightGroup w;
  for (int h = 0; h < 2; ++h) {
    const int sixteen = 2 * g + h;
    w.scale[h] = f16_to_f32(half_ue4m3_to_f16(block[sixteen]));
    w.minimum[h] = 0;
    const std::uint8_t* const qs = block + 4 + 8 * sixteen;
    for (int i = 0; i < 16; ++i) w.code[16 * h + i] = mxfp4_values[i < 8 ? qs[i] & 15 : qs[i - 8] >> 4];
  }
  return w;
}

WeightGroup group_of_256(Format f, const std::uint8_t* block, int g) {
  switch (f) {
    case Format::q2_k: return group_of_k2(block, g);
    case Format::q3_k: return group_of_k3(block, g);
    case Format::q6_k: return group_of_k6(block, g);
    case Format::iq4_xs: return group_of_iq4_xs(block, g);
    default: return group_of_k45(block, g, f == Format::q5_k);
  }
}

}  // namespace

WeightGroup weight_group(Format f, const void* row, std::size_t g) {
  const std::size_t groups = traits(f).group / 32;  // in a block
  const std::uint8_t* const p = static_cast<const std::uint8_t*>(row) + g / groups * traits(f).group_bytes;
  if (f == Format::nvfp4) return group_of_nvfp4(p, static_cast<int>(g % groups));
  if (has_codebook(f)) return group_of_codebook(f, p, static_cast<int>(g % groups));
  if (groups > 1) return group_of_256(f, p, static_cast<int>(g % groups));
  WeightGroup w;
  // bf16 holds every power of two down to 2^-133.
  const float d = f == Format::mxfp4 ? bf16_to_f32(p[0] < 2 ? static_cast<std::uint16_t>(0x20 << p[0])
                                                            : static_cast<std::uint16_t>((p[0] - 1) << 7))
                                     : load_f16(p);
  w.scale[0] = w.scale[1] = d;
  w.minimum[0] = w.minimum[1] = has_minimum(f) ? load_f16(p + 2) : 0.0f;
  for (int i = 0; i < 32; ++i) {
    switch (f) {
      case Format::q8_0: w.code[i] = static_cast<std::int8_t>(p[2 + i]); break;
      case Format::q4_1: w.code[i] = nibble(p + 4, i); break;
      case Format::q5_0: w.code[i] = nibble(p + 6, i) + 16 * static_cast<int>((load_u32(p + 2) >> i) & 1) - 16; break;
      case Format::q5_1: w.code[i] = nibble(p + 8, i) + 16 * static_cast<int>((load_u32(p + 4) >> i) & 1); break;
      case Format::iq4_nl: w.code[i] = iq4_nl_values[nibble(p + 2, i)]; break;
      case Format::mxfp4: w.code[i] = mxfp4_values[nibble(p + 1, i)]; break;
      default: w.code[i] = nibble(p + 2, i) - 8; break;
    }
  }
  return w;
}

bool scales_are_finite(Format f, const std::uint8_t* block) {
  const auto is_finite = [](std::uint16_t f16) { return (f16 & 0x7C00u) != 0x7C00u; };
  const auto finite = [&](std::size_t at) { return is_finite(load_u16(block + at)); };
  if (f == Format::mxfp4) return block[0] != 255;
  if (f == Format::nvfp4) return true;
  if (has_codebook(f)) return is_finite(codebook_scale(f, block));
  return finite(scale_offset(f)) && (!has_minimum(f) || finite(scale_offset(f) + 2));
}

void dequantise_row(Format f, const void* row, std::size_t k, float* out) {
  const std::uint8_t* p = static_cast<const std::uint8_t*>(row);
  if (f == Format::f32) {
    std::memcpy(out, p, k * 4);
    return;
  }
  if (!is_quantised(f)) {
    for (std::size_t i = 0; i < k; ++i) {
      const std::uint16_t bits = load_u16(p + 2 * i);
      out[i] = f == Format::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
    return;
  }
  for (std::size_t g = 0; g < k / 32; ++g) {
    const WeightGroup w = weight_group(f, row, g);
    for (int i = 0; i < 32; ++i) {
      const int h = i / 16;
      const float code = static_cast<float>(w.code[i]), scale = w.scale[h] * static_cast<float>(w.factor[h]);
      out[g * 32 + static_cast<std::size_t>(i)] = has_minimum(f) ? std::fma(scale, code, w.minimum[h]) : scale * code;
    }
  }
}

}  // namespace octavo

// Weight formats as the model's file stores them (cpp/files/quant.h says how), read a weight at a time: what a table of
// embeddings is gathered from. A format is a struct with the weights and bytes of a block, and weight(block, i). Values
// are those of docs/numerics.md, "embed". Linear weights are not read this way: they have a layout of their own.
//
// Blocks lie at any address, so 16-bit numbers are put together from bytes.
#pragma once
#include "kernels/device.cuh"

namespace octavo::gpu::stored {

using Bytes = const unsigned char*;

DEVICE unsigned word16(Bytes p) { return p[0] | static_cast<unsigned>(p[1]) << 8; }
DEVICE unsigned word32(Bytes p) { return word16(p) | word16(p + 2) << 16; }
DEVICE float scale16(Bytes p) { return half_to_float(static_cast<unsigned short>(word16(p))); }
DEVICE float times(float scale, int code) { return __fmul_rn(scale, static_cast<float>(code)); }
DEVICE float times_plus(float scale, int code, float minimum) {
  return __fmaf_rn(scale, static_cast<float>(code), minimum);
}
// Code i of 16 bytes of nibbles: the low ones, then the high ones.
DEVICE int nibble(Bytes qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }
// The lowest bytes are the first values.
DEVICE int signed_byte(unsigned long long values, int i) { return static_cast<signed char>(values >> (8 * i) & 255); }
// iq4_nl_values of cpp/files/quant.h.
DEVICE int iq4_nl_value(int code) {
  return signed_byte(code < 8 ? 0xF6EADDCFBFAD9881ull : 0x7159453526190D01ull, code & 7);
}
// mxfp4_values.
DEVICE int fp4_value(int code) {
  const int magnitude = signed_byte(0x0C08060403020100ull, code & 7);
  return code & 8 ? -magnitude : magnitude;
}

struct F32 {
  static constexpr int group = 1, bytes = 4;
  DEVICE static float weight(Bytes p, int) { return __uint_as_float(word32(p)); }
};
struct F16 {
  static constexpr int group = 1, bytes = 2;
  DEVICE static float weight(Bytes p, int) { return scale16(p); }
};
struct BF16 {
  static constexpr int group = 1, bytes = 2;
  DEVICE static float weight(Bytes p, int) { return __uint_as_float(word16(p) << 16); }
};

struct Q4_0 {
  static constexpr int group = 32, bytes = 18;
  DEVICE static float weight(Bytes p, int i) { return times(scale16(p), nibble(p + 2, i) - 8); }
};
struct Q4_1 {
  static constexpr int group = 32, bytes = 20;
  DEVICE static float weight(Bytes p, int i) { return times_plus(scale16(p), nibble(p + 4, i), scale16(p + 2)); }
};
struct Q5_0 {
  static constexpr int group = 32, bytes = 22;
  DEVICE static float weight(Bytes p, int i) {
    const int high = static_cast<int>(word32(p + 2) >> i & 1);
    return times(scale16(p), nibble(p + 6, i) + 16 * high - 16);
  }
};
struct Q5_1 {
  static constexpr int group = 32, bytes = 24;
  DEVICE static float weight(Bytes p, int i) {
    const int high = static_cast<int>(word32(p + 4) >> i & 1);
    return times_plus(scale16(p), nibble(p + 8, i) + 16 * high, scale16(p + 2));
  }
};
struct Q8_0 {
  static constexpr int group = 32, bytes = 34;
  DEVICE static float weight(Bytes p, int i) { return times(scale16(p), static_cast<signed char>(p[2 + i])); }
};
struct Iq4Nl {
  static constexpr int group = 32, bytes = 18;
  DEVICE static float weight(Bytes p, int i) { return times(scale16(p), iq4_nl_value(nibble(p + 2, i))); }
};
struct Mxfp4 {
  static constexpr int group = 32, bytes = 17;
  // 2^(e - 128): subnormal below e = 2.
  DEVICE static float weight(Bytes p, int i) {
    const unsigned e = p[0], bits = e < 2 ? 0x200000u << e : (e - 1) << 23;
    return times(__uint_as_float(bits), fp4_value(nibble(p + 1, i)));
  }
};
struct Nvfp4 {
  static constexpr int group = 64, bytes = 36;
  // An FP8 E4M3 number without its sign, halved; 0x7F stands for 0.
  DEVICE static float half_scale(unsigned bits) {
    const unsigned exponent = bits >> 3 & 15, mantissa = bits & 7;
    if (bits == 0x7F) return 0;
    if (exponent == 0) return __fmul_rn(static_cast<float>(mantissa), 0x1p-10f);
    return __uint_as_float((exponent + 119) << 23 | mantissa << 20);
  }
  DEVICE static float weight(Bytes p, int i) {
    const int sixteen = i / 16, j = i % 16;
    const Bytes qs = p + 4 + 8 * sixteen;
    return times(half_scale(p[sixteen]), fp4_value(j < 8 ? qs[j] & 15 : qs[j - 8] >> 4));
  }
};

// Scale (or minimum) g of a q4_k or q5_k block, six bits.
DEVICE int packed_scale(Bytes scales, int g, bool minimum) {
  const Bytes own = scales + (minimum ? 4 : 0);
  if (g < 4) return own[g] & 63;
  const int low = minimum ? scales[g + 4] >> 4 : scales[g + 4] & 15;
  return low | (own[g - 4] >> 6) << 4;
}
template <bool five_bits>
struct Q45K {
  static constexpr int group = 256, bytes = five_bits ? 176 : 144;
  DEVICE static float weight(Bytes p, int i) {
    const int g = i / 32, l = i % 32, q = p[(five_bits ? 48 : 16) + 32 * (g / 2) + l];
    int code = g % 2 == 0 ? q & 15 : q >> 4;
    if (five_bits) code += 16 * (p[16 + l] >> g & 1);
    return times_plus(times(scale16(p), packed_scale(p + 4, g, false)), code,
                      -times(scale16(p + 2), packed_scale(p + 4, g, true)));
  }
};
using Q4K = Q45K<false>;
using Q5K = Q45K<true>;

struct Q6K {
  static constexpr int group = 256, bytes = 210;
  DEVICE static float weight(Bytes p, int i) {
    const int n = i / 128, q = i / 32 % 4, l = i % 32, low = p[64 * n + 32 * (q % 2) + l];
    const int code = (q < 2 ? low & 15 : low >> 4) + 16 * (p[128 + 32 * n + l] >> (2 * q) & 3) - 32;
    return times(times(scale16(p + 208), static_cast<signed char>(p[192 + i / 16])), code);
  }
};
struct Q2K {
  static constexpr int group = 256, bytes = 84;
  DEVICE static float weight(Bytes p, int i) {
    const int both = p[i / 16], code = p[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
    return times_plus(times(scale16(p + 80), both & 15), code, -times(scale16(p + 82), both >> 4));
  }
};
struct Q3K {
  static constexpr int group = 256, bytes = 110;
  DEVICE static float weight(Bytes p, int i) {
    const int h = i / 16, l = i % 32;
    const Bytes scales = p + 96;
    const int low = h < 8 ? scales[h] & 15 : scales[h - 8] >> 4, high = scales[8 + h % 4] >> (2 * (h / 4)) & 3;
    const int code = (p[32 + 32 * (i / 128) + l] >> (2 * (i / 32 % 4)) & 3) + 4 * (p[l] >> (i / 32) & 1) - 4;
    return times(times(scale16(p + 108), (low | high << 4) - 32), code);
  }
};
struct Iq4Xs {
  static constexpr int group = 256, bytes = 136;
  DEVICE static float weight(Bytes p, int i) {
    const int g = i / 32, low = p[4 + g / 2] >> (4 * (g % 2)) & 15;
    const int high = static_cast<int>(word16(p + 2) >> (2 * g) & 3);
    return times(times(scale16(p), (low | high << 4) - 32), iq4_nl_value(nibble(p + 8 + 16 * g, i % 32)));
  }
};

}  // namespace octavo::gpu::stored

// cpp/cpu/isa/simd/simd.h in plain C++: 16 lanes are an array. Correct everywhere (fma through the C library where the machine
// has none), with no speed goal.
#pragma once

#include "files/quant.h"

namespace {

struct f32x16 {
  float v[16];
};
struct i32x16 {
  std::int32_t v[16];
};

template <class F>
SIMD_FN f32x16 f_each(F f) {
  f32x16 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
template <class F>
SIMD_FN i32x16 i_each(F f) {
  i32x16 r;
  for (int i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}

SIMD_FN f32x16 f_set(float x) { return f_each([&](int) { return x; }); }
SIMD_FN f32x16 f_zero() { return f_set(0.0f); }
SIMD_FN f32x16 f_load(const float* p) { return f_each([&](int i) { return p[i]; }); }
SIMD_FN void f_store(float* p, const f32x16& a) { std::memcpy(p, a.v, 64); }
SIMD_FN void f_stream(float* p, const f32x16& a) { f_store(p, a); }
SIMD_FN void stream_fence() {}
SIMD_FN f32x16 f_add(const f32x16& a, const f32x16& b) { return f_each([&](int i) { return a.v[i] + b.v[i]; }); }
SIMD_FN f32x16 f_sub(const f32x16& a, const f32x16& b) { return f_each([&](int i) { return a.v[i] - b.v[i]; }); }
SIMD_FN f32x16 f_mul(const f32x16& a, const f32x16& b) { return f_each([&](int i) { return a.v[i] * b.v[i]; }); }
SIMD_FN f32x16 f_div(const f32x16& a, const f32x16& b) { return f_each([&](int i) { return a.v[i] / b.v[i]; }); }
SIMD_FN f32x16 f_fma(const f32x16& a, const f32x16& b, const f32x16& c) {
  return f_each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
SIMD_FN f32x16 f_max(const f32x16& a, const f32x16& b) {
  return f_each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
SIMD_FN f32x16 f_min(const f32x16& a, const f32x16& b) {
  return f_each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
SIMD_FN f32x16 f_abs(const f32x16& a) { return f_each([&](int i) { return __builtin_fabsf(a.v[i]); }); }
SIMD_FN f32x16 f_rint(const f32x16& a) { return f_each([&](int i) { return __builtin_rintf(a.v[i]); }); }
SIMD_FN f32x16 f_from_int(const i32x16& a) { return f_each([&](int i) { return static_cast<float>(a.v[i]); }); }
SIMD_FN f32x16 f_load_f16(const std::uint16_t* p) { return f_each([&](int i) { return octavo::f16_to_f32(p[i]); }); }
SIMD_FN f32x16 f_load_bf16(const std::uint16_t* p) { return f_each([&](int i) { return octavo::bf16_to_f32(p[i]); }); }
SIMD_FN f32x16 f_load_u8(const std::uint8_t* p) { return f_each([&](int i) { return static_cast<float>(p[i]); }); }
SIMD_FN f32x16 f_load_i8(const std::uint8_t* p) {
  return f_each([&](int i) { return static_cast<float>(static_cast<std::int8_t>(p[i])); });
}
template <int which>
SIMD_FN f32x16 f_load_pair_high(const std::uint8_t* p) {
  return f_each([&](int i) { return static_cast<float>(p[2 * i + which] >> 4); });
}
// 64 codes of fp8 (dwords of 4), exactly and times 2^-112: member v of the 16 dwords is out[v]. s eeee mmm becomes the
// f32 s 0000eeee mmm0..., subnormals included; first as the upper half of it, in words.
constexpr float fp8_raised = 1;
SIMD_FN void f_expand_fp8(const std::uint8_t* p, f32x16* out) {
  for (int v = 0; v < 4; ++v)
    out[v] = f_each([&](int i) {
      const std::uint32_t code = p[4 * i + v], bits = (code & 128) << 24 | (code & 127) << 20;
      float x;
      std::memcpy(&x, &bits, 4);
      return x;
    });
}
// Saturates at 65504; comparisons are false for a NaN, which keeps it.
SIMD_FN void f_store_f16(std::uint16_t* p, const f32x16& a) {
  for (int i = 0; i < 16; ++i) {
    const float x = a.v[i] > 65504.0f ? 65504.0f : a.v[i] < -65504.0f ? -65504.0f : a.v[i];
    p[i] = octavo::f32_to_f16(x);
  }
}
// 2^n for integral n in [-126, 127]
SIMD_FN f32x16 f_power_of_two(const f32x16& n) {
  return f_each([&](int i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<int>(n.v[i]) + 127) << 23;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
  });
}
// Lanes [begin, end) of a, elsewhere b.
SIMD_FN f32x16 f_keep(const f32x16& a, int begin, int end, const f32x16& b) {
  return f_each([&](int i) { return i >= begin && i < end ? a.v[i] : b.v[i]; });
}
SIMD_FN float f_first(const f32x16& a) { return a.v[0]; }
SIMD_FN float f_reduce_max(const f32x16& a) {
  float m = a.v[0];
  for (int i = 1; i < 16; ++i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
// The largest |lane| of both; a NaN counts as the largest.
SIMD_FN float f_largest_magnitude(const f32x16& a, const f32x16& b) {
  float m = 0;
  for (int i = 0; i < 32; ++i) {
    const float x = __builtin_fabsf(i < 16 ? a.v[i] : b.v[i - 16]);
    m = x > m || x != x ? x : m;
    if (m != m) break;
  }
  return m;
}
// The tree of docs/numerics.md: distance 8, 4, 2, 1.
SIMD_FN float f_sum_tree(const f32x16& a) {
  f32x16 l = a;
  for (int step = 8; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) l.v[i] += l.v[i + step];
  return l.v[0];
}

// Pairs (u, v) in neighbouring lanes.
SIMD_FN f32x16 f_dup_even(const f32x16& a) { return f_each([&](int i) { return a.v[i & ~1]; }); }
SIMD_FN f32x16 f_dup_odd(const f32x16& a) { return f_each([&](int i) { return a.v[i | 1]; }); }
SIMD_FN f32x16 f_swap_pairs(const f32x16& a) { return f_each([&](int i) { return a.v[i ^ 1]; }); }
SIMD_FN f32x16 f_negate_even(const f32x16& a) { return f_each([&](int i) { return i & 1 ? a.v[i] : -a.v[i]; }); }
// 16 pairs: first members, second members.
SIMD_FN void f_load_pairs(const float* p, f32x16& first, f32x16& second) {
  first = f_each([&](int i) { return p[2 * i]; });
  second = f_each([&](int i) { return p[2 * i + 1]; });
}

SIMD_FN i32x16 i_load(const void* p) {
  i32x16 r;
  std::memcpy(r.v, p, 64);
  return r;
}
SIMD_FN i32x16 i_add(const i32x16& a, const i32x16& b) {
  return i_each([&](int i) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) + static_cast<std::uint32_t>(b.v[i]));
  });
}
SIMD_FN i32x16 i_sub(const i32x16& a, const i32x16& b) {
  return i_each([&](int i) { return a.v[i] - b.v[i]; });
}
SIMD_FN i32x16 i_shift_left_7(const i32x16& a) { return i_each([&](int i) { return a.v[i] * 128; }); }
SIMD_FN i32x16 i_shift_right_7(const i32x16& a) { return i_each([&](int i) { return a.v[i] >> 7; }); }
SIMD_FN i32x16 i_set(int x) { return i_each([&](int) { return x; }); }
SIMD_FN i32x16 i_from_float(const f32x16& a) {
  return i_each([&](int i) { return static_cast<std::int32_t>(__builtin_rintf(a.v[i])); });
}
SIMD_FN int i_reduce_add(const i32x16& a) {
  int s = 0;
  for (int i = 0; i < 16; ++i) s += a.v[i];
  return s;
}
SIMD_FN void i_store_bytes(std::int8_t* p, const i32x16& a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(a.v[i]);
}

struct Quad {
  std::int8_t v[4];
};
struct Codes {
  std::uint8_t v[64];
};
SIMD_FN Quad quad_load(const std::int8_t* p) {
  Quad q;
  std::memcpy(q.v, p, 4);
  return q;
}
SIMD_FN Codes codes_load(const std::uint8_t* p) {
  Codes c;
  std::memcpy(c.v, p, 64);
  return c;
}
SIMD_FN void codes_store(std::uint8_t* p, const Codes& c) { std::memcpy(p, c.v, 64); }
SIMD_FN Codes codes_set(int v) {
  Codes r;
  std::memset(r.v, v, 64);
  return r;
}
SIMD_FN Codes codes_minus(const Codes& c, const Codes& d) {
  Codes r;
  for (int i = 0; i < 64; ++i) r.v[i] = static_cast<std::uint8_t>(c.v[i] - d.v[i]);
  return r;
}
SIMD_FN Codes codes_low(const Codes& c) {
  Codes r;
  for (int i = 0; i < 64; ++i) r.v[i] = c.v[i] & 15;
  return r;
}
SIMD_FN Codes codes_high(const Codes& c) {
  Codes r;
  for (int i = 0; i < 64; ++i) r.v[i] = static_cast<std::uint8_t>(c.v[i] >> 4);
  return r;
}

using SmallDot = i32x16;
SIMD_FN SmallDot small_begin(int start) { return i_set(start); }
SIMD_FN i32x16 small_dot(i32x16 acc, const Codes& w, Quad x) {
  for (int i = 0; i < 64; ++i) acc.v[i / 4] += static_cast<int>(w.v[i]) * x.v[i % 4];
  return acc;
}
SIMD_FN i32x16 small_end(const SmallDot& acc, int) { return acc; }

constexpr int byte_offset = 128;
using Bytes = Codes;
SIMD_FN Bytes bytes_prepare(const Codes& c) { return c; }
SIMD_FN i32x16 byte_dot(const i32x16& acc, const Bytes& w, Quad x) { return small_dot(acc, w, x); }

SIMD_FN i32x16 unsigned_dot(const i32x16& acc, const Codes& w, Quad x) { return small_dot(acc, w, x); }
// codes | (bits moved up by `shift` & mask)
template <int shift, int mask>
SIMD_FN Codes codes_with_bits(const Codes& codes, const Codes& bits) {
  Codes r;
  for (int i = 0; i < 64; ++i) {
    const int moved = shift >= 0 ? bits.v[i] << (shift > 0 ? shift : 0) : bits.v[i] >> (shift < 0 ? -shift : 0);
    r.v[i] = static_cast<std::uint8_t>(codes.v[i] | (moved & mask));
  }
  return r;
}
SIMD_FN Codes codes_lookup(const Codes& nibbles, const std::uint8_t* table16) {
  Codes r;
  for (int i = 0; i < 64; ++i) r.v[i] = table16[nibbles.v[i]];
  return r;
}

template <class F>
SIMD_FN Codes codes_each(F f) {
  Codes r;
  for (int i = 0; i < 64; ++i) r.v[i] = static_cast<std::uint8_t>(f(i));
  return r;
}
template <int shift>
SIMD_FN Codes codes_pair(const Codes& c) {
  return codes_each([&](int i) { return c.v[i] >> shift & 3; });
}
struct RowPairs {
  std::int8_t v[32];
};
SIMD_FN RowPairs pairs_load(const std::uint8_t* p) {
  RowPairs pairs;
  std::memcpy(pairs.v, p, 32);
  return pairs;
}
SIMD_FN RowPairs pairs_load_low(const std::uint8_t* p) {
  RowPairs pairs = pairs_load(p);
  for (std::int8_t& v : pairs.v) v = v & 15;
  return pairs;
}
SIMD_FN i32x16 pairs_dot(const i32x16& a, const i32x16& b, const RowPairs& factors) {
  return i_each([&](int i) { return a.v[i] * factors.v[2 * i] + b.v[i] * factors.v[2 * i + 1]; });
}
template <int which>
SIMD_FN Codes pair_factors(const RowPairs& pairs) {
  return codes_each([&](int i) { return pairs.v[i / 4 * 2 + which]; });
}
SIMD_FN Codes row_bias(const Codes& factors) {
  return codes_each([&](int i) { return 128 - 4 * factors.v[i]; });
}
SIMD_FN Codes codes_times(const Codes& c, const Codes& factors) {
  return codes_each([&](int i) { return c.v[i] * factors.v[i]; });
}
SIMD_FN Codes codes_times_plus(const Codes& c, const Codes& factors, const Codes& bias) {
  return codes_each([&](int i) { return c.v[i] * factors.v[i] + bias.v[i]; });
}

SIMD_FN void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

constexpr int small_panel = 1, medium_panel = 1, large_panel = 1, float_panel_tokens = 1, float_tiles_at_once = 1;
constexpr int halves_at_once = 1, attention_rows = 1, attention_int8_rows = 1, fma_chains = 1;
constexpr int one_token_chains = 1;
constexpr bool unpacks_tiles = true;

SIMD_FN double int8_operations_loop(std::int64_t rounds) {
  i32x16 acc = i_set(0);
  Codes w{};
  for (std::int64_t n = 0; n < rounds; ++n) {
    acc = small_dot(acc, w, Quad{{1, 1, 1, 1}});
    __asm__ volatile("" : : "r"(acc.v), "r"(w.v) : "memory");
  }
  return static_cast<double>(rounds) * 128;
}

}  // namespace

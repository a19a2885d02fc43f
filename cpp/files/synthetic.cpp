// Weights from a counter: word i of row r of tensor t is a hash of (seed, t, r, i), so that nothing depends on what was
// made before. The hash is splitmix64's finaliser (Steele, Lea and Flood 2014) over a Weyl sequence. Bell-shaped codes
// come from adding independent uniform fields inside one 64-bit word: no carry crosses a field, no branch, and of the
// library only sqrt, which is exact everywhere.
// Speed: 2.5 GB/s of q4_0, 0.5 GB/s of f16 on one 2024 server core.
#include "files/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "splitmix.h"

namespace octavo {

namespace {

struct Stream {
  std::uint64_t state;
  std::uint64_t next() { return splitmix_finalise(state += splitmix_step); }
};

Stream row_stream(std::uint64_t seed, std::uint32_t tensor, std::int64_t row) {
  return {splitmix_finalise(splitmix_finalise(seed ^ splitmix_step) +
                            splitmix_finalise((std::uint64_t{tensor} << 40) ^ static_cast<std::uint64_t>(row)))};
}

// Standard deviations of the codes below, for unit scale.
constexpr double five_bit_deviation = 6.519202405202649;   // two uniform 0..15: sqrt(2 * 255 / 12)
constexpr double six_bit_deviation = 13.057564857200596;    // two uniform 0..31: sqrt(2 * 1023 / 12)
// Of iq4_nl's values at the nibbles below, and of mxfp4's (doubled) when each is as likely.
constexpr double iq4_nl_deviation = 43.82012237545669, mxfp4_deviation = 5.852349955359812;
constexpr double nibble_deviation = 3.2403703492039302;  // two uniform 0..7: sqrt(2 * 63 / 12)
constexpr double byte_deviation = 52.254186428983104;    // two uniform 0..127: sqrt(2 * 16383 / 12)
constexpr double sum_deviation = 37837.227;              // four uniform 0..65535: sqrt(4 * (2^32 - 1) / 12)

// 16 nibbles in 1..15, mean 8, triangular.
std::uint64_t nibbles(Stream& s) {
  constexpr std::uint64_t low3 = 0x7777777777777777ull, ones = 0x1111111111111111ull;
  return (s.next() & low3) + (s.next() & low3) + ones;
}

// 8 signed bytes in -127..127, mean 0, triangular: sums 0..254 minus 127, without borrow between bytes.
std::uint64_t signed_bytes(Stream& s) {
  constexpr std::uint64_t low7 = 0x7F7F7F7F7F7F7F7Full, ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
  return ((s.next() & low7) + (s.next() & low7) + ones) ^ high;
}

// 32 codes of five or six bits, one a byte, mean half their range: sums of two uniform ones, plus 1.
struct WideCodes {
  std::uint8_t v[32];
};
WideCodes wide_codes(Stream& s, int bits) {
  constexpr std::uint64_t ones = 0x0101010101010101ull;
  const std::uint64_t half = ones * ((1u << (bits - 1)) - 1);
  WideCodes codes;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t eight = (s.next() & half) + (s.next() & half) + ones;
    std::memcpy(codes.v + 8 * i, &eight, 8);
  }
  return codes;
}

// Roughly normal, deviation sum_deviation: the four 16-bit fields of a word, added and centred; exact in f32.
float bell(Stream& s) {
  const std::uint64_t z = s.next();
  const std::uint64_t sum = (z & 0xFFFF) + ((z >> 16) & 0xFFFF) + ((z >> 32) & 0xFFFF) + (z >> 48);
  return static_cast<float>(static_cast<std::int32_t>(sum) - 131070);
}

// Groups differ in scale, as trained ones do: 64 steps from 0.75 to 1.25 of `mean`. times_8d and times_16d are 8 and 16
// times d, exactly: the middle of the codes of four and five bits.
struct Scales {
  std::uint16_t d[64], times_8d[64], times_16d[64];
  double mean;
  explicit Scales(double mean_) : mean(mean_) {
    for (int i = 0; i < 64; ++i) {
      d[i] = f32_to_f16(static_cast<float>(mean * (0.75 + i / 126.0)));
      times_8d[i] = f32_to_f16(8.0f * f16_to_f32(d[i]));
      times_16d[i] = f32_to_f16(16.0f * f16_to_f32(d[i]));
    }
  }
};
constexpr std::uint16_t sign_bit = 0x8000;

// Formats that random bits fill as well as any: every code and scale of scales is as likely, and d is what is wanted.
// Of q2_k the minimum is put where the middle of the codes is 0.
bool takes_random_bits(Format format) {
  return format == Format::q2_k || format == Format::q3_k || format == Format::iq4_xs || format == Format::nvfp4 ||
         has_codebook(format);
}
std::uint8_t nearest_ue4m3(float value) {
  int nearest = 0;
  const auto distance = [&](int bits) {
    return std::fabs(2 * f16_to_f32(half_ue4m3_to_f16(static_cast<std::uint8_t>(bits))) - value);
  };
  for (int bits = 1; bits < 0x7F; ++bits)
    if (distance(bits) < distance(nearest)) nearest = bits;
  return static_cast<std::uint8_t>(nearest);
}
// nvfp4's FP8 scales are the nearest; iq1_m's d is put together of nibbles.
void put_random_block(Format format, Stream& s, std::uint16_t d, std::uint8_t* out) {
  const std::size_t bytes = traits(format).group_bytes;
  for (std::size_t at = 0; at < bytes; at += 8) {
    const std::uint64_t random = s.next();
    std::memcpy(out + at, &random, std::min<std::size_t>(8, bytes - at));
  }
  if (format == Format::nvfp4) {
    std::memset(out, nearest_ue4m3(2 * f16_to_f32(d)), 4);
    return;
  }
  if (format == Format::iq1_m) {
    for (int i = 0; i < 4; ++i)
      out[49 + 2 * i] = static_cast<std::uint8_t>((out[49 + 2 * i] & 15) | (d >> (4 * i) & 15) << 4);
    return;
  }
  std::memcpy(out + scale_offset(format), &d, 2);
  if (format != Format::q2_k) return;
  const std::uint16_t middle = f32_to_f16(1.5f * f16_to_f32(d));
  std::memcpy(out + scale_offset(format) + 2, &middle, 2);
  for (int i = 0; i < 16; ++i) out[i] = static_cast<std::uint8_t>((out[i] & 15) * 0x11);
}
// Of their weights, measured.
double random_deviation(Format format) {
  constexpr int blocks = 32;
  const std::size_t weights = traits(format).group;
  std::vector<std::uint8_t> block(traits(format).group_bytes);
  std::vector<float> values(weights);
  Stream s = row_stream(0, 0, 0);
  double squares = 0;
  for (int i = 0; i < blocks; ++i) {
    put_random_block(format, s, f32_to_f16(1), block.data());
    dequantise_row(format, block.data(), weights, values.data());
    for (const float value : values) squares += static_cast<double>(value) * value;
  }
  return std::sqrt(squares / static_cast<double>(blocks * weights));
}

double unit_deviation(Format format) {
  if (takes_random_bits(format)) return random_deviation(format);
  switch (format) {
    case Format::q8_0: return byte_deviation;
    case Format::q5_0:
    case Format::q5_1: return five_bit_deviation;
    // Scales of scales are 40..55, 47.5 in the middle.
    case Format::q4_k: return 47.5 * nibble_deviation;
    case Format::q5_k: return 47.5 * five_bit_deviation;
    case Format::q6_k: return 47.5 * six_bit_deviation;
    case Format::iq4_nl: return iq4_nl_deviation;
    case Format::mxfp4: return mxfp4_deviation;
    default: return nibble_deviation;
  }
}

template <typename T>
void put(std::uint8_t*& to, const T& value) {
  std::memcpy(to, &value, sizeof value);
  to += sizeof value;
}

// q5_0, q5_1 after their scales: bits 4 of the codes, then the nibbles.
void put_five_bits(std::uint8_t*& out, const WideCodes& codes) {
  std::uint32_t high = 0;
  for (int i = 0; i < 32; ++i) high |= static_cast<std::uint32_t>(codes.v[i] >> 4) << i;
  put(out, high);
  for (int i = 0; i < 16; ++i) *out++ = static_cast<std::uint8_t>((codes.v[i] & 15) | (codes.v[i + 16] & 15) << 4);
}

// A power of two: the one below `mean` or the next, so often that the mean of the squares is right.
std::uint8_t power_of_two_scale(Stream& s, double mean) {
  int exponent;
  const double fraction = 2 * std::frexp(mean, &exponent);  // mean = fraction * 2^(exponent - 1), 1 <= fraction < 2
  const double share = (fraction * fraction - 1) / 3;
  const bool next = static_cast<double>(s.next() >> 11) * 0x1p-53 < share;
  return static_cast<std::uint8_t>(exponent - 1 + 128 + (next ? 1 : 0));
}

// q4_k, q5_k and q6_k: 256 weights in the layouts of quant.h. Eight (sixteen) scales 40..55; a minimum is 8 (16)
// scales.
void put_block_of_256(Format format, Stream& s, const Scales& scales, std::uint8_t* out) {
  const std::size_t d = s.next() >> 58;
  std::memset(out, 0, traits(format).group_bytes);
  const std::uint64_t parts = s.next();
  if (format == Format::q6_k) {
    std::memcpy(out + 208, &scales.d[d], 2);
    for (int i = 0; i < 16; ++i) {
      const int scale = 40 + static_cast<int>(parts >> (4 * i) & 15);
      out[192 + i] = static_cast<std::uint8_t>(i % 3 == 0 ? -scale : scale);
    }
    for (int g = 0; g < 8; ++g) {
      const WideCodes codes = wide_codes(s, 6);
      const int n = g / 4, q = g % 4;
      for (int l = 0; l < 32; ++l) {
        out[64 * n + 32 * (q % 2) + l] |= static_cast<std::uint8_t>((codes.v[l] & 15) << (4 * (q / 2)));
        out[128 + 32 * n + l] |= static_cast<std::uint8_t>(codes.v[l] >> 4 << (2 * q));
      }
    }
    return;
  }
  const bool five = format == Format::q5_k;
  std::memcpy(out, &scales.d[d], 2);
  std::memcpy(out + 2, five ? &scales.times_16d[d] : &scales.times_8d[d], 2);
  for (int g = 0; g < 8; ++g) {
    const unsigned scale = 40 + static_cast<unsigned>(parts >> (4 * g) & 15);
    if (g < 4) {
      out[4 + g] |= static_cast<std::uint8_t>(scale);
      out[8 + g] |= static_cast<std::uint8_t>(scale);
    } else {
      out[8 + g] = static_cast<std::uint8_t>((scale & 15) | (scale & 15) << 4);
      out[g] |= static_cast<std::uint8_t>(scale >> 4 << 6);
      out[4 + g] |= static_cast<std::uint8_t>(scale >> 4 << 6);
    }
  }
  for (int g = 0; g < 8; ++g) {
    WideCodes codes;
    if (five) codes = wide_codes(s, 5);
    else {
      const std::uint64_t words[2] = {nibbles(s), nibbles(s)};
      for (int i = 0; i < 32; ++i) codes.v[i] = static_cast<std::uint8_t>(words[i / 16] >> (4 * (i % 16)) & 15);
    }
    for (int l = 0; l < 32; ++l) {
      out[(five ? 48 : 16) + 32 * (g / 2) + l] |= static_cast<std::uint8_t>((codes.v[l] & 15) << (4 * (g % 2)));
      if (five) out[16 + l] |= static_cast<std::uint8_t>(codes.v[l] >> 4 << g);
    }
  }
}

// 32 weights of the other formats.
void put_block_of_32(Format format, Stream& s, const Scales& scales, std::uint8_t* out) {
  if (format == Format::mxfp4) {
    put(out, power_of_two_scale(s, scales.mean));
    put(out, s.next());
    put(out, s.next());
    return;
  }
  const std::uint64_t random = s.next();
  const std::size_t d = random >> 58;
  // The levels of iq4_nl are not centred: half of the groups have the other sign.
  const bool negative = format == Format::iq4_nl && (random & 1) != 0;
  put(out, static_cast<std::uint16_t>(scales.d[d] ^ (negative ? sign_bit : 0)));
  if (format == Format::q4_1) put(out, static_cast<std::uint16_t>(scales.times_8d[d] | sign_bit));
  if (format == Format::q5_1) put(out, static_cast<std::uint16_t>(scales.times_16d[d] | sign_bit));
  if (format == Format::q5_0 || format == Format::q5_1) {
    put_five_bits(out, wide_codes(s, 5));
    return;
  }
  for (int i = 0; i < (format == Format::q8_0 ? 4 : 2); ++i)
    put(out, format == Format::q8_0 ? signed_bytes(s) : nibbles(s));
}

void quantised_row(Format format, Stream s, std::int64_t k, const Scales& scales, std::uint8_t* out) {
  const std::int64_t group = traits(format).group;
  for (std::int64_t g = 0; g < k / group; ++g, out += traits(format).group_bytes) {
    if (takes_random_bits(format)) put_random_block(format, s, scales.d[s.next() >> 58], out);
    else if (group == 256) put_block_of_256(format, s, scales, out);
    else put_block_of_32(format, s, scales, out);
  }
}

void float_row(Format format, Stream s, std::int64_t k, float scale, std::uint8_t* out) {
  for (std::int64_t i = 0; i < k; ++i) {
    const float v = bell(s) * scale;
    if (format == Format::f32) {
      const float around_one = 1.0f + v;
      std::memcpy(out + 4 * i, &around_one, 4);
    } else {
      const std::uint16_t h = format == Format::f16 ? f32_to_f16(v) : f32_to_bf16(v);
      std::memcpy(out + 2 * i, &h, 2);
    }
  }
}

}  // namespace

void synthetic_rows(Format format, std::uint64_t seed, std::uint32_t tensor, std::int64_t row, std::int64_t count,
                    std::int64_t k, void* out) {
  const double deviation = 1 / std::sqrt(static_cast<double>(k));
  const std::size_t stride = row_bytes(format, static_cast<std::size_t>(k));
  std::uint8_t* to = static_cast<std::uint8_t*>(out);
  if (is_quantised(format)) {
    const Scales scales(deviation / unit_deviation(format));
    for (std::int64_t r = row; r < row + count; ++r, to += stride)
      quantised_row(format, row_stream(seed, tensor, r), k, scales, to);
    return;
  }
  constexpr double norm_deviation = 0.05;
  const float scale = static_cast<float>((format == Format::f32 ? norm_deviation : deviation) / sum_deviation);
  for (std::int64_t r = row; r < row + count; ++r, to += stride)
    float_row(format, row_stream(seed, tensor, r), k, scale, to);
}

}  // namespace octavo

// Conversions of 16-bit floats, exhaustively and against arithmetic that looks at no bits; stored rows against values
// written by hand from the format's description.
#include <doctest.h>

#include <cmath>
#include <limits>

#include "../../../test/goldens/weight-goldens.h"
#include "tests/compare.h"

using namespace octavo;

namespace {

// The value of a 16-bit float with the given field widths, by its definition.
double value_of(std::uint32_t bits, int exponent_bits, int fraction_bits) {
  const int exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const double fraction = bits & ((1u << fraction_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits & 0x8000u ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(std::ldexp(1.0, fraction_bits) + fraction, exponent - bias - fraction_bits);
}

bool same(float a, double b) {
  return std::isnan(b) ? std::isnan(a) : static_cast<double>(a) == b && std::signbit(a) == std::signbit(b);
}

// Between each two neighbours: just below halfway, halfway (to the even one) and just above.
template <typename Encode>
int wrong_roundings(Encode encode, int exponent_bits, int fraction_bits, std::uint32_t last_finite) {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < last_finite; ++bits) {
    const double low = value_of(bits, exponent_bits, fraction_bits),
                 high = value_of(bits + 1, exponent_bits, fraction_bits);
    const float half = static_cast<float>((low + high) / 2);
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const float s = sign != 0 ? -1.0f : 1.0f;
      wrong += encode(s * std::nextafter(half, 0.0f)) != (bits | sign);
      wrong += encode(s * half) != ((bits % 2 == 0 ? bits : bits + 1) | sign);
      wrong += encode(s * std::nextafter(half, INFINITY)) != ((bits + 1) | sign);
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("every f16 and bf16 converts to its value and back") {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto h = static_cast<std::uint16_t>(bits);
    wrong += !same(f16_to_f32(h), value_of(bits, 5, 10));
    wrong += !same(bf16_to_f32(h), value_of(bits, 8, 7));
    // A signalling NaN comes back quiet; everything else comes back as it was.
    const bool f16_nan = std::isnan(f16_to_f32(h)), bf16_nan = std::isnan(bf16_to_f32(h));
    wrong += f32_to_f16(f16_to_f32(h)) != (f16_nan ? (h | 0x200u) : h);
    wrong += f32_to_bf16(bf16_to_f32(h)) != (bf16_nan ? (h | 0x40u) : h);
  }
  CHECK(wrong == 0);
}

TEST_CASE("f32 rounds to the nearest f16 and bf16, halfway to even") {
  CHECK(wrong_roundings(f32_to_f16, 5, 10, 0x7BFF) == 0);
  CHECK(wrong_roundings(f32_to_bf16, 8, 7, 0x7F7F) == 0);
  CHECK(f32_to_f16(65519.996f) == 0x7BFF);
  CHECK(f32_to_f16(65520.0f) == 0x7C00);
  CHECK(f32_to_f16(-std::numeric_limits<float>::max()) == 0xFC00);
  CHECK(f32_to_f16(std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(f32_to_f16(0x1p-25f) == 0);
  CHECK(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)) == 1);
  CHECK(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(f32_to_bf16(-0.0f) == 0x8000);
}

TEST_CASE("a stored row gives the values its format describes") {
  float out[32];
  SUBCASE("q4_0: d * (code - 8), low nibbles first") {
    std::uint8_t row[18] = {0x00, 0x38};  // d = 0.5
    for (int j = 0; j < 16; ++j) row[2 + j] = static_cast<std::uint8_t>(j | (15 - j) << 4);
    dequantise_row(Format::q4_0, row, 32, out);
    for (int j = 0; j < 16; ++j) {
      CHECK(out[j] == 0.5f * static_cast<float>(j - 8));
      CHECK(out[j + 16] == 0.5f * static_cast<float>(7 - j));
    }
  }
  SUBCASE("q4_1: d * code + m, rounded once") {
    std::uint8_t row[20] = {0x01, 0x3C, 0xFF, 0xBB};  // d = 1 + 2^-10, m = -(1 - 2^-11)
    for (int j = 0; j < 16; ++j) row[4 + j] = static_cast<std::uint8_t>(j | (15 - j) << 4);
    dequantise_row(Format::q4_1, row, 32, out);
    for (int j = 0; j < 16; ++j) {
      CHECK(out[j] == static_cast<float>((1 + 0x1p-10) * j - (1 - 0x1p-11)));
      CHECK(out[j + 16] == static_cast<float>((1 + 0x1p-10) * (15 - j) - (1 - 0x1p-11)));
    }
  }
  SUBCASE("q8_0: d * q") {
    std::uint8_t row[34] = {0x00, 0xC0};  // d = -2
    for (int j = 0; j < 32; ++j) row[2 + j] = static_cast<std::uint8_t>(j * 8 - 128);
    dequantise_row(Format::q8_0, row, 32, out);
    for (int j = 0; j < 32; ++j) CHECK(out[j] == -2.0f * static_cast<float>(j * 8 - 128));
  }
  SUBCASE("plain formats") {
    const std::uint16_t f16[3] = {0x3C00, 0x0001, 0xFBFF}, bf16[3] = {0x3F80, 0xC040, 0x0001};
    const float f32[3] = {1.5f, -0.0f, 1e-45f};
    dequantise_row(Format::f16, f16, 3, out);
    CHECK((out[0] == 1.0f && out[1] == 0x1p-24f && out[2] == -65504.0f));
    dequantise_row(Format::bf16, bf16, 3, out);
    CHECK((out[0] == 1.0f && out[1] == -3.0f && out[2] == 0x1p-133f));
    dequantise_row(Format::f32, f32, 3, out);
    CHECK(std::memcmp(out, f32, sizeof f32) == 0);
  }
}

TEST_CASE("every quantised format gives the weights that the gguf package gives, bit for bit") {
  std::size_t formats = 0;
  for (const WeightGolden& golden : weight_goldens) {
    CAPTURE(golden.format);
    const auto format = std::find_if(std::begin(format_table), std::end(format_table),
                                     [&](const FormatTraits& f) { return std::string(f.name) == golden.format; });
    REQUIRE(format != std::end(format_table));
    ++formats;
    const std::size_t blocks = golden.blocks.size() / format->group_bytes;
    std::vector<float> values(blocks * format->group);
    dequantise_row(static_cast<Format>(format - std::begin(format_table)), golden.blocks.data(), values.size(),
                   values.data());
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const float value : values) {
      std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
      for (int i = 0; i < 4; ++i, bits >>= 8) hash = (hash ^ (bits & 255)) * 0x100000001B3u;
    }
    CHECK(hash == golden.hash);
    for (std::size_t b = 0; b < blocks; ++b)
      for (std::size_t i = 0; i < 8; ++i)
        CHECK(std::bit_cast<std::uint32_t>(values[b * format->group + i]) == golden.first[8 * b + i]);
  }
  std::size_t quantised = 0;
  for (std::size_t i = 0; i < format_count; ++i) quantised += is_quantised(static_cast<Format>(i));
  CHECK(formats == quantised);
}

TEST_CASE("the format table agrees with the stored sizes") {
  CHECK(row_bytes(Format::f32, 64) == 256);
  CHECK(row_bytes(Format::f16, 64) == 128);
  CHECK(row_bytes(Format::bf16, 64) == 128);
  CHECK(row_bytes(Format::q8_0, 64) == 68);
  CHECK(row_bytes(Format::q4_0, 64) == 36);
  CHECK(row_bytes(Format::q4_1, 64) == 40);
  CHECK(row_bytes(Format::q5_0, 64) == 44);
  CHECK(row_bytes(Format::q5_1, 64) == 48);
  CHECK(row_bytes(Format::q4_k, 512) == 288);
  CHECK(row_bytes(Format::q5_k, 512) == 352);
  CHECK(row_bytes(Format::q6_k, 512) == 420);
  CHECK(row_bytes(Format::iq4_nl, 64) == 36);
  CHECK(row_bytes(Format::mxfp4, 64) == 34);
  CHECK(row_bytes(Format::q2_k, 512) == 168);
  CHECK(row_bytes(Format::q3_k, 512) == 220);
  CHECK(row_bytes(Format::iq4_xs, 512) == 272);
  CHECK(row_bytes(Format::iq1_s, 512) == 100);
  CHECK(row_bytes(Format::iq1_m, 512) == 112);
  CHECK(row_bytes(Format::iq2_xxs, 512) == 132);
  CHECK(row_bytes(Format::iq2_xs, 512) == 148);
  CHECK(row_bytes(Format::iq2_s, 512) == 164);
  CHECK(row_bytes(Format::iq3_xxs, 512) == 196);
  CHECK(row_bytes(Format::iq3_s, 512) == 220);
  CHECK(row_bytes(Format::nvfp4, 128) == 72);
  CHECK(is_quantised(Format::q4_1));
  CHECK_FALSE(is_quantised(Format::bf16));
}

#include "tests/random_data.h"

#include <cmath>
#include <cstring>

#include "splitmix.h"

namespace octavo::testing {

std::uint64_t Rng::next() { return splitmix_finalise(state_ += splitmix_step); }

double Rng::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

float Rng::normal() {
  double sum = 0;
  for (int i = 0; i < 12; ++i) sum += uniform();
  return static_cast<float>(sum - 6);
}

std::vector<float> random_activations(std::size_t n, Rng& rng) {
  static const std::vector<float> sizes = {1,     1,      1,      1,      0.02f,  30,   0,
                                           1e-3f, 3e-31f, 3e-30f, 1e-38f, 1e-40f, 1e6f, 1e15f};
  std::vector<float> out(n);
  float size = 1;
  bool halves = false;
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 32 == 0) {
      size = rng.chance(3) ? rng.pick(sizes) : 1;
      halves = rng.chance(8);
    }
    out[i] = rng.normal() * size;
    if (halves) out[i] = i % 32 == 0 ? 127 * size : (static_cast<float>(rng.between(-126, 125)) + 0.5f) * size;
    if (rng.chance(40)) out[i] = rng.chance(2) ? 0.0f : -0.0f;
  }
  return out;
}

std::vector<float> random_normals(std::size_t n, Rng& rng, float size) {
  std::vector<float> out(n);
  for (float& x : out) x = rng.normal() * size;
  return out;
}

std::uint16_t random_scale(Rng& rng) {
  static const std::vector<std::uint16_t> corners = {0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00};
  if (rng.chance(12)) return rng.pick(corners);
  const std::uint16_t bits = f32_to_f16(static_cast<float>(std::exp2(-8 * rng.uniform())) * 0.1f);
  return rng.chance(4) ? static_cast<std::uint16_t>(bits | 0x8000u) : bits;
}

void random_block(Format format, std::uint8_t* block, Rng& rng) {
  for (std::size_t i = 0; i < traits(format).group_bytes; ++i) block[i] = static_cast<std::uint8_t>(rng.next() >> 40);
  const auto scale = [&](std::size_t at) {
    const std::uint16_t bits = random_scale(rng);
    std::memcpy(block + at, &bits, 2);
  };
  if (format == Format::mxfp4) {  // 2^(e - 128): ordinary, subnormal, and so large that sums just stay finite
    static const std::vector<std::uint8_t> corners = {0, 1, 2, 3, 60, 160};
    block[0] = rng.chance(12) ? rng.pick(corners) : static_cast<std::uint8_t>(rng.between(116, 126));
    return;
  }
  if (format == Format::nvfp4) {  // any FP8 number is one; the sign has no meaning
    for (int i = 0; i < 4; ++i) block[i] &= 127;
    return;
  }
  if (format == Format::iq1_m) {
    const std::uint16_t bits = random_scale(rng);
    for (int i = 0; i < 4; ++i)
      block[49 + 2 * i] = static_cast<std::uint8_t>((block[49 + 2 * i] & 15) | (bits >> (4 * i) & 15) << 4);
    return;
  }
  scale(scale_offset(format));
  if (has_minimum(format)) scale(scale_offset(format) + 2);
}

std::vector<std::uint8_t> random_rows(Format format, std::int64_t rows, std::int64_t k, Rng& rng) {
  std::vector<std::uint8_t> out(row_bytes(format, static_cast<std::size_t>(k)) * static_cast<std::size_t>(rows));
  std::uint8_t* p = out.data();
  const auto put = [&p](const auto& value) {
    std::memcpy(p, &value, sizeof value);
    p += sizeof value;
  };
  for (std::int64_t i = 0; i < rows * k / traits(format).group; ++i) {
    if (is_quantised(format)) {
      random_block(format, p, rng);
      p += traits(format).group_bytes;
      continue;
    }
    float x = rng.normal() * 0.05f;
    if (rng.chance(50)) x = rng.chance(2) ? -0.0f : x * 1e-36f;
    if (rng.chance(200)) x *= 1e5f;
    if (format == Format::f32) put(x);
    if (format == Format::f16) put(f32_to_f16(x));
    if (format == Format::bf16) put(f32_to_bf16(x));
  }
  return out;
}

}  // namespace octavo::testing

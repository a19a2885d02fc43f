#include "emulator/matrix.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace octavo::shim {

namespace {

std::uint64_t inexact = 0;

float half(std::uint32_t bits) {
  static const std::vector<float> values = [] {
    std::vector<float> all(65536);
    for (unsigned i = 0; i < 65536; ++i) {
      const unsigned exponent = i >> 10 & 31, mantissa = i & 1023;
      float value = exponent == 0
                        ? std::ldexp(static_cast<float>(mantissa), -24)
                        : std::ldexp(1.0f + static_cast<float>(mantissa) / 1024, static_cast<int>(exponent) - 15);
      if (exponent == 31) value = mantissa != 0 ? NAN : INFINITY;
      all[i] = i & 0x8000 ? -value : value;
    }
    return all;
  }();
  return values[bits & 0xFFFF];
}

int byte(std::uint32_t registers, int i) { return static_cast<std::int8_t>(registers >> (8 * i)); }

}  // namespace

std::uint64_t inexact_sums() { return inexact; }

void product_s8(S8Lane** lanes) {
  int a[16][32], b[8][32];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, q = l % 4;
    for (int i = 0; i < 4; ++i) {
      for (int r = 0; r < 4; ++r) a[g + 8 * (r % 2)][4 * q + i + 16 * (r / 2)] = byte(lanes[l]->a[r], i);
      for (int r = 0; r < 2; ++r) b[g][4 * q + i + 16 * r] = byte(lanes[l]->b[r], i);
    }
  }
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < 4; ++i) {
      const int *row = a[l / 4 + 8 * (i / 2)], *column = b[l % 4 * 2 + i % 2];
      int sum = 0;  // at most 32 * 2^14
      for (int k = 0; k < 32; ++k) sum += row[k] * column[k];
      lanes[l]->c[i] = static_cast<int>(static_cast<unsigned>(lanes[l]->c[i]) + static_cast<unsigned>(sum));
    }
  }
}

void product_f16(F16Lane** lanes) {
  float a[16][16], b[8][16];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, q = l % 4;
    for (int i = 0; i < 2; ++i) {
      for (int r = 0; r < 4; ++r) a[g + 8 * (r % 2)][2 * q + i + 8 * (r / 2)] = half(lanes[l]->a[r] >> (16 * i));
      for (int r = 0; r < 2; ++r) b[g][2 * q + i + 8 * r] = half(lanes[l]->b[r] >> (16 * i));
    }
  }
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < 4; ++i) {
      const float *row = a[l / 4 + 8 * (i / 2)], *column = b[l % 4 * 2 + i % 2];
      float sum = lanes[l]->c[i];
      double exact = sum;
      for (int k = 0; k < 16; ++k) {
        sum += row[k] * column[k];
        exact += static_cast<double>(row[k]) * column[k];
      }
      if (static_cast<double>(sum) != exact && sum == sum) ++inexact;
      lanes[l]->c[i] = sum;
    }
  }
}

}  // namespace octavo::shim

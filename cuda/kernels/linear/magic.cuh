// Whole numbers out of a matrix product as floats, without a conversion: a whole number below 2^22 in magnitude, added
// to the bits of 1.5 * 2^23, gives the bits of the float 1.5 * 2^23 plus that number. A product that starts there needs
// a subtraction only, which is exact.
#pragma once
#include "kernels/device.cuh"

namespace octavo::gpu {

constexpr int magic_bits = 0x4B400000;
constexpr float magic = 12582912.0f;  // 1.5 * 2^23

// From bits of magic + 2^shift * n, the float n.
template <int shift>
DEVICE float from_magic(int bits) {
  constexpr float unit = 1.0f / (1 << shift);
  if (shift == 0) return __fsub_rn(__int_as_float(bits), magic);
  return __fmaf_rn(__int_as_float(bits), unit, -magic * unit);
}

}  // namespace octavo::gpu

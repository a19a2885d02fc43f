// The matrix products of a warp, written from the PTX ISA's tables of fragments ("mma.m16n8k32", "mma.m16n8k16 with
// f16") as functions of lane and register: pure, for all lanes at once.
//
// D[16][8] = A[16][K] * B[K][8] + C. With g = lane / 4, q = lane % 4:
//   C, D     register i: row g + 8 (i / 2), column 2 q + i % 2
//   A, s8    byte i of register r: row g + 8 (r % 2), column 4 q + i + 16 (r / 2)
//   A, f16   half i of register r: row g + 8 (r % 2), column 2 q + i + 8 (r / 2)
//   B, s8    byte i of register r: row 4 q + i + 16 r, column g
//   B, f16   half i of register r: row 2 q + i + 8 r, column g
#pragma once
#include <cstdint>

namespace octavo::shim {

struct S8Lane {
  std::uint32_t a[4], b[2];
  int c[4];  // in: C, out: D
};
void product_s8(S8Lane** lanes);  // K = 32; sums wrap around

struct F16Lane {
  std::uint32_t a[4], b[2];
  float c[4];
};
// K = 16. Sums of f32, k ascending: the order and rounding of hardware are not documented, so kernels may only form
// sums that are exact in every order. Whether one was not is counted.
void product_f16(F16Lane** lanes);
std::uint64_t inexact_sums();

}  // namespace octavo::shim

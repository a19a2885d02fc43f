// Where the numbers of a group of 32 lie in a warp's registers for the matrix product (mma m16n8k32 of s8): the operand
// A is 16 rows of weights, B is 8 tokens. A register holds four bytes. Shared by kernels, the host's repacking and
// tests.
//
//   A: register r of 4, byte i of lane l: row l / 4 + 8 (r % 2), element 4 (l % 4) + i + 16 (r / 2)
//   B: register r of 2, byte i of lane l: token l / 4, element 4 (l % 4) + i + 16 r
//   C, D: register i of 4 of lane l: row l / 4 + 8 (i / 2), token 2 (l % 4) + i % 2
//
// The form on halves (m16n8k16, twice for a group) reads the same bytes, each as a half: step s takes registers 2 s and
// 2 s + 1 of A, register s of B. Which element then meets which is the same for A and B, so the sum of whole numbers is
// too.
//   A: register r of step s, half i: byte 2 (r / 2) + i of register 2 s + r % 2
//   B: register r of step s, half i: byte 2 r + i of register s
#pragma once

// Constants and small functions that host and device both use.
#ifdef __CUDACC__
#define HOST_AND_DEVICE __host__ __device__
#else
#define HOST_AND_DEVICE
#endif

namespace octavo::gpu {

constexpr int group_size = 32;  // elements with one scale
constexpr int row_block = 16;   // rows of A
constexpr int token_tile = 8;   // columns of B

struct FragmentPlace {
  int lane, reg, byte;
};
HOST_AND_DEVICE constexpr FragmentPlace weight_place(int row, int element) {
  return {row % 8 * 4 + element % 16 / 4, row / 8 + 2 * (element / 16), element % 4};
}
HOST_AND_DEVICE constexpr FragmentPlace token_place(int token, int element) {
  return {token * 4 + element % 16 / 4, element / 16, element % 4};
}

// Tiles of tokens that m tokens are kept in: one, or an even number.
HOST_AND_DEVICE constexpr int token_tiles(int m) {
  return m <= token_tile ? 1 : (m + 2 * token_tile - 1) / (2 * token_tile) * 2;
}

// Groups are kept in whole quads; what is added has no weight and is never summed.
HOST_AND_DEVICE constexpr int padded_groups(int groups) { return (groups + 3) / 4 * 4; }

}  // namespace octavo::gpu

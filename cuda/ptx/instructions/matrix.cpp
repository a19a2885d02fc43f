// mma.sync and ldmatrix: 32 lanes hold a matrix between them.
//
// Of lane l, g = l / 4 and t = l % 4. C (16 x 8): c0, c1 are (g, 2t), (g, 2t + 1), c2, c3 eight rows below. A and B are
// in runs of consecutive k, as many as fit in a register (r: 4 of s8, 2 of f16): A's registers are (g, rt), (g + 8,
// rt), (g, rt + 4r), (g + 8, rt + 4r), B's are (rt, column g), (rt + 4r, column g). (PTX ISA, "Matrix fragments".)
// Sums of s8 wrap; how hardware rounds sums of f16 is not specified, so a sum is made in f64 and counted where f32
// cannot hold it: kernels keep within what is exact.
#include "numbers.h"
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

struct Fragments {
  u32 a[4][warp_lanes], b[2][warp_lanes], c[4][warp_lanes];
  Fragments(const Instruction& i, Warp& w) {
    for (int k = 0; k < 4; ++k) std::memcpy(a[k], w.file + i.op[4 + k].slot, sizeof a[k]);
    for (int k = 0; k < 2; ++k) std::memcpy(b[k], w.file + i.op[8 + k].slot, sizeof b[k]);
    for (int k = 0; k < 4; ++k) std::memcpy(c[k], w.file + i.op[10 + k].slot, sizeof c[k]);
  }
};

void multiply_s8(const Instruction& i, Warp& w, u32) {
  const Fragments f(i, w);
  std::int8_t a[16][32], b[8][32];
  for (int l = 0; l < warp_lanes; ++l) {
    const int g = l / 4, k = 4 * (l % 4);
    std::memcpy(&a[g][k], &f.a[0][l], 4), std::memcpy(&a[g + 8][k], &f.a[1][l], 4);
    std::memcpy(&a[g][k + 16], &f.a[2][l], 4), std::memcpy(&a[g + 8][k + 16], &f.a[3][l], 4);
    std::memcpy(&b[g][k], &f.b[0][l], 4), std::memcpy(&b[g][k + 16], &f.b[1][l], 4);
  }
  for (int l = 0; l < warp_lanes; ++l) {
    for (int r = 0; r < 4; ++r) {
      const int row = l / 4 + (r >= 2 ? 8 : 0), column = 2 * (l % 4) + (r & 1);
      std::int32_t sum = 0;
      for (int k = 0; k < 32; ++k) sum += a[row][k] * b[column][k];
      w.file[i.op[r].slot + l] = f.c[r][l] + static_cast<u32>(sum);
    }
  }
}

template <float (*number)(u16)>
void multiply_f16(const Instruction& i, Warp& w, u32) {
  const Fragments f(i, w);
  float a[16][16], b[8][16];
  const auto two = [](float* to, u32 bits) {
    to[0] = number(static_cast<u16>(bits)), to[1] = number(static_cast<u16>(bits >> 16));
  };
  for (int l = 0; l < warp_lanes; ++l) {
    const int g = l / 4, k = 2 * (l % 4);
    two(&a[g][k], f.a[0][l]), two(&a[g + 8][k], f.a[1][l]);
    two(&a[g][k + 8], f.a[2][l]), two(&a[g + 8][k + 8], f.a[3][l]);
    two(&b[g][k], f.b[0][l]), two(&b[g][k + 8], f.b[1][l]);
  }
  for (int l = 0; l < warp_lanes; ++l) {
    for (int r = 0; r < 4; ++r) {
      const int row = l / 4 + (r >= 2 ? 8 : 0), column = 2 * (l % 4) + (r & 1);
      double sum = std::bit_cast<float>(f.c[r][l]);
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[column][k];
      const float rounded = static_cast<float>(sum);
      if (static_cast<double>(rounded) != sum) ++w.block->stats->inexact_sums;
      w.file[i.op[r].slot + l] = std::bit_cast<u32>(canonical(rounded));
    }
  }
}

// Matrices of 8 x 8 halves: lanes 8m .. 8m + 7 give the rows of matrix m; lane l gets (l / 4, 2 (l % 4)) and the next,
// or of the transposed matrix.
template <int matrices, bool transposed>
void load_matrix(const Instruction& i, Warp& w, u32) {
  u16 rows[matrices][8][8];
  for (int l = 0; l < 8 * matrices; ++l) {
    const Address& a = i.address[0];
    const u32 at = static_cast<u32>((a.base.slot < 0 ? 0 : wide(w, a.base, l)) + static_cast<std::uint64_t>(a.offset));
    if (at % 16) fail(Fault::memory, i, w, l, "misaligned: a row of ldmatrix at " + std::to_string(at));
    if (at + 16 > w.block->shared.size())
      fail(Fault::memory, i, w, l, "ldmatrix outside of shared memory, at " + std::to_string(at));
    std::memcpy(rows[l / 8][l % 8], w.block->shared.data() + at, 16);
  }
  for (int m = 0; m < matrices; ++m) {
    for (int l = 0; l < warp_lanes; ++l) {
      const int p = l / 4, q = 2 * (l % 4);
      const u16 low = transposed ? rows[m][q][p] : rows[m][p][q],
                high = transposed ? rows[m][q + 1][p] : rows[m][p][q + 1];
      w.file[i.op[m].slot + l] = low | static_cast<u32>(high) << 16;
    }
  }
}

const Row rows[] = {
    {"mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", "4W4w2w4w", multiply_s8, "mma s8", Flow::aligned},
    {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "4W4w2w4w", multiply_f16<half_to_float>, "mma f16",
     Flow::aligned},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "4W4w2w4w", multiply_f16<bf16_to_float>, "mma f16",
     Flow::aligned},
    {"ldmatrix.sync.aligned.m8n8.x1.shared.b16", "1WA", load_matrix<1, false>, "ldmatrix", Flow::aligned},
    {"ldmatrix.sync.aligned.m8n8.x2.shared.b16", "2WA", load_matrix<2, false>, "ldmatrix", Flow::aligned},
    {"ldmatrix.sync.aligned.m8n8.x4.shared.b16", "4WA", load_matrix<4, false>, "ldmatrix", Flow::aligned},
    {"ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16", "1WA", load_matrix<1, true>, "ldmatrix", Flow::aligned},
    {"ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16", "2WA", load_matrix<2, true>, "ldmatrix", Flow::aligned},
    {"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "4WA", load_matrix<4, true>, "ldmatrix", Flow::aligned},
};

}  // namespace

std::span<const Row> matrix_rows() { return rows; }

}  // namespace octavo::ptx

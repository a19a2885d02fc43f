// Kernels that try one thing each of what octavo's kernels are made of, so that a GPU can be held against its specification
// before it is believed: the PTX wrappers of kernels/device.cuh, rounding, exchanges within a warp; and a stream of reads.
// The same source runs on the emulator (conformance.cpp compares both), and the products are checked against plain loops.
#include "kernels/device.cuh"
#include "kernels/linear/fragments.h"
#include "params_probe.h"

namespace octavo::gpu {
namespace {

// MurmurHash3's finaliser (Appleby).
DEVICE unsigned mixed(unsigned x) {
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return x ^ (x >> 16);
}
// Four signed bytes of an operand. Tiles take turns: any bytes, the largest of both signs by chance, all the largest,
// small ones.
DEVICE unsigned operand(unsigned seed, unsigned tile, unsigned lane, unsigned reg) {
  const unsigned bits = mixed(mixed(mixed(seed + tile * 64 + lane) + reg));
  if (tile % 4 == 1) return 0x7F7F7F7Fu + (bits & 0x01010101u);
  if (tile % 4 == 2) return 0x80808080u;
  return tile % 4 == 3 ? bits & 0x07070707u : bits;
}
DEVICE unsigned half_of(unsigned word, int byte) {
  const int value = static_cast<signed char>(word >> (8 * byte) & 0xFF);
  return float_to_half(static_cast<float>(value));
}
// Bytes 2 part and 2 part + 1 as two halves (fragments.h).
DEVICE unsigned halves(unsigned word, int part) { return half_of(word, 2 * part) | half_of(word, 2 * part + 1) << 16; }

struct Product {
  int s8[4];
  float f16[4];
};
DEVICE Product product(unsigned seed, unsigned tile, unsigned lane) {
  std::uint32_t a[4], b[2];
  for (int r = 0; r < 4; ++r) a[r] = operand(seed, tile, lane, r);
  for (int r = 0; r < 2; ++r) b[r] = operand(seed + 77, tile, lane, r);
  const int none[4] = {0, 0, 0, 0};
  Product out;
  mma_s8(out.s8, a, b, none);
  float sum[4] = {0, 0, 0, 0};
  for (int step = 0; step < 2; ++step) {
    std::uint32_t half_a[4], half_b[2];
    for (int r = 0; r < 4; ++r) half_a[r] = halves(a[2 * step + r % 2], r / 2);
    for (int r = 0; r < 2; ++r) half_b[r] = halves(b[step], r);
    mma_f16(out.f16, half_a, half_b, sum);
    for (int i = 0; i < 4; ++i) sum[i] = out.f16[i];
  }
  return out;
}
DEVICE unsigned known(float x) { return x != x ? 0x7FC00000u : __float_as_uint(x); }
DEVICE unsigned known_half(unsigned short bits) { return (bits & 0x7FFF) > 0x7C00 ? 0x7E00u : bits; }
// A half of moderate size: 2^-3 to 2^5.
DEVICE unsigned moderate(unsigned bits) { return (bits & 0x83FFu) | (12u + (bits >> 10 & 7u)) << 10; }
DEVICE unsigned moderate_two(unsigned bits) { return moderate(bits & 0xFFFFu) | moderate(bits >> 16) << 16; }

}  // namespace

// out[2 thread]: products whose two forms differ; out[2 thread + 1]: a hash of all. count tiles a warp.
OCTAVO_KERNEL(octavo_probe_products, ProbeParams, 256) {
  const unsigned thread = blockIdx.x * 256 + threadIdx.x, lane = threadIdx.x % 32;
  unsigned wrong = 0, hash = 0;
  for (long long k = 0; k < p.count; ++k) {
    const unsigned tile = static_cast<unsigned>(thread / 32 * p.count + k);
    const Product made = product(p.seed, tile, lane);
    for (int i = 0; i < 4; ++i) {
      if (__int2float_rn(made.s8[i]) != made.f16[i]) ++wrong;
      hash = hash * 31u + static_cast<unsigned>(made.s8[i]);
    }
  }
  p.out[2 * thread] = wrong, p.out[2 * thread + 1] = hash;
}
// The operands and the product of a tile, as its lanes hold them: out[tile][6 + 4][lane].
OCTAVO_KERNEL(octavo_probe_tile, ProbeParams, 32) {
  const unsigned lane = threadIdx.x, tile = blockIdx.x;
  unsigned* const out = p.out + tile * 320;
  const Product made = product(p.seed, tile, lane);
  for (int r = 0; r < 4; ++r) out[32 * r + lane] = operand(p.seed, tile, lane, r);
  for (int r = 0; r < 2; ++r) out[32 * (4 + r) + lane] = operand(p.seed + 77, tile, lane, r);
  for (int i = 0; i < 4; ++i) out[32 * (6 + i) + lane] = static_cast<unsigned>(made.s8[i]);
}

// A warp fetches 64 pieces of 16 bytes in two groups, every third of them absent, and reads them as matrices.
OCTAVO_KERNEL(octavo_probe_copies, ProbeParams, 32) {
  SHARED_ARRAY(uint4, first, 32);
  SHARED_ARRAY(uint4, second, 32);
  const int lane = threadIdx.x;
  const uint4* const in = reinterpret_cast<const uint4*>(p.in);
  copy_async_16(first + lane, in + lane, lane % 3 != 0);
  commit_copies();
  copy_async_16(second + lane, in + 32 + lane, lane % 3 != 1);
  commit_copies();
  std::uint32_t rows[4], columns[4];
  wait_copies<1>();
  __syncwarp();
  load_matrices(rows, first + lane);
  wait_copies<0>();
  __syncwarp();
  load_matrices_transposed(columns, second + lane);
  for (int r = 0; r < 4; ++r) p.out[32 * r + lane] = rows[r], p.out[32 * (4 + r) + lane] = columns[r];
}

// Four warps take turns on one row of sums by named barriers, as those of linear_decode do.
OCTAVO_KERNEL(octavo_probe_turns, ProbeParams, 128) {
  SHARED_ARRAY(float, sums, 32);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp == 0) sums[lane] = 0;
  for (int round = 0; round < p.count; ++round) {
    if (round + warp > 0) barrier_sync(1 + warp, 64);
    sums[lane] = __fmaf_rn(sums[lane], 0.75f, __uint2float_rn(mixed(p.seed + round * 128 + threadIdx.x) >> 8));
    barrier_arrive(1 + (warp + 1) % 4, 64);
  }
  if (warp == 0) {
    barrier_sync(1, 64);
    p.out[lane] = __float_as_uint(sums[lane]);
  }
}

// Three words in, eight out: bits, halves, bf16.
OCTAVO_KERNEL(octavo_probe_bits, ProbeParams, 256) {
  const long long i = blockIdx.x * 256ll + threadIdx.x;
  if (i >= p.count) return;
  const unsigned a = p.in[3 * i], b = p.in[3 * i + 1], c = p.in[3 * i + 2];
  unsigned* const out = p.out + 8 * i;
  out[0] = known(half_to_float(static_cast<unsigned short>(a)));
  out[1] = known_half(float_to_half(__uint_as_float(a)));
  out[2] = known_half(float_to_half(__fmul_rn(__int2float_rn(static_cast<int>(a)), 0x1p-14f)));
  out[3] = fma_half2(moderate_two(a), moderate_two(b), moderate_two(c));
  out[4] = sub_half2(moderate_two(a), moderate_two(b));
  out[5] = float_to_bf16(__uint_as_float(a & 0xFF7FFFFFu));
  out[6] = __byte_perm(a, b, c & 0x7777u);
  out[7] = static_cast<unsigned>(__popc(a) + 64 * __clz(static_cast<int>(b)));
}

// Three words in, twelve out: every operation that a result rests on, one rounding each.
OCTAVO_KERNEL(octavo_probe_rounding, ProbeParams, 256) {
  const long long i = blockIdx.x * 256ll + threadIdx.x;
  if (i >= p.count) return;
  const unsigned words[3] = {p.in[3 * i], p.in[3 * i + 1], p.in[3 * i + 2]};
  const float a = __uint_as_float(words[0]), b = __uint_as_float(words[1]), c = __uint_as_float(words[2]);
  unsigned* const out = p.out + 12 * i;
  out[0] = known(__fadd_rn(a, b)), out[1] = known(__fsub_rn(a, b)), out[2] = known(__fmul_rn(a, b));
  out[3] = known(__fdiv_rn(a, b)), out[4] = known(__fsqrt_rn(a)), out[5] = known(__fmaf_rn(a, b, c));
  out[6] = known(__int2float_rn(static_cast<int>(words[0]))), out[7] = known(__uint2float_rn(words[1]));
  const float near_integers = __fmul_rn(__int2float_rn(static_cast<int>(words[2])), 0x1p-12f);
  out[8] = static_cast<unsigned>(__float2int_rn(near_integers));
  // f64, as the noise of draws uses it.
  const double x = __dmul_rn(static_cast<double>(words[0]), 0x1p-32), y = static_cast<double>(words[1] | 1u);
  const double z = __dsub_rn(__dadd_rn(__ddiv_rn(x, y), x), __dmul_rn(y, x));
  const long long bits = __double_as_longlong(z);
  out[9] = static_cast<unsigned>(bits), out[10] = static_cast<unsigned>(bits >> 32);
  out[11] = known(__double2float_rn(z));
}

// One word a thread in, four out.
OCTAVO_KERNEL(octavo_probe_warps, ProbeParams, 256) {
  const long long i = blockIdx.x * 256ll + threadIdx.x;
  unsigned sum = p.in[i];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes) * 3u;
  p.out[4 * i] = sum;
  p.out[4 * i + 1] = __shfl_sync(~0u, p.in[i], static_cast<int>(p.in[i] % 32));
  p.out[4 * i + 2] = __ballot_sync(~0u, p.in[i] % 3 == 0);
  p.out[4 * i + 3] = __shfl_xor_sync(~0u, p.in[i], 5);
}

// Reads count pieces of 16 bytes and keeps nothing: what memory gives at most.
OCTAVO_KERNEL(octavo_probe_read, ProbeParams, 256) {
  const uint4* const in = reinterpret_cast<const uint4*>(p.in);
  const long long stride = static_cast<long long>(gridDim.x) * 256;
  unsigned seen = 0;
  for (long long i = blockIdx.x * 256ll + threadIdx.x; i < p.count; i += 4 * stride) {
    uint4 pieces[4];
    for (int k = 0; k < 4; ++k) pieces[k] = i + k * stride < p.count ? in[i + k * stride] : make_uint4(0, 0, 0, 0);
    for (int k = 0; k < 4; ++k) seen ^= pieces[k].x ^ pieces[k].y ^ pieces[k].z ^ pieces[k].w;
  }
  if (seen == p.seed) p.out[0] = seen;
}

}  // namespace octavo::gpu

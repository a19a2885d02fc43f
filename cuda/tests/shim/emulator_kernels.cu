// Kernels that show one ability of the emulator each, and kernels that break one rule each.
#include "kernels/device.cuh"
#include "emulator_params.h"

using namespace octavo::gpu;

// out[i]: the sum of in over thread i's warp by shuffles, then of the warps' sums by shared memory.
OCTAVO_KERNEL(octavo_probe_sum, ProbeParams, 128) {
  SHARED_ARRAY(unsigned, sums, 4);
  unsigned sum = p.in[threadIdx.x];
  for (int i = 16; i > 0; i /= 2) sum += __shfl_xor_sync(~0u, sum, i);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  p.out[threadIdx.x] = sums[0] + sums[1] + sums[2] + sums[3];
}

// flag: 0 right; 1 no barrier; 2 the copy is not waited for; 3 no barrier behind the wait.
OCTAVO_KERNEL(octavo_probe_copy, ProbeParams, 64) {
  SharedMemory memory;
  uint4* const stage = memory.take<uint4>(64);
  copy_async_16(stage + threadIdx.x, reinterpret_cast<const uint4*>(p.in) + threadIdx.x);
  commit_copies();
  if (p.flag != 2) wait_copies<0>();
  if (p.flag != 3) __syncthreads();
  p.out[threadIdx.x] = stage[63 - threadIdx.x].y;
  wait_copies<0>();
}

// Warps take turns: warp w adds to what warp w - 1 left. flag: 1 without waiting for it.
OCTAVO_KERNEL(octavo_probe_turns, ProbeParams, 128) {
  SHARED_ARRAY(unsigned, total, 32);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (warp > 0 && p.flag == 0) barrier_sync(warp, 64);
  total[lane] = (warp > 0 ? total[lane] * 3 : 0) + p.in[threadIdx.x];
  if (warp < 3 && p.flag == 0) barrier_arrive(warp + 1, 64);
  if (warp == 3) p.out[lane] = total[lane];
}

// out[16][8]: the product of in[lane][10] (registers of A, B, C) in the fragments' order. flag: 1 for f16.
OCTAVO_KERNEL(octavo_probe_product, ProbeParams, 32) {
  const unsigned* const in = p.in + 10 * threadIdx.x;
  const unsigned a[4] = {in[0], in[1], in[2], in[3]}, b[2] = {in[4], in[5]};
  unsigned* const out = p.out + 4 * threadIdx.x;
  if (p.flag == 0) {
    const int c[4] = {static_cast<int>(in[6]), static_cast<int>(in[7]), static_cast<int>(in[8]),
                      static_cast<int>(in[9])};
    int d[4];
    mma_s8(d, a, b, c);
    for (int i = 0; i < 4; ++i) out[i] = static_cast<unsigned>(d[i]);
  } else {
    const float c[4] = {__uint_as_float(in[6]), __uint_as_float(in[7]), __uint_as_float(in[8]), __uint_as_float(in[9])};
    float d[4];
    mma_f16(d, a, b, c);
    for (int i = 0; i < 4; ++i) out[i] = __float_as_uint(d[i]);
  }
}

// One rule broken, by flag.
OCTAVO_KERNEL(octavo_probe_fault, ProbeParams, 64) {
  SharedMemory memory;
  unsigned* const array = memory.take<unsigned>(64);
  unsigned* const other = memory.take<unsigned>(64);
  const int t = static_cast<int>(threadIdx.x);
  array[t] = p.in[t];
  other[t] = 0;
  __syncthreads();
  switch (p.flag) {
    case 1:
      p.out[t] = p.in[p.count + t];
      break;  // reads behind its input
    case 2:
      array[64 + (t == 0 ? 1 : 0)] = 1;
      break;  // writes behind a shared array
    case 3:
      if (t < 32) __syncthreads();
      break;  // half of the block comes to a barrier
    case 4:
      if (t % 2 == 0) array[t] = __shfl_xor_sync(~0u, array[t], 2);
      break;  // half of the warp meets
    case 5:
      p.out[0] = static_cast<unsigned>(t);
      break;  // all threads write to one place
    case 6:
      p.out[t] = p.out[t] + 1;
      break;  // reads what nobody wrote
    case 7:
      array[0] = *reinterpret_cast<const unsigned*>(reinterpret_cast<const char*>(p.in) + 2);
      break;  // misaligned
    case 8:
      p.out[blockIdx.x * 63 + threadIdx.x] = 1;
      break;  // two blocks write to one place
    case 9:
      p.out[t] = array[63 - t];
      array[t] = 0;
      break;  // written while others may still read
    case 10:
      __trap();
      break;
    case 11:
      p.out[t] = __shfl_sync(1u << (t % 32), array[t], (t + 1) % 32);
      break;  // from a lane outside of the mask
    default:
      p.out[t] = array[63 - t] + other[t];
  }
}

// Lane l reads word flag * l of its input and of a shared array, and writes word l.
OCTAVO_KERNEL(octavo_probe_stride, ProbeParams, 32) {
  SharedMemory memory;
  unsigned* const array = memory.take<unsigned>(32 * 32);
  for (int i = 0; i < 32; ++i) array[i * 32 + static_cast<int>(threadIdx.x)] = 0;
  __syncwarp();
  const int at = p.flag * static_cast<int>(threadIdx.x);
  p.out[threadIdx.x] = p.in[at] + array[at];
}

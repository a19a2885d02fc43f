// What every kernel includes: CUDA under nvcc, the emulator (emulator/shim.h) under a host compiler, and over both one
// function for each PTX instruction that CUDA C++ has no name for.
//
// Rules of kernels. Arithmetic that a result depends on is written as __fmaf_rn, __fmul_rn, __fadd_rn, __fdiv_rn ...:
// one rounding each, never contracted. Shared memory is SHARED_ARRAY or carved by SharedMemory. f16 and bf16 are their
// bits (unsigned short), so that no header of CUDA's is needed. Both compilers build every kernel.
//
// The PTX bodies are the only code that g++ does not see: one instruction each.
#pragma once

#ifdef __CUDACC__

#include <cstddef>
#include <cstdint>

#define DEVICE __device__ __forceinline__
#define CONSTANT static __device__ __constant__ const
// OCTAVO_KERNEL(octavo_name, NameParams, threads of a block[, blocks of a multiprocessor]) { ... p ... }
#define OCTAVO_KERNEL(name, Params, ...) \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const __grid_constant__ Params p)
#define SHARED_ARRAY(T, name, count) __shared__ T name[count]

#include "kernels/device_ptx.cuh"

#else

#include "emulator/shim.h"
#include "kernels/device_host.cuh"

#endif

namespace octavo::gpu {

DEVICE float2 half2_to_float2(std::uint32_t bits) {
  return make_float2(half_to_float(static_cast<unsigned short>(bits & 0xFFFF)),
                     half_to_float(static_cast<unsigned short>(bits >> 16)));
}
DEVICE float bf16_to_float(unsigned short bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
// To nearest even. A NaN stays one.
DEVICE unsigned short float_to_bf16(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<unsigned short>(bits >> 16 | 0x40);
  return static_cast<unsigned short>((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

}  // namespace octavo::gpu

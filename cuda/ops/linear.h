// linear on the device: which kernels, in which order. A quantised weight takes two launches, the input's rounding and
// the product; a float weight one, or two where its input is normalised or gated.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "files/quant.h"
#include "ops/device_properties.h"
#include "ops/launch.h"

namespace octavo::cuda {

enum class LinearInputKind { plain, normed, gated };

// out[m, ld] = or += input[m, k] W[n, k]^T + bias. Pointers are the device's.
struct Linear {
  Format format;
  int n, k, m;
  const unsigned char* weight;  // ops/repack.h; aligned to 256
  LinearInputKind kind = LinearInputKind::plain;
  const float* x;  // [m, ld_x]; gated: [m, 2 k]
  int ld_x;
  const float* norm_weight = nullptr;  // [k], normed
  float eps = 0;
  const float* bias = nullptr;  // [n]
  float* out;
  int ld;
  bool add = false;
  void* scratch;  // linear_scratch_bytes, aligned to 256; free for others after the launches
};

// Which kernel multiplies, by packing, tokens and device.
enum class LinearKernel { decode, tile_s8, tile_f16, floats };
LinearKernel linear_kernel(Format format, int m, const DeviceProperties& device);

// Scratch that a linear of up to m tokens and k elements needs, whatever its kernel.
std::size_t linear_scratch_bytes(int m, int k);

void append_linear(Launches& launches, const Linear& linear, const DeviceProperties& device);
// The same by a kernel of the caller's choice; floats for float formats, and only for them.
void append_linear(Launches& launches, const Linear& linear, LinearKernel kernel);

}  // namespace octavo::cuda

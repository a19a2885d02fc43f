// Operations on rows of activations as launches: norm, rope, gate, gather, embed. What they are given is what their
// kernels are given (kernels/params_ops.h), but for embed; what is decided here is the kernel and how many blocks. No
// rows, no launch.
#pragma once
#include "files/quant.h"
#include "kernels/params_ops.h"
#include "ops/launch.h"

namespace octavo::cuda {

void add_norm(Launches& launches, const gpu::NormParams& params);
void add_rope(Launches& launches, const gpu::RopeParams& params);
void add_gate(Launches& launches, const gpu::GateParams& params);
void add_gather(Launches& launches, const gpu::GatherParams& params);

// Rows of a table [n, k], which is kept as a weight is (ops/repack.h). Pointers are the device's.
struct Embed {
  Format format;
  long long n, k;
  const unsigned char* weight;
  const int* ids;  // [count]
  int count;
  float* out;  // [count, k]
};
void add_embed(Launches& launches, const Embed& embed);

}  // namespace octavo::cuda

// Parameters of the kernels that work row by row: everything besides linear, quantise, the KV cache and attention. A
// row is one token's; `..._ld` is the distance between rows in elements.
#pragma once
#include "kernels/linear/params_linear.h"

namespace octavo::gpu {

// octavo_norm, octavo_norm_heads. out may be x.
struct NormParams {
  float* out;           // [rows][heads * width], out_ld
  const float* x;       // [rows][heads * width], x_ld
  const float* weight;  // [width]
  int out_ld, x_ld, rows, heads, width;
  float eps;
};

// octavo_rope, in place.
struct RopeParams {
  float* x;              // [rows][heads * head_size], ld
  const float* cos_sin;  // [rows][dims / 2][2]
  int ld, rows, heads, head_size, dims;
  int interleaved;  // pairs are neighbours, else halves of the turned dimensions
};

// octavo_gate.
struct GateParams {
  float* out;            // [rows][width]
  const float* gate_up;  // [rows][2 * width]
  int rows, width;
};

// octavo_gather.
struct GatherParams {
  float* out;       // [count][width]
  const float* x;   // [...][width]
  const int* rows;  // [count]
  int count, width;
};

// octavo_embed_PACKING, of float formats octavo_embed_FORMAT.
struct EmbedParams {
  float* out;          // [count][k]
  PackedWeight table;  // of a float format: its codes are the weight's bytes, the rest is not used
  const int* ids;      // [count]
  int count, k;
};

}  // namespace octavo::gpu

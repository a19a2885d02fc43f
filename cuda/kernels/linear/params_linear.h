// Parameters of the kernels that a linear with a quantised weight is made of (quantise.cu, linear_decode.cu,
// linear_tile.cu), and of linear_float.cu. T: tokens, rounded up to tiles (token_tiles) of 8; G: groups of 32, rounded
// up to quads (padded_groups).
#pragma once

struct QuantiseParams {
  const float* x;            // [m, ld]; gated: gates, then ups, 2 k of them
  const float* norm_weight;  // [k] (normed)
  void* codes;               // s8: [G, T / 8, lane, 8 bytes]; f16: [G, T / 8, lane, 16 bytes] (fragments.h)
  float* scales;             // [G, T] d
  float* sums;               // [G, T] d times the sum of a group's codes, or [G, 2, T] of its halves; may be null
  int m, k, ld;
  int tiles;  // T / 8
  int groups_per_block;
  int halves;  // 1: sums are those of halves
  float eps;   // (normed)
};

// A weight in the layout of weight_layout.h.
struct PackedWeight {
  const unsigned char* codes;
  const unsigned char* scales;
  const unsigned char* headers;
  unsigned table[4];  // 16 signed bytes that codes name
  float unit;         // of scales (levels)
  int n, groups;      // rows; groups of 32 without padding
};

struct LinearParams {
  PackedWeight weight;
  const unsigned char* codes;  // the input, as quantise left it
  const float* scales;
  const float* sums;
  const float* bias;  // [n]; may be null
  float* out;         // [m, ld]
  int m, ld, tiles;
  int add;  // 1: out += instead of out =
};

struct PrepareParams {
  const float* x;            // [m, ld]; gated: gates, then ups
  const float* norm_weight;  // [k] (normed)
  float* out;                // [m, k]
  int k, ld;
  float eps;  // (normed)
};

struct LinearFloatParams {
  const unsigned char* weight;  // [n / 32, chunk, 32, 16 bytes] (weight_layout.h)
  const float* x;               // [m, ld_x]
  const float* bias;            // [n]; may be null
  float* out;                   // [m, ld]
  int n, k, m, ld_x, ld;
  int add;
};

// octavo_repack_FORMAT; of float formats octavo_repack_floats.
struct RepackParams {
  const unsigned char* rows;  // [count][row_bytes], as the model's file has them; aligned to 16
  unsigned char* weight;      // all of it
  long long row_bytes;
  long long scales_at, headers_at;  // in the weight
  int first, count;                 // rows of the weight; first is a multiple of 32
  int groups;                       // of 32 in a row
};

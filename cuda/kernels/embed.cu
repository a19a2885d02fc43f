// Rows of an embedding table as f32 (docs/numerics.md, "embed"): a thread a weight, neighbours of a row side by side.
// The table is a weight in the layout that linear multiplies, so that a model whose head is its embedding keeps it
// once. One kernel a packing. Bound by writing the result; a step gathers few rows.
#include "kernels/device.cuh"
#include "kernels/linear/packed_value.cuh"
#include "kernels/params_ops.h"

namespace octavo::gpu {
namespace {

constexpr int embed_threads = 256;

struct F32 {};
DEVICE float value_of(const PackedWeight& w, int row, int k, int columns, F32) {
  return *reinterpret_cast<const float*>(float_place<4>(w, row, k, columns));
}
struct F16 {};
DEVICE float value_of(const PackedWeight& w, int row, int k, int columns, F16) {
  return half_to_float(*reinterpret_cast<const unsigned short*>(float_place<2>(w, row, k, columns)));
}
struct BF16 {};
DEVICE float value_of(const PackedWeight& w, int row, int k, int columns, BF16) {
  return bf16_to_float(*reinterpret_cast<const unsigned short*>(float_place<2>(w, row, k, columns)));
}
template <Packing P>
struct Packed {};
template <Packing P>
DEVICE float value_of(const PackedWeight& w, int row, int k, int, Packed<P>) {
  return packed_value<P>(w, row, k);
}

template <class Kind>
DEVICE void embed(const EmbedParams& p, Kind kind) {
  const int i = static_cast<int>(blockIdx.y) * embed_threads + static_cast<int>(threadIdx.x);
  if (i >= p.k) return;
  p.out[static_cast<long long>(blockIdx.x) * p.k + i] = value_of(p.table, p.ids[blockIdx.x], i, p.k, kind);
}

}  // namespace

OCTAVO_KERNEL(octavo_embed_f32, EmbedParams, embed_threads) { embed(p, F32()); }
OCTAVO_KERNEL(octavo_embed_f16, EmbedParams, embed_threads) { embed(p, F16()); }
OCTAVO_KERNEL(octavo_embed_bf16, EmbedParams, embed_threads) { embed(p, BF16()); }

#define OCTAVO_EMBED(name) \
  OCTAVO_KERNEL(octavo_embed_##name, EmbedParams, embed_threads) { embed(p, Packed<Packing::name>()); }

OCTAVO_EMBED(q4_0)
OCTAVO_EMBED(q4_1)
OCTAVO_EMBED(q5_0)
OCTAVO_EMBED(q5_1)
OCTAVO_EMBED(q8_0)
OCTAVO_EMBED(q4_k)
OCTAVO_EMBED(q5_k)
OCTAVO_EMBED(q6_k)
OCTAVO_EMBED(q2_k)
OCTAVO_EMBED(q3_k)
OCTAVO_EMBED(iq4_nl)
OCTAVO_EMBED(mxfp4)
OCTAVO_EMBED(nvfp4)
OCTAVO_EMBED(levels)
OCTAVO_EMBED(half_levels)

#undef OCTAVO_EMBED

}  // namespace octavo::gpu

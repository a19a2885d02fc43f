// Rows of an embedding table as f32 (docs/numerics.md, "embed"): a thread a weight, neighbours of a row side by side,
// so that a block's scale is read once for a warp and codes and results are whole lines. One kernel a format of the
// file. Bound by writing the result; a step gathers few rows.
#include "kernels/device.cuh"
#include "kernels/params_ops.h"
#include "kernels/stored_codebook.cuh"

namespace octavo::gpu {
namespace {

constexpr int embed_threads = 256;

template <class Format>
DEVICE void embed(const EmbedParams& p) {
  const int i = static_cast<int>(blockIdx.y) * embed_threads + static_cast<int>(threadIdx.x);
  if (i >= p.k) return;
  const unsigned char* row = p.table + p.ids[blockIdx.x] * p.row_bytes;
  const unsigned char* block = row + static_cast<long long>(i / Format::group) * Format::bytes;
  p.out[static_cast<long long>(blockIdx.x) * p.k + i] = Format::weight(block, i % Format::group);
}

}  // namespace

#define OCTAVO_EMBED(name, Format) \
  OCTAVO_KERNEL(octavo_embed_##name, EmbedParams, embed_threads) { embed<stored::Format>(p); }

OCTAVO_EMBED(f32, F32)
OCTAVO_EMBED(f16, F16)
OCTAVO_EMBED(bf16, BF16)
OCTAVO_EMBED(q4_0, Q4_0)
OCTAVO_EMBED(q4_1, Q4_1)
OCTAVO_EMBED(q5_0, Q5_0)
OCTAVO_EMBED(q5_1, Q5_1)
OCTAVO_EMBED(q8_0, Q8_0)
OCTAVO_EMBED(q2_k, Q2K)
OCTAVO_EMBED(q3_k, Q3K)
OCTAVO_EMBED(q4_k, Q4K)
OCTAVO_EMBED(q5_k, Q5K)
OCTAVO_EMBED(q6_k, Q6K)
OCTAVO_EMBED(iq4_nl, Iq4Nl)
OCTAVO_EMBED(iq4_xs, Iq4Xs)
OCTAVO_EMBED(mxfp4, Mxfp4)
OCTAVO_EMBED(nvfp4, Nvfp4)
OCTAVO_EMBED(iq1_s, Iq1S)
OCTAVO_EMBED(iq1_m, Iq1M)
OCTAVO_EMBED(iq2_xxs, Iq2Xxs)
OCTAVO_EMBED(iq2_xs, Iq2Xs)
OCTAVO_EMBED(iq2_s, Iq2S)
OCTAVO_EMBED(iq3_xxs, Iq3Xxs)
OCTAVO_EMBED(iq3_s, Iq3S)

#undef OCTAVO_EMBED

}  // namespace octavo::gpu

// Chunks of attention that were computed apart join, in order (docs/numerics.md, "attention"): a block a row of a tile
// and kv head, a thread a dimension; every thread makes the factors anew. Bound by reading the partials.
#include "kernels/attention/attention.cuh"

namespace octavo::gpu {
namespace {

constexpr int merge_threads = 128;

}  // namespace

OCTAVO_KERNEL(octavo_attention_merge, AttentionMergeParams, merge_threads) {
  const AttentionTile tile = p.tiles[blockIdx.x];
  const int kv_head = static_cast<int>(blockIdx.y), r = static_cast<int>(blockIdx.z), D = p.head_size;
  const TileRow row = tile_row(tile, r, kv_head, p.heads / p.kv_heads);
  if (tile.partials < 0 || !row.real) return;
  for (int d = static_cast<int>(threadIdx.x); d < D; d += merge_threads) {
    Softmax all;
    float o = 0;
    for (int chunk = 0; chunk < tile.chunks; ++chunk) {
      const long long partial =
          tile.partials + (static_cast<long long>(chunk) * p.kv_heads + kv_head) * p.tile_rows + r;
      const float m_c = p.partial_ml[2 * partial], l_c = p.partial_ml[2 * partial + 1];
      const Merge step = merge(all, m_c, l_c);
      if (step.step != Step::skip) merge_value(step, o, p.partial_o[partial * D + d]);
    }
    p.out[(static_cast<long long>(tile.row + row.token) * p.heads + row.head) * D + d] =
        __fmul_rn(o, last_factor(all, p.sink_logits, row.head));
  }
}

}  // namespace octavo::gpu

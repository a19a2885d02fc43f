// Attention as launches. What a step's attention consists of depends on the lengths of its sequences alone, so it is
// planned once a step, on the host, and carried out in every layer: tiles of query rows, and items, which are what a
// block of threads does (kernels/attention/params_kv.h). A tile is one item that walks all its chunks of keys, or an item a
// chunk with a merge behind, where there are too few tiles to keep the device busy. Results do not depend on it.
#pragma once
#include <vector>

#include "kernels/attention/kv_layout.h"
#include "kernels/attention/params_kv.h"
#include "ops/launch.h"

namespace octavo::cuda {

struct AttentionShape {
  gpu::KvKind kind;
  int heads, kv_heads, head_size, window, sinks;
};
// A run of consecutive tokens of one sequence, as AttentionSegment of cpp/backend.h.
struct Segment {
  int row, count, position;
  int table;  // where its block table begins in the step's tables
};

// Tiles with the same kernel, neighbours in `tiles`, as their items are.
struct TileClass {
  int tile_rows;
  int first_tile, tiles, first_item, items;
  bool has_partials;
};
struct AttentionPlan {
  std::vector<gpu::AttentionTile> tiles;  // to be uploaded
  std::vector<gpu::AttentionItem> items;  // to be uploaded
  std::vector<TileClass> classes;
  long long partials = 0;  // rows of partial_ml (two floats each) and of partial_o (head_size each)
};

// most_partials: rows that there is room for. multiprocessors: of the device.
AttentionPlan plan_attention(const AttentionShape& shape, const std::vector<Segment>& segments, int multiprocessors,
                             long long most_partials);
// params: of the layer, with `tiles` and `items` as uploaded.
void add_attention(Launches& launches, const AttentionShape& shape, const AttentionPlan& plan,
                   const gpu::AttentionParams& params);

}  // namespace octavo::cuda

#include "ops/attention.h"

#include <algorithm>

namespace octavo::cuda {

namespace {

using gpu::kv_chunk;

// As the kernels' own.
constexpr int attention_threads = 256, merge_threads = 128, weights_ld = kv_chunk + 16;

constexpr const char* kernels[3][3] = {
    {"octavo_attention_f16_r1", "octavo_attention_f16_r4", "octavo_attention_f16_r16"},
    {"octavo_attention_bf16_r1", "octavo_attention_bf16_r4", "octavo_attention_bf16_r16"},
    {"octavo_attention_fp8_r1", "octavo_attention_fp8_r4", "octavo_attention_fp8_r16"}};
constexpr int tile_sizes[] = {1, 4, 16};
constexpr int size_classes = 3;
// Heads wider than this leave shared memory for smaller tiles only.
constexpr int widest_of_large_tiles = 128;
// Blocks that a multiprocessor works on at once, at least: with fewer, chunks of a tile are computed apart.
constexpr int blocks_of_multiprocessor = 2;

int size_class(const AttentionShape& shape, int rows) {
  if (shape.kind == gpu::kv_int8) return size_classes - 1;  // what a warp's matrix product takes
  if (rows <= 1) return 0;
  return rows <= 4 || shape.head_size > widest_of_large_tiles ? 1 : 2;
}

// Chunks of keys that some row of a tile sees: [0, sinks) and [first, end).
struct Chunks {
  int sinks, first, end;
  int count() const { return sinks + end - first; }
  int operator[](int i) const { return i < sinks ? i : first + i - sinks; }
};

Chunks chunks_of(const AttentionShape& shape, const gpu::AttentionTile& tile, int tile_rows) {
  const int group = shape.heads / shape.kv_heads;
  const int last = tile.position + std::min(tile.count - 1, (tile.first + tile_rows - 1) / group);
  const int earliest = tile.position + tile.first / group;
  const int low = shape.window > 0 ? std::max(0, earliest - shape.window + 1) : 0;
  const int first = low / kv_chunk;
  const int sinks = std::min(first, (std::min(shape.sinks, last + 1) + kv_chunk - 1) / kv_chunk);
  return {std::max(0, sinks), first, last / kv_chunk + 1};
}

struct Planned {
  gpu::AttentionTile tile;
  Chunks chunks;
};

// The tiles of one class.
std::vector<Planned> tiles_of_class(const AttentionShape& shape, const std::vector<Segment>& segments, int wanted) {
  const int group = shape.heads / shape.kv_heads, rows = tile_sizes[wanted];
  std::vector<Planned> tiles;
  for (const Segment& segment : segments) {
    if (size_class(shape, segment.count * group) != wanted) continue;
    for (int first = 0; first < segment.count * group; first += rows) {
      const gpu::AttentionTile tile{segment.row, segment.position, segment.count, first, segment.table, -1, 0};
      tiles.push_back({tile, chunks_of(shape, tile, rows)});
    }
  }
  return tiles;
}

void add_items(AttentionPlan& plan, const Planned& planned, bool apart) {
  const int tile = static_cast<int>(plan.tiles.size());
  const Chunks& chunks = planned.chunks;
  if (!apart) {
    // A window may lie far behind the sinks; chunks between them are walked past by what no row sees.
    plan.items.push_back({tile, chunks[0], chunks.end, -1});
    return;
  }
  for (int i = 0; i < chunks.count(); ++i) plan.items.push_back({tile, chunks[i], chunks[i] + 1, i});
}

}  // namespace

AttentionPlan plan_attention(const AttentionShape& shape, const std::vector<Segment>& segments, int multiprocessors,
                             long long most_partials) {
  std::vector<Planned> tiles[size_classes];
  long long work = 0;  // chunks of all tiles
  for (int c = 0; c < size_classes; ++c) {
    tiles[c] = tiles_of_class(shape, segments, c);
    for (const Planned& planned : tiles[c]) work += planned.chunks.count();
  }
  const long long fair = work * shape.kv_heads / (static_cast<long long>(blocks_of_multiprocessor) * multiprocessors);
  AttentionPlan plan;
  for (int c = 0; c < size_classes; ++c) {
    if (tiles[c].empty()) continue;
    TileClass made{tile_sizes[c],
                   static_cast<int>(plan.tiles.size()),
                   static_cast<int>(tiles[c].size()),
                   static_cast<int>(plan.items.size()),
                   0,
                   false};
    for (Planned& planned : tiles[c]) {
      const int chunks = planned.chunks.count();
      const long long partials = static_cast<long long>(chunks) * shape.kv_heads * tile_sizes[c];
      const bool apart = chunks > std::max(1ll, fair) && plan.partials + partials <= most_partials;
      add_items(plan, planned, apart);
      if (apart) {
        planned.tile.partials = static_cast<int>(plan.partials), planned.tile.chunks = chunks;
        plan.partials += partials;
        made.has_partials = true;
      }
      plan.tiles.push_back(planned.tile);
    }
    made.items = static_cast<int>(plan.items.size()) - made.first_item;
    plan.classes.push_back(made);
  }
  return plan;
}

namespace {

// Which kernel takes a class of tiles, by how many threads, with how much dynamic shared memory.
struct Kernel {
  const char* name;
  unsigned threads, shared;
};

Kernel float_kernel(const AttentionShape& shape, int tile_rows) {
  const int at = static_cast<int>(std::find(tile_sizes, tile_sizes + size_classes, tile_rows) - tile_sizes);
  const std::size_t floats = static_cast<std::size_t>(tile_rows * (2 * shape.head_size + weights_ld));
  return {kernels[shape.kind][at], attention_threads, static_cast<unsigned>(floats * sizeof(float))};
}

Kernel int8_kernel(const AttentionShape& shape, float soft_cap) {
  constexpr int warp = 32, padding = 8, fragment_bytes = 16;
  const int D = shape.head_size;
  const unsigned queries = static_cast<unsigned>((D + 31) / 32 * 2 * warp * fragment_bytes);
  const unsigned results = static_cast<unsigned>(tile_sizes[size_classes - 1] * (D + padding) * 4);
  if (soft_cap <= 0 && D == 64) return {"octavo_attention_int8_d64", warp, results + queries};
  if (soft_cap <= 0 && D == 128) return {"octavo_attention_int8_d128", warp, results + queries};
  return {"octavo_attention_int8_any", warp, queries};
}

}  // namespace

void add_attention(Launches& launches, const AttentionShape& shape, const AttentionPlan& plan,
                   const gpu::AttentionParams& params) {
  const unsigned kv_heads = static_cast<unsigned>(shape.kv_heads);
  for (const TileClass& c : plan.classes) {
    gpu::AttentionParams own = params;
    own.items += c.first_item;
    const Kernel kernel =
        shape.kind == gpu::kv_int8 ? int8_kernel(shape, params.soft_cap) : float_kernel(shape, c.tile_rows);
    const Size3 grid{static_cast<unsigned>(c.items), kv_heads};
    launches.push_back(make_launch(kernel.name, grid, {kernel.threads}, kernel.shared, own));
    if (!c.has_partials) continue;
    const gpu::AttentionMergeParams merge{params.out,         params.tiles + c.first_tile,
                                          params.sink_logits, params.partial_ml,
                                          params.partial_o,   shape.heads,
                                          shape.kv_heads,     shape.head_size,
                                          c.tile_rows};
    launches.push_back(make_launch("octavo_attention_merge",
                                   {static_cast<unsigned>(c.tiles), kv_heads, static_cast<unsigned>(c.tile_rows)},
                                   {merge_threads}, 0, merge));
  }
}

}  // namespace octavo::cuda

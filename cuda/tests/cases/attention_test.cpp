// Attention on the emulated device against the reference, bit for bit: head sizes and groupings, lengths around
// blocks and chunks, prompts, windows, sinks, several sequences in a plan, tiles computed at once or a chunk at a
// time.
#include <doctest.h>

#include "emulator/runtime.h"
#include "ops/attention.h"
#include "ops_backend.h"
#include "tests/attention_scene.h"

namespace {

using namespace octavo;
using namespace octavo::testing;

// Where every case is asked for these are all scenes, each in one of the emulator's schedules, and under its checker a
// fourth of them, which has every type with every head size and with every grouping, and every length, in each
// schedule. Else a sample: the checker, which takes three times as long, sees a sixth of it.
bool taken(Rng& rng) { return !shim::checked() || rng.chance(6); }
constexpr double work_of_plan = 6e5;  // what the CPU's kernels do in a sample

// Few multiprocessors: an item a tile; many: an item a chunk, and a merge.
const std::vector<int> few_and_many = {1, 1000};

void check_scene(const Scene& scene, Rng& rng, const std::vector<int>& multiprocessors, bool every_schedule = false) {
  CAPTURE(scene.words());
  const Rows q = random_queries(scene, rng);
  const Rows start(scene.rows, scene.q_width(), scene.q_width(), rng);
  const Rows expected = attend(reference(), scene, *fill(reference(), scene, 64, rng), q, start, scene.segments);
  for (int i = 0; i < scene.rows * scene.q_width(); ++i) REQUIRE(std::isfinite(expected.data()[i]));
  for (const int count : multiprocessors) {
    const auto device = make_ops_backend(count);
    const auto kv = fill(*device, scene, rng.between(10, 200), rng);
    const auto check = [&](int schedule) {
      CAPTURE(schedule);
      CHECK(expected.difference(attend(*device, scene, *kv, q, start, scene.segments)) == "");
    };
    if (every_schedule)
      in_schedules(check);
    else
      check(-1);
  }
}
void check_scene(const Scene& scene, Rng& rng, bool every_schedule) {
  check_scene(scene, rng, {rng.pick(few_and_many)}, every_schedule);
}

}  // namespace

TEST_CASE("device: attention equals the reference: head sizes and groupings") {
  Rng rng(1000);
  int scene = 0;
  each_grouping(
      {{16, 64, 80, 96, 128, 256}, 2, 3, work_of_plan}, scene, rng, [&] { return taken(rng); },
      [&](const Scene& made) { check_scene(made, rng, scene % 4 == static_cast<int>(made.shape.dtype)); });
}

TEST_CASE("device: attention equals the reference: lengths around blocks and chunks, decoding and prompts") {
  Rng rng(1001);
  for (const KvDtype dtype : kv_dtypes) {
    int turn = static_cast<int>(dtype);
    for (const int length : edge_lengths) {
      const bool every_schedule = turn++ % 4 == 0;
      if (!deep() && (rng.chance(2) || !taken(rng))) continue;
      each_at_edge(dtype, length, 24, rng, [&](const Scene& made) { check_scene(made, rng, every_schedule); });
    }
  }
}

TEST_CASE("device: attention of many sequences in one step") {
  Rng rng(1002);
  std::vector<std::pair<int, int>> plan;
  for (int i = 0; i < 7; ++i) plan.push_back({rng.between(1, 60), 1});
  plan.push_back({600, 1});
  plan.push_back({769, 3});
  plan.push_back({40, 23});
  for (const KvDtype dtype : kv_dtypes) {
    // One kernel serves the three types of floats.
    if (shim::checked() && !deep() && dtype != KvDtype::int8 && dtype != KvDtype::f16) continue;
    const Scene scene = make_scene(dtype, 64, 2, 3, 0, plan, rng);
    if (shim::checked() && !deep())
      check_scene(scene, rng, false);
    else
      check_scene(scene, rng, few_and_many);
  }
}

TEST_CASE("plan of attention: every row is in one tile, every seen key in one item, partials do not overlap") {
  Rng rng(1003);
  for (int round = 0; round < (deep() ? 1000 : 30); ++round) {
    const int G = rng.between(1, 4), ratio = rng.between(1, 9);
    const cuda::AttentionShape shape{gpu::kv_f16,
                                     G * ratio,
                                     G,
                                     rng.chance(4) ? 256 : 64,
                                     rng.chance(2) ? 0 : rng.between(1, 3000),
                                     rng.chance(2) ? 0 : rng.between(1, 600)};
    std::vector<cuda::Segment> segments;
    int rows = 0;
    for (int i = rng.between(1, 6); i > 0; --i) {
      const int count = rng.chance(2) ? 1 : rng.between(1, 70);
      segments.push_back({rows, count, rng.below(5000), i * 1000});
      rows += count;
    }
    const long long most = rng.chance(3) ? 300 : 1000000;
    const cuda::AttentionPlan plan = cuda::plan_attention(shape, segments, rng.pick(std::vector<int>{1, 8, 132}), most);
    CHECK(plan.partials <= most);
    int twice = 0, wrong = 0;                            // chunks of a row; items
    constexpr int shape_chunks = (5000 + 70) / 256 + 1;  // of the longest
    std::vector<int> covered(static_cast<std::size_t>(rows * ratio)), used(static_cast<std::size_t>(plan.partials));
    for (const cuda::TileClass& c : plan.classes) {
      for (int t = c.first_tile; t < c.first_tile + c.tiles; ++t) {
        const gpu::AttentionTile& tile = plan.tiles[static_cast<std::size_t>(t)];
        for (int r = tile.first; r < std::min(tile.first + c.tile_rows, tile.count * ratio); ++r) {
          ++covered[static_cast<std::size_t>(tile.row * ratio + r)];
          std::vector<char> keys(static_cast<std::size_t>(shape_chunks));
          for (int i = c.first_item; i < c.first_item + c.items; ++i) {
            const gpu::AttentionItem& item = plan.items[static_cast<std::size_t>(i)];
            if (item.tile != t) continue;
            wrong += item.partial >= 0 && item.end != item.chunk + 1;
            wrong += (item.partial < 0) != (tile.partials < 0);
            for (int chunk = item.chunk; chunk < item.end; ++chunk) twice += keys[static_cast<std::size_t>(chunk)]++;
          }
          const int position = tile.position + r / ratio,
                    low = shape.window > 0 ? std::max(0, position - shape.window + 1) : 0;
          // Of each chunk its first key that is seen stands for all.
          for (int chunk = 0; chunk <= position / 256; ++chunk) {
            const int first = 256 * chunk, last = std::min(first + 255, position);
            if ((last >= low || first < shape.sinks) && keys[static_cast<std::size_t>(chunk)] == 0)
              FAIL("chunk ", chunk, " is in no item");
          }
        }
        if (tile.partials < 0) continue;
        for (int i = 0; i < tile.chunks * G * c.tile_rows; ++i) ++used[static_cast<std::size_t>(tile.partials + i)];
      }
    }
    CHECK(twice == 0);
    CHECK(wrong == 0);
    CHECK(covered == std::vector<int>(covered.size(), 1));
    CHECK(used == std::vector<int>(used.size(), 1));
  }
}

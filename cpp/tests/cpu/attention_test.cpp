// kv_write, kv_copy and attention against the reference backend, bit for bit: shuffled block tables, several sequences
// in one plan, queries that begin anywhere in a sequence, windows, every grouping of heads. Every slot of the pool that
// no token was written to holds NaN, so that a key which should not be seen cannot go unnoticed.
#include <doctest.h>

#include "tests/attention_scene.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

// The rows of every segment made anew: turned, stored and attended to in one operation, with the bits of the three.
void check_attend(const Scene& scene, Rng& rng) {
  CAPTURE(scene.words());
  const int D = scene.shape.head_size, dims = rng.chance(3) ? 2 * rng.between(1, D / 2) : D;
  const int width = scene.q_width() + 2 * scene.width();
  const Rows made(scene.rows, width + rng.below(9), width, rng),
      start(scene.rows, scene.q_width(), scene.q_width(), rng);
  const std::vector<float> angles = random_normals(static_cast<std::size_t>(scene.rows * dims), rng);
  const RopeStyle style = rng.chance(2) ? RopeStyle::half : RopeStyle::interleaved;
  std::vector<std::int32_t> slots(static_cast<std::size_t>(scene.rows));
  for (const AttentionSegment& s : scene.segments)
    for (int i = 0; i < s.count; ++i)
      slots[static_cast<std::size_t>(s.row + i)] = s.table[(s.position + i) / 16] * 16 + (s.position + i) % 16;
  const auto run = [&](Backend& backend) {
    Rows rows = made, out = start;
    const auto kv = fill(backend, scene, 64, rng);
    float* const k = rows.data() + scene.q_width();
    backend.attend(out.data(), {rows.data(), k, k + scene.width(), rows.ld(), slots.data(), angles.data(), dims, style},
                   *kv, scene.layer, {scene.segments.data(), static_cast<int>(scene.segments.size()), scene.rows},
                   {scene.heads, scene.scale, scene.window, scene.sinks, scene.soft_cap,
                    scene.sink_logits.empty() ? nullptr : scene.sink_logits.data()});
    return out;
  };
  const Rows expected = run(reference());
  on_every_cpu([&](Backend& backend, const std::string& label) {
    const std::string difference = expected.difference(run(backend));
    CHECK_MESSAGE(difference.empty(), label, ": ", difference);
  }, &rng, vector_cpus());
}

void check_scene(const Scene& scene, Rng& rng) {
  CAPTURE(scene.words());
  const Rows q = random_queries(scene, rng);
  const Rows start(scene.rows, scene.q_width(), scene.q_width(), rng);
  const auto kv = fill(reference(), scene, 64, rng);
  const Rows expected = attend(reference(), scene, *kv, q, start, scene.segments);
  for (int i = 0; i < scene.rows * scene.q_width(); ++i) REQUIRE(std::isfinite(expected.data()[i]));
  for (const auto& backend : vector_cpus()) {
    backend->set_threads(rng.between(1, 3));
    const auto own = fill(*backend, scene, rng.between(1, 70), rng);
    for (const int threads : thread_counts(rng)) {
      backend->set_threads(threads);
      const std::string difference = expected.difference(attend(*backend, scene, *own, q, start, scene.segments));
      CHECK_MESSAGE(difference.empty(), std::string(backend->isa()), ", ", threads, " threads: ", difference);
    }
  }
}

}  // namespace

TEST_CASE("attention equals the reference: head sizes and groupings") {
  Rng rng(1000);
  const int rounds = deep() ? 12 : 1;
  int scene = 0;
  for (int round = 0; round < rounds; ++round)
    each_grouping(
        {{16, 32, 48, 64, 80, 96, 128, 256}, 3, 4, deep() ? 4e7 : 4e5}, scene, rng, [] { return true; },
        [&](const Scene& made) { check_scene(made, rng); });
}

TEST_CASE("attention equals the reference: lengths around blocks, tiles and chunks, decoding and prefill") {
  Rng rng(1001);
  for (const KvDtype dtype : kv_dtypes) {
    for (const int length : edge_lengths)
      each_at_edge(dtype, length, deep() ? length : 24, rng, [&](const Scene& made) { check_scene(made, rng); });
    if (deep())
      for (int length = 1; length <= 1030; ++length)
        check_scene(make_scene(dtype, 32, 1, 2, 0, {{length, 1}}, rng), rng);
  }
}

TEST_CASE(
    "attend equals rope, kv_write and attention: decoding, verification, chunks of a prompt, and all of them "
    "together") {
  Rng rng(1005);
  for (const KvDtype dtype : kv_dtypes) {
    using Plan = std::vector<std::pair<int, int>>;
    for (const Plan& plan : {Plan{{5, 1}}, Plan{{700, 1}}, Plan{{1, 1}, {17, 1}, {300, 1}, {33, 1}, {512, 1}},
                             Plan{{40, 4}, {270, 5}, {16, 1}}, Plan{{60, 40}}, Plan{{30, 1}, {80, 25}, {9, 3}}})
      check_attend(make_scene(dtype, rng.chance(2) ? 64 : 32, rng.between(1, 3), rng.between(1, 4),
                              rng.chance(3) ? 20 : 0, plan, rng),
                   rng);
  }
}

TEST_CASE("attention: many sequences in one step") {
  Rng rng(1002);
  std::vector<std::pair<int, int>> plan;
  for (int i = 0; i < 33; ++i) plan.push_back({rng.between(1, 60), 1});
  plan.push_back({600, 1});
  plan.push_back({40, 40});
  for (const KvDtype dtype : kv_dtypes) check_scene(make_scene(dtype, 64, 3, 3, 0, plan, rng), rng);
}

TEST_CASE("attention: a row does not depend on the plan it is in") {
  Rng rng(1003);
  const std::vector<std::pair<KvDtype, int>> types_and_windows = {{KvDtype::f16, 0},  {KvDtype::f16, 100},
                                                                  {KvDtype::bf16, 30}, {KvDtype::fp8, 0},
                                                                  {KvDtype::fp8, 100}, {KvDtype::int8, 0},
                                                                  {KvDtype::int8, 100}};
  for (const auto& [dtype, window] : types_and_windows) {
    const Scene scene = make_scene(dtype, 64, 2, 3, window, {{290, 40}, {33, 33}, {500, 1}}, rng);
    const Rows q(scene.rows, scene.q_width(), scene.q_width(), rng),
        start(scene.rows, scene.q_width(), scene.q_width(), rng);
    const Rows expected = attend(reference(), scene, *fill(reference(), scene, 64, rng), q, start, scene.segments);
    for (const auto& backend : vector_cpus()) {
      backend->set_threads(rng.between(1, 3));
      const auto kv = fill(*backend, scene, 50, rng);
      for (const int piece : {1000, 1, 7, 16}) {
        std::vector<AttentionSegment> pieces;
        for (const AttentionSegment& s : scene.segments)
          for (int from = 0; from < s.count; from += piece)
            pieces.push_back({s.row + from, std::min(piece, s.count - from), s.position + from, s.table});
        shuffle(pieces, rng);
        // A number of threads for each way to cut the work: over types, instruction sets and cuts all meet.
        for (const bool together : {true, false}) {
          if (!deep() && rng.chance(2)) continue;
          for (const int threads : thread_counts(rng)) {
            backend->set_threads(threads);
            Rows found = start;
            if (together) found = attend(*backend, scene, *kv, q, found, pieces);
            else for (const AttentionSegment& s : pieces) found = attend(*backend, scene, *kv, q, found, {s});
            const std::string difference = expected.difference(found);
            CHECK_MESSAGE(difference.empty(), std::string(backend->isa()), ", ", threads, " threads, segments of ",
                          piece, together ? " in one plan: " : " in a plan each: ", difference);
          }
        }
      }
    }
  }
}

namespace {

// What the cache makes of the values of one token and head, computed with searches and divisions in double precision.
std::vector<float> nearest_stored(KvDtype dtype, const std::vector<float>& x) {
  std::vector<float> out = x;
  double amax = 0;
  for (const float v : x) amax = std::max(amax, static_cast<double>(std::fabs(v)));
  if (dtype == KvDtype::f16) {
    for (float& v : out) v = f16_to_f32(f32_to_f16(std::clamp(v, -65504.0f, 65504.0f)));
  } else if (dtype == KvDtype::bf16) {
    for (float& v : out) v = bf16_to_f32(f32_to_bf16(v));
  } else if (dtype == KvDtype::fp8) {
    double least = INFINITY;
    for (int i = 8; i < 16; ++i) {
      const float exact = static_cast<float>(amax) / 14 * static_cast<float>(i);
      float scale = bf16_to_f32(f32_to_bf16(exact));
      if (scale < exact) scale = bf16_to_f32(static_cast<std::uint16_t>(f32_to_bf16(exact) + 1));
      std::vector<float> kept;
      double loss = 0;
      for (const float v : x) {
        const double magnitude = std::fabs(v) / static_cast<double>(scale) * 256;  // what e4m3 has to hold
        const double step = magnitude < std::exp2(-6) ? std::exp2(-9) : std::exp2(std::floor(std::log2(magnitude)) - 3);
        kept.push_back(static_cast<float>(std::copysign(std::nearbyint(magnitude / step) * step * scale / 256, v)));
        const double error = std::nearbyint(magnitude / step) * step - magnitude;
        loss += error * error * i * i;
      }
      if (loss < least) least = loss, out = kept;
    }
  } else {
    const float exact = static_cast<float>(amax) / 127;
    float scale = bf16_to_f32(f32_to_bf16(exact));
    if (scale < exact) scale = bf16_to_f32(static_cast<std::uint16_t>(f32_to_bf16(exact) + 1));
    for (float& v : out) v = static_cast<float>(std::nearbyint(v / static_cast<double>(scale))) * scale;
  }
  if (amax < 1e-30 && traits(dtype).scaled) std::fill(out.begin(), out.end(), 0.0f);
  return out;
}

}  // namespace

TEST_CASE("kv_write stores what its type says and kv_copy copies every layer of a block") {
  Rng rng(1004);
  const int D = 32, G = 2;
  // With a window of one key, attention gives back the stored value: exactly, where it is not multiplied by integers.
  const auto stored = [&](Backend& backend, const KvStore& kv, int layer, int block) {
    const std::vector<std::int32_t> table = {block};
    const AttentionSegment segment{0, 16, 0, table.data()};
    std::vector<float> q(16 * G * D, 1.0f), out(16 * G * D);
    backend.attention(out.data(), q.data(), G * D, kv, layer, {&segment, 1, 16}, {G, 1, 1});
    return out;
  };
  std::vector<float> values = random_normals(16 * G * D, rng, 100);
  for (float& x : values)
    if (rng.chance(4)) x *= 1e-8f;
  values[0] = 65504, values[1] = 65519, values[2] = 65520, values[3] = 1e20f, values[4] = -1e20f, values[5] = -65520,
  values[6] = 0x1p-25f, values[7] = 0x1.8p-24f, values[8] = 2049, values[9] = 2051;
  // Halfway between neighbours of e4m3 (largest value 448), among its subnormals, and around a whole row of nothing.
  const std::vector<float> ties = {448,      432,        424,       17,         19,        1.0625f,  -1.1875f,
                                   0x1p-9f,  0x1.8p-9f,  0x1p-10f,  -0x1.8p-8f, 0x1.ep-7f, 0x1.fp-7f};
  std::copy(ties.begin(), ties.end(), values.begin() + 5 * D);
  for (int d = static_cast<int>(ties.size()); d < D; ++d)  // exact with the scale that makes those halfway
    values[static_cast<std::size_t>(5 * D + d)] = static_cast<float>(448 - 32 * (d % 6));
  for (int d = 0; d < D; ++d) values[static_cast<std::size_t>(6 * D + d)] = d == 3 ? 9.9e-31f : 1e-33f;
  for (const KvDtype dtype : kv_dtypes) {
    std::vector<float> expected;
    for (auto row = values.begin(); row != values.end(); row += D) {
      const std::vector<float> kept = nearest_stored(dtype, {row, row + D});
      expected.insert(expected.end(), kept.begin(), kept.end());
    }
    const auto equal = [&](const std::vector<float>& found) {
      double worst = 0;
      for (std::size_t i = 0; i < expected.size(); ++i)
        worst = std::max(worst, std::fabs(found[i] - expected[i]) / std::max(1e-30, std::fabs(double{expected[i]})));
      return dtype == KvDtype::int8 ? worst < 1e-6 : found == expected;  // int8: a step's rounding, twice
    };
    const auto check = [&](Backend& backend, const std::string& label) {
      CAPTURE(label);
      CAPTURE(traits(dtype).name);
      const auto kv = backend.kv_create({3, 4, G, D, dtype});
      CHECK(kv->bytes() >= kv_block_bytes(kv->shape) * 4);
      std::vector<std::int32_t> slots;
      for (int t = 0; t < 16; ++t) slots.push_back(2 * 16 + t);
      const std::vector<float> keys(16 * G * D, 0.5f);
      for (const int layer : {0, 2})
        backend.kv_write(*kv, layer, nullptr, 0, keys.data(), values.data(), G * D, slots.data(), 16);
      CHECK(equal(stored(backend, *kv, 2, 2)));
      CHECK(stored(backend, *kv, 1, 2) == std::vector<float>(16 * G * D, 0.0f));
      backend.kv_copy(*kv, 0, 2);
      for (const int layer : {0, 2}) CHECK(equal(stored(backend, *kv, layer, 0)));
      CHECK(stored(backend, *kv, 1, 0) == std::vector<float>(16 * G * D, 0.0f));
      CHECK(stored(backend, *kv, 0, 1) == std::vector<float>(16 * G * D, 0.0f));
    };
    check(reference(), "reference");
    on_every_cpu(check, nullptr, vector_cpus());
  }
}

TEST_CASE("a pool is touched as it fills, a share ahead of the blocks in use") {
  const auto backend = make_cpu_backend(nullptr);
  // 256 blocks of a layer fill a huge page.
  const auto kv = backend->kv_create({2, 80000, 1, 128, KvDtype::f16});
  const std::size_t block = kv_block_bytes(kv->shape);
  CHECK(block == 2 * 8192);
  CHECK(kv->bytes() == 80000 * block);
  CHECK(kv->touched_bytes() == 256 * block);
  CHECK(kv->provide(1) == 256);
  CHECK(kv->provide(128) == 256);
  kv->touch_ahead(1);
  CHECK(kv->touched_bytes() == 256 * block);  // nothing else was provided
  CHECK(kv->provide(129) == 512);
  CHECK(kv->touched_bytes() == 256 * block);
  kv->touch_ahead(1);
  CHECK(kv->touched_bytes() == 384 * block);  // one of two layers
  kv->touch_ahead(1);
  CHECK(kv->touched_bytes() == 512 * block);
  CHECK(kv->provide(600) == 768);
  CHECK(kv->provide(80000) == 80000);
  kv->touch_ahead(1000 * kv_block_tokens);
  CHECK(kv->touched_bytes() > 1000 * block);
  CHECK(kv->touched_bytes() < 4000 * block);
  // 128 blocks of both layers do in a small one.
  const auto small = backend->kv_create({2, 1000, 1, 128, KvDtype::f16});
  CHECK(small->touched_bytes() == 128 * block);
  CHECK(small->provide(64) == 128);
  CHECK(small->provide(65) == 256);
  small->touch_ahead(1);
  CHECK(small->touched_bytes() == 256 * block);
  CHECK(small->provide(937) == 1000);
  small->touch_ahead(1000 * kv_block_tokens);
  CHECK(small->touched_bytes() == small->bytes());
  const auto tiny = backend->kv_create({2, 100, 1, 128, KvDtype::f16});
  CHECK(tiny->touched_bytes() == tiny->bytes());
  CHECK(tiny->provide(1) == 100);
}

TEST_CASE("kv_write: fp8 keys, rounded by queries, are far nearer to the scores of those") {
  const int D = 64, count = 200;
  const auto check = [&](Backend& backend, const std::string& label) {
    CAPTURE(label);
    Rng rng(1007);
    const std::vector<float> zero(D, 0.0f), v(D, 1.75f);  // v is kept exactly
    const std::vector<std::int32_t> table = {0};
    const AttentionSegment both{0, 1, 1, table.data()};
    const auto kv = backend.kv_create({1, 1, 1, D, KvDtype::fp8});
    double squares[2] = {};  // of the score's error, without and with the query
    for (int i = 0; i < count; ++i) {
      const std::vector<float> k = random_normals(D, rng), q = random_normals(D, rng);
      double score = 0;
      for (std::size_t d = 0; d < D; ++d) score += static_cast<double>(q[d]) * static_cast<double>(k[d]) / 8;
      for (const int heads : {0, 1}) {
        std::vector<float> out(D);
        const std::int32_t first = 0, second = 1;
        backend.kv_write(*kv, 0, q.data(), heads, k.data(), v.data(), D, &first, 1);
        backend.kv_write(*kv, 0, q.data(), heads, zero.data(), zero.data(), D, &second, 1);
        backend.attention(out.data(), q.data(), D, *kv, 0, {&both, 1, 1}, {1, 0.125f, 0});
        const double weight = static_cast<double>(out[0]) / 1.75, error = std::log(weight / (1 - weight)) - score;
        squares[heads] += error * error;
      }
    }
    CHECK(std::sqrt(squares[0] / count) > 0.01);
    CHECK(squares[1] < squares[0] / 25);
  };
  check(reference(), "reference");
  on_every_cpu(check, nullptr, vector_cpus());
}

TEST_CASE("kv_write: an infinity or a NaN in a value reaches what sees it, and nothing else") {
  const int D = 16;
  const auto check = [&](Backend& backend, const std::string& label) {
    for (const KvDtype dtype : {KvDtype::bf16, KvDtype::fp8, KvDtype::int8}) {
      for (const float broken : {NAN, INFINITY, -INFINITY}) {
        CAPTURE(label);
        CAPTURE(traits(dtype).name);
        const auto kv = backend.kv_create({1, 1, 1, D, dtype});
        std::vector<float> v(3 * D, 1.0f), out(3 * D);
        v[D + 5] = broken;
        const std::vector<float> k(3 * D, 0.5f);
        const std::vector<std::int32_t> slots = {0, 1, 2}, table = {0};
        backend.kv_write(*kv, 0, nullptr, 0, k.data(), v.data(), D, slots.data(), 3);
        const AttentionSegment segment{0, 3, 0, table.data()};
        backend.attention(out.data(), k.data(), D, *kv, 0, {&segment, 1, 3}, {1, 1, 1});
        for (int row = 0; row < 3; ++row)
          CHECK(std::isfinite(out[static_cast<std::size_t>(row * D + 5)]) == (row != 1));
      }
    }
  };
  check(reference(), "reference");
  on_every_cpu(check, nullptr, vector_cpus());
}

TEST_CASE("attention: a copied block gives the same result as the one it came from") {
  Rng rng(1005);
  for (const KvDtype dtype : kv_dtypes) {
    Scene scene = make_scene(dtype, 64, 2, 2, 0, {{40, 3}}, rng);
    const Rows q(scene.rows, scene.q_width(), scene.q_width(), rng),
        start(scene.rows, scene.q_width(), scene.q_width(), rng);
    std::vector<bool> used(static_cast<std::size_t>(scene.shape.blocks));
    for (const std::int32_t block : scene.sequences[0].table) used[static_cast<std::size_t>(block)] = true;
    const int spare = static_cast<int>(std::find(used.begin(), used.end(), false) - used.begin());
    const Rows expected = attend(reference(), scene, *fill(reference(), scene, 64, rng), q, start, scene.segments);
    on_every_cpu([&](Backend& backend, const std::string& label) {
      const auto kv = fill(backend, scene, 64, rng);
      std::vector<std::int32_t> table = scene.sequences[0].table;
      backend.kv_copy(*kv, spare, table[1]);
      table[1] = spare;
      const std::string difference =
          expected.difference(attend(backend, scene, *kv, q, start, {{0, 3, 37, table.data()}}));
      CHECK_MESSAGE(difference.empty(), label, ": ", difference);
    }, nullptr, vector_cpus());
  }
}

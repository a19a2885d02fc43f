// Scenes for tests of attention: a KV pool, what is written to it, and a plan, seeded; and what a backend makes of
// one. Shuffled block tables, several sequences in a plan, queries that begin anywhere. Every slot of the pool that
// no token was written to holds NaN, so that a key which should not be seen cannot go unnoticed.
#pragma once
#include "tests/compare.h"

namespace octavo::testing {

inline const std::vector<int> edge_lengths = {1,   2,   15,  16,  17,  31,  32,  33,  255,
                                              256, 257, 511, 512, 513, 767, 769, 1030};

struct Sequence {
  int length;  // positions with keys; the last `queries` of them ask
  int queries;
  std::vector<std::int32_t> table;
  std::vector<float> k, v;  // [length, G * D]
  std::vector<float> q;     // [length, H * D], of a type that rounds by queries
};

// A pool, what is written to it, and a plan. Everything a backend is given, in the order it is given.
struct Scene {
  KvShape shape;
  int heads, window, layer;
  int sinks;
  float scale, soft_cap;
  std::vector<float> sink_logits;  // empty, or one a head
  std::vector<Sequence> sequences;
  std::vector<AttentionSegment> segments;
  int rows;

  int width() const { return shape.kv_heads * shape.head_size; }
  int q_width() const { return heads * shape.head_size; }
  std::string words() const {
    std::string text = std::string(traits(shape.dtype).name) + " D " + std::to_string(shape.head_size) + " H " +
                       std::to_string(heads) + " G " + std::to_string(shape.kv_heads) + " window " +
                       std::to_string(window) + " sinks " + std::to_string(sinks) + " cap " + std::to_string(soft_cap) +
                       (sink_logits.empty() ? "" : " sink logits") + " sequences";
    for (const Sequence& s : sequences) text += " " + std::to_string(s.length) + "/" + std::to_string(s.queries);
    return text;
  }
};

// Keys and values: normal ones, and among them what the conversion to f16 finds hard.
inline std::vector<float> random_cache_values(std::size_t n, Rng& rng) {
  static const std::vector<float> corners = {0.0f,    -0.0f,          1e-7f,          -3e-8f, 2e-8f,
                                             6.1e-5f, 1.00048828125f, 1.00146484375f, -2049,  2051};
  std::vector<float> out = random_normals(n, rng);
  for (float& x : out)
    if (rng.chance(20)) x = rng.pick(corners);
  return out;
}

inline Scene make_scene(KvDtype dtype, int head_size, int kv_heads, int ratio, int window,
                        std::vector<std::pair<int, int>> lengths_and_queries, Rng& rng) {
  Scene scene{};
  scene.shape = {2, 0, kv_heads, head_size, dtype};
  scene.heads = kv_heads * ratio, scene.window = window, scene.layer = rng.below(2);
  static const std::vector<int> sinks = {0, 0, 1, 4, 17, 256, 300};
  scene.sinks = rng.pick(sinks);
  if (rng.chance(4)) scene.soft_cap = rng.chance(2) ? 50.0f : 0.3f;
  if (rng.chance(4)) scene.sink_logits = random_normals(static_cast<std::size_t>(scene.heads), rng, 4);
  scene.scale = rng.chance(4) ? 0.1f : 1.0f / std::sqrt(static_cast<float>(head_size));
  int blocks = 3;
  for (const auto& [length, queries] : lengths_and_queries) blocks += (length + 15) / 16;
  std::vector<std::int32_t> free(static_cast<std::size_t>(blocks));
  for (int i = 0; i < blocks; ++i) free[static_cast<std::size_t>(i)] = i;
  shuffle(free, rng);
  scene.shape.blocks = blocks;
  for (const auto& [length, queries] : lengths_and_queries) {
    Sequence s{length, queries, {}, {}, {}, {}};
    for (int i = 0; i < (length + 15) / 16; ++i) s.table.push_back(free.back()), free.pop_back();
    s.k = random_cache_values(static_cast<std::size_t>(length * scene.width()), rng);
    s.v = random_cache_values(static_cast<std::size_t>(length * scene.width()), rng);
    if (traits(dtype).rounds_by_queries) {
      s.q = random_normals(static_cast<std::size_t>(length * scene.q_width()), rng);
      static const std::vector<float> query_sizes = {0.0f, 1e-30f, 1e-12f, 100.0f, 1e15f, 1e25f};
      for (int i = 0; i < length * scene.heads; ++i)
        if (const float size = rng.pick(query_sizes); rng.chance(12))
          for (int d = 0; d < head_size; ++d) s.q[static_cast<std::size_t>(i * head_size + d)] *= size;
    }
    if (rng.chance(3))
      s.v[static_cast<std::size_t>(rng.below(length * scene.width()))] = rng.chance(2) ? 1e6f : -70000.0f;
    // Rows of one token and head of very different sizes, among them those below what the 8-bit types keep.
    static const std::vector<float> sizes = {0.0f, 1e-3f, 1e-29f, 2e-30f, 1e-31f, 1e-38f, 1e4f, 1e12f};
    for (int i = 0; i < length * kv_heads; ++i)
      for (std::vector<float>* rows : {&s.k, &s.v}) {
        if (!rng.chance(12)) continue;
        const float size = rows == &s.k && rng.chance(2) ? 3.0f : rng.pick(sizes);
        for (int d = 0; d < head_size; ++d) (*rows)[static_cast<std::size_t>(i * head_size + d)] *= size;
      }
    scene.sequences.push_back(std::move(s));
  }
  for (const Sequence& s : scene.sequences)
    scene.segments.push_back({0, s.queries, s.length - s.queries, s.table.data()});
  shuffle(scene.segments, rng);
  for (AttentionSegment& s : scene.segments) s.row = scene.rows, scene.rows += s.count;
  shuffle(scene.segments, rng);
  return scene;
}

inline std::vector<std::int32_t> slots_of(const Sequence& s, int from, int count) {
  std::vector<std::int32_t> slots;
  for (int j = from; j < from + count; ++j) slots.push_back(s.table[static_cast<std::size_t>(j / 16)] * 16 + j % 16);
  return slots;
}

// NaN everywhere in every layer, then the sequences in the scene's layer, in steps of `piece` tokens.
inline std::unique_ptr<KvStore> fill(Backend& backend, const Scene& scene, int piece, Rng& rng) {
  auto kv = backend.kv_create(scene.shape);
  std::int32_t first[kv_block_tokens];
  for (int i = 0; i < kv_block_tokens; ++i) first[i] = i;
  const std::vector<float> poison(static_cast<std::size_t>(kv_block_tokens * scene.width()), NAN);
  for (int layer = 0; layer < scene.shape.layers; ++layer)
    backend.kv_write(*kv, layer, nullptr, 0, poison.data(), poison.data(), scene.width(), first, kv_block_tokens);
  for (int block = 1; block < scene.shape.blocks; ++block) backend.kv_copy(*kv, block, 0);
  for (const Sequence& s : scene.sequences) {
    for (int from = 0; from < s.length; from += piece) {
      const int count = std::min(piece, s.length - from), ld = scene.q_width() + rng.below(9);
      Rows k = Rows::blank(count, ld, scene.width(), rng), v = k, q = Rows::blank(count, ld, scene.q_width(), rng);
      for (int t = 0; t < count; ++t) {
        std::copy_n(&s.k[static_cast<std::size_t>((from + t) * scene.width())], scene.width(), k.data() + t * ld);
        std::copy_n(&s.v[static_cast<std::size_t>((from + t) * scene.width())], scene.width(), v.data() + t * ld);
        if (!s.q.empty())
          std::copy_n(&s.q[static_cast<std::size_t>((from + t) * scene.q_width())], scene.q_width(), q.data() + t * ld);
      }
      backend.kv_write(*kv, scene.layer, q.data(), scene.heads, k.data(), v.data(), ld, slots_of(s, from, count).data(),
                       count);
    }
  }
  return kv;
}

inline Rows attend(Backend& backend, const Scene& scene, const KvStore& kv, const Rows& q, const Rows& start,
                   const std::vector<AttentionSegment>& segments) {
  Rows out = start;
  const AttentionPlan plan{segments.data(), static_cast<int>(segments.size()), scene.rows};
  backend.attention(out.data(), q.data(), q.ld(), kv, scene.layer, plan,
                    {scene.heads, scene.scale, scene.window, scene.sinks, scene.soft_cap,
                     scene.sink_logits.empty() ? nullptr : scene.sink_logits.data()});
  return out;
}

// Lengths and query counts for one plan, within so many multiply-adds where each key of a query takes `work_per_key`.
inline std::vector<std::pair<int, int>> random_plan(int n, double work, double work_per_key, Rng& rng) {
  double budget = work / work_per_key;
  std::vector<std::pair<int, int>> plan;
  for (int i = 0; i < n; ++i) {
    const int length = rng.chance(2) ? rng.pick(edge_lengths) : rng.between(1, 1030);
    int queries = rng.chance(2) ? 1 : rng.chance(2) ? rng.between(1, 9) : rng.between(1, length);
    queries = std::min({queries, length, std::max(1, static_cast<int>(budget / length))});
    budget -= static_cast<double>(queries) * length;
    plan.push_back({length, queries});
  }
  return plan;
}

// A scene's queries, among them rows that are very small or very large.
inline Rows random_queries(const Scene& scene, Rng& rng) {
  Rows q(scene.rows, scene.q_width() + rng.below(50), scene.q_width(), rng);
  static const std::vector<float> sizes = {0.0f, 1e-38f, 1e-24f, 1e-18f, 1e6f};
  for (int row = 0; row < scene.rows; ++row) {
    if (!rng.chance(6)) continue;
    const float size = rng.pick(sizes);
    for (int i = 0; i < scene.q_width(); ++i) q.data()[row * q.ld() + i] *= size;
  }
  return q;
}

struct Groupings {
  std::vector<int> head_sizes;
  int most_kv_heads, most_sequences;
  double work;  // of a plan
};
// Scenes of heads and groupings; a sample has every type of the cache with every head size and with every grouping, as
// far as taken() says. `scene` counts them.
template <class Taken, class Body>
void each_grouping(const Groupings& of, int& scene, Rng& rng, Taken taken, Body body) {
  static const std::vector<int> windows = {0, 0, 0, 1, 17, 256, 300, 4096};
  for (const int D : of.head_sizes) {
    for (const int ratio : {1, 2, 3, 4, 7, 8}) {
      const int G = rng.between(1, std::min(of.most_kv_heads, ratio > 4 ? 2 : 3)),
                n = rng.between(1, of.most_sequences);
      const auto plan = random_plan(n, of.work, static_cast<double>(G) * ratio * D, rng);
      for (const KvDtype dtype : kv_dtypes)
        if (deep() || (scene % 4 == static_cast<int>(dtype) && taken()))
          body(make_scene(dtype, D, G, ratio, rng.pick(windows), plan, rng));
      ++scene;
    }
    ++scene;
  }
}

// A sequence of so many keys that decodes, a prompt of at most so many queries, and one under a window.
template <class Body>
void each_at_edge(KvDtype dtype, int length, int most_queries, Rng& rng, Body body) {
  body(make_scene(dtype, 64, 1, 3, 0, {{length, 1}}, rng));
  body(make_scene(dtype, 32, 1, 1, 0, {{length, std::min(length, most_queries)}}, rng));
  body(make_scene(dtype, 32, 1, 2, rng.between(1, length), {{length, std::min(length, 20)}}, rng));
}

}  // namespace octavo::testing

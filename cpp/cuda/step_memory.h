// What computing steps takes of a device besides weights and the KV cache, by purpose: pure arithmetic, so that memory
// is planned before anything is allocated. Each purpose is one piece of memory, taken when an engine is made; steps
// allocate nothing.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../../cuda/kernels/attention/params_kv.h"
#include "../../cuda/kernels/sampling/params_sample.h"
#include "../../cuda/ops/linear.h"
#include "../../cuda/ops/sample.h"

namespace octavo::cuda {

struct ModelShape {
  int layers, width, heads, kv_heads, head_size, feed_forward, vocabulary, rope_dims;
  std::size_t constants = 0;  // numbers of norms, biases and sinks, all together
};
struct StepLimits {
  int max_tokens;  // of a step
  int kv_blocks;
};

inline constexpr int most_logit_rows = 64;      // of one pass over the head
inline constexpr int most_queued_steps = 16;    // on their way at once
inline constexpr int most_graphs = 32;          // kept
inline constexpr long long most_partials = 1 << 15;  // of attention, rows of them

// Bytes.
struct StepMemory {
  std::size_t activations;  // of max_tokens rows
  std::size_t logits;       // of most_logit_rows rows, and as many counts of tokens
  std::size_t attention;    // partials of chunks
  std::size_t linear;       // rounded inputs
  std::size_t upload;       // a step's inputs
  std::size_t results;      // what steps bring
  std::size_t constants;    // norms, biases, sinks
  std::size_t graphs;       // an estimate: the driver takes them
  std::size_t pinned;       // of the host's memory
  std::size_t device_bytes() const {
    return activations + logits + attention + linear + upload + results + constants + graphs;
  }
};

namespace step_bytes {

inline std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
inline std::size_t of(int count) { return static_cast<std::size_t>(count); }

// Buffers as Model::operations works in them.
inline std::size_t activations(const ModelShape& m, int tokens) {
  const std::size_t T = of(tokens), width = of(m.width), attended = of(m.heads) * of(m.head_size);
  const std::size_t qkv = attended + 2 * of(m.kv_heads) * of(m.head_size);
  std::size_t bytes = 0;
  for (const std::size_t row : {width, width, qkv, attended, 2 * of(m.feed_forward), std::max(width, attended)})
    bytes += rounded(T * row * sizeof(float));
  return bytes;
}

// Tokens that are sampled after: what penalties look at, of all sequences of a full cache, with room for what a run
// draws.
inline std::size_t history_words(const StepLimits& limits) {
  return of(limits.kv_blocks) * 16 + of(std::min(limits.max_tokens, most_logit_rows)) * 2 * most_queued_steps;
}
// Block tables (several sequences may name a block), masks, biases.
inline std::size_t pool_words(const ModelShape& m, const StepLimits& limits) {
  return 4 * of(limits.kv_blocks) + of(most_logit_rows) * ((of(m.vocabulary) + 31) / 32) + 64 * 1024;
}
// Everything that has a row's size.
inline std::size_t upload_rows(const ModelShape& m, int tokens) {
  const std::size_t T = of(tokens), queries = of(m.heads) / of(m.kv_heads);
  const std::size_t tiles = T * queries, items = tiles + of(static_cast<int>(most_partials));
  return T * (3 * sizeof(std::int32_t) + of(m.rope_dims) * sizeof(float) + sizeof(gpu::SampleRow)) +
         tiles * sizeof(gpu::AttentionTile) + items * sizeof(gpu::AttentionItem);
}

}  // namespace step_bytes

inline StepMemory step_memory(const ModelShape& m, const StepLimits& limits) {
  using namespace step_bytes;
  const int T = limits.max_tokens, widest = std::max({m.width, m.heads * m.head_size, m.feed_forward});
  const std::size_t vocabulary = of(m.vocabulary), rows = of(std::min(T, most_logit_rows));
  StepMemory out{};
  out.activations = activations(m, T);
  out.logits = rounded(rows * vocabulary * sizeof(float)) + rounded(rows * vocabulary * sizeof(std::int32_t)) +
               rounded(rows * of(sample_groups(m.vocabulary)) * sizeof(float));
  out.attention = of(static_cast<int>(most_partials)) * (2 + of(m.head_size)) * sizeof(float);
  out.linear = rounded(linear_scratch_bytes(std::max(T, most_logit_rows), widest));
  const std::size_t words = history_words(limits) + pool_words(m, limits);
  out.upload = rounded(upload_rows(m, T) + words * sizeof(std::int32_t)) + 16 * 256;
  // Of each row a token, its chance, and up to most_top_tokens others with theirs; what samplers keep of words.
  out.results = rounded(of(T) * (3 + 2 * of(most_top_tokens)) * 4) + rounded(words * sizeof(float)) + 16 * 256;
  out.constants = m.constants * sizeof(float) + 256 * of(8 * m.layers + 1);
  out.graphs = of(most_graphs) * of(13 * m.layers + 8) * 1024;
  out.pinned = 2 * (out.upload + out.results);
  return out;
}

}  // namespace octavo::cuda

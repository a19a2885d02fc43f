// What computing steps takes of a device besides weights and the KV cache, by purpose: pure arithmetic, so that memory
// is planned before anything is allocated. Each purpose is one piece of memory, taken when an engine is made; steps
// allocate nothing, but for those whose rows name more than is thought of here (CudaSteps::make_room).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../../../cuda/kernels/attention/params_kv.h"
#include "../../../cuda/kernels/sampling/params_sample.h"
#include "../../../cuda/ops/linear.h"
#include "../../../cuda/ops/sample.h"

namespace octavo::cuda {

struct ModelShape {
  int layers, width, heads, kv_heads, head_size, feed_forward, vocabulary, rope_dims;
  std::size_t constants = 0;  // numbers of norms, biases and sinks, all together
};
struct StepLimits {
  int max_tokens;  // of a step
  int kv_blocks;
};

inline constexpr int most_logit_rows = 64;           // of one pass over the head
inline constexpr int most_queued_steps = 16;         // on their way at once
inline constexpr int most_graphs = 32;               // kept
inline constexpr int usual_masks = 256;              // of all rows of a step; equal ones count once
inline constexpr long long most_partials = 1 << 15;  // of attention, rows of them

// Bytes.
struct StepMemory {
  std::size_t activations;  // of max_tokens rows
  std::size_t logits;       // of most_logit_rows rows, and as many counts of tokens
  std::size_t attention;    // partials of chunks
  std::size_t linear;       // rounded inputs
  std::size_t upload;       // a step's inputs
  std::size_t results;      // what steps bring, and what samplers keep beside it
  std::size_t constants;    // norms, biases, sinks
  std::size_t graphs;       // an estimate: the driver takes them
  std::size_t pinned;       // of the host's memory
  std::size_t device_bytes() const {
    return activations + logits + attention + linear + upload + results + constants + graphs;
  }
};

namespace step_bytes {

// Biases of all rows of a step: one row may name every token.
inline std::size_t biases(const ModelShape& m) { return static_cast<std::size_t>(std::max(32 * 1024, m.vocabulary)); }
inline std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
inline std::size_t of(int count) { return static_cast<std::size_t>(count); }

// Rows of the buffers of a step, in the order of octavo::Activations.
inline constexpr int activation_buffers = 6;
inline std::size_t activation(const ModelShape& m, int tokens, int buffer) {
  const std::size_t width = of(m.width), attended = of(m.heads) * of(m.head_size);
  const std::size_t rows[activation_buffers] = {width,
                                                width,
                                                attended + 2 * of(m.kv_heads) * of(m.head_size),
                                                attended,
                                                2 * of(m.feed_forward),
                                                std::max(width, attended)};
  return rounded(of(tokens) * rows[buffer] * sizeof(float));
}

// An upload (step_block.h). Before its origin: ids, and the tokens that penalties look at, of all sequences of a full
// cache, with room for what a run draws.
inline std::size_t before_origin(const StepLimits& limits) {
  const std::size_t rows = of(std::min(limits.max_tokens, most_logit_rows));
  return rounded(of(limits.max_tokens) * 4) + rounded((of(limits.kv_blocks) * 16 + rows * 2 * most_queued_steps) * 4);
}
// Behind it: what each row has, biases, and words: block tables (several sequences may name a block) and masks.
inline std::size_t behind_origin(const ModelShape& m, const StepLimits& limits) {
  const std::size_t T = of(limits.max_tokens), queries = of(m.heads) / of(m.kv_heads);
  const std::size_t tiles = T * queries, items = tiles + of(static_cast<int>(most_partials));
  const std::size_t rows = T * (2 * 4 + of(m.rope_dims) * sizeof(float) + sizeof(gpu::SampleRow) + sizeof(gpu::Feed)) +
                           tiles * sizeof(gpu::AttentionTile) + items * sizeof(gpu::AttentionItem);
  const std::size_t masks = of(std::min(limits.max_tokens, usual_masks));
  const std::size_t words = 4 * of(limits.kv_blocks) + masks * ((of(m.vocabulary) + 31) / 32);
  return rounded(rows + biases(m) * 8 + words * 4) + 16 * 256;
}
// Of each row a token, its chance, and up to most_top_tokens others with theirs.
inline std::size_t results(const StepLimits& limits) {
  return rounded(of(limits.max_tokens) * (3 + 2 * of(most_top_tokens)) * 4);
}

}  // namespace step_bytes

inline StepMemory step_memory(const ModelShape& m, const StepLimits& limits) {
  using namespace step_bytes;
  const int T = limits.max_tokens, widest = std::max({m.width, m.heads * m.head_size, m.feed_forward});
  const std::size_t vocabulary = of(m.vocabulary), rows = of(std::min(T, most_logit_rows));
  StepMemory out{};
  for (int i = 0; i < activation_buffers; ++i) out.activations += activation(m, T, i);
  out.logits = rounded(rows * vocabulary * sizeof(float)) + rounded(rows * vocabulary * sizeof(std::int32_t)) +
               rounded(rows * of(sample_groups(m.vocabulary)) * sizeof(float));
  out.attention = of(static_cast<int>(most_partials)) * (2 + of(m.head_size)) * sizeof(float);
  out.linear = rounded(linear_scratch_bytes(std::max(T, most_logit_rows), widest));
  out.upload = before_origin(limits) + behind_origin(m, limits);
  out.results = results(limits) + before_origin(limits) + biases(m) * sizeof(float);
  out.constants = m.constants * sizeof(float) + 256 * of(12 * m.layers + 1);
  out.graphs = of(most_graphs) * of(13 * m.layers + 8) * 1024;
  out.pinned = 2 * (out.upload + results(limits));
  return out;
}

}  // namespace octavo::cuda

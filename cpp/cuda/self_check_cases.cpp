// See self_check_cases.h.
#include "cuda/self_check_cases.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "files/synthetic.h"
#include "splitmix.h"

namespace octavo::cuda {

namespace {

constexpr std::uint64_t seed = 7;

// The same numbers for every backend: bell-shaped, deviation 1.15.
class Noise {
 public:
  explicit Noise(std::uint64_t kind) : at_(splitmix_finalise(seed + kind)) {}
  std::vector<float> numbers(int count) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& x : out) {
      const std::uint64_t r = splitmix_finalise(at_ += splitmix_step);
      const std::uint64_t sum = (r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48);
      x = (static_cast<float>(sum) - 131070.0f) / 32768.0f;
    }
    return out;
  }

 private:
  std::uint64_t at_;
};

// Rows and input decide which kernels a linear takes (cuda/ops/linear.h).
struct LinearCase {
  int rows;
  InputKind input;
  bool bias;
  Epilogue epilogue;
};
constexpr LinearCase linears[] = {{3, InputKind::normed, true, Epilogue::store},
                                  {11, InputKind::gated, false, Epilogue::add},
                                  {37, InputKind::plain, false, Epilogue::store}};
constexpr int weight_rows = 37, least_width = 257;  // tails of blocks, of quads of groups, and of warps

Results weights(Backend& b, Format format, float eps) {
  const int n = weight_rows, multiple = std::max(16, static_cast<int>(traits(format).group));
  const int k = (least_width + multiple - 1) / multiple * multiple;
  std::vector<std::uint8_t> stored(row_bytes(format, static_cast<std::size_t>(k)) * static_cast<std::size_t>(n));
  synthetic_rows(format, seed, 0, 0, n, k, stored.data());
  const std::unique_ptr<Weight> weight = b.weight_create(format, n, k);
  b.weight_load(*weight, 0, n, stored.data());

  const std::string name = traits(format).name;
  const std::int32_t ids[] = {n - 1, 0, 17};
  Results out{{"embed " + name, k, std::vector<float>(static_cast<std::size_t>(3 * k))}};
  b.embed(out[0].values.data(), *weight, ids, 3);
  Noise noise(1);
  const std::vector<float> norm = noise.numbers(k), bias = noise.numbers(n);
  for (const LinearCase& c : linears) {
    const std::vector<float> x = noise.numbers(c.rows * 2 * k);
    LinearInput in(x.data());
    in.kind = c.input, in.norm_weight = norm.data(), in.eps = eps;
    out.push_back({"linear " + name + " of " + std::to_string(c.rows) + " rows", n, noise.numbers(c.rows * n)});
    b.linear(out.back().values.data(), n, in, *weight, c.bias ? bias.data() : nullptr, c.rows, c.epilogue);
  }
  return out;
}

Results rows(Backend& b, const ModelUse& use) {
  constexpr int T = 3, heads = 3, odd = 5, wide = 300, F = 70;
  const int D = use.head_size, ld = heads * D + odd;
  Noise noise(2);
  const std::vector<float> x = noise.numbers(T * std::max(ld, wide)), norm = noise.numbers(std::max(D, wide));
  Results out{{"norm of heads", ld, noise.numbers(T * ld)},
              {"norm", wide, noise.numbers(T * wide)},
              {"gate", F, noise.numbers(T * F)}};
  b.norm(out[0].values.data(), ld, x.data(), ld, norm.data(), use.norm_eps, T, heads, D);
  b.norm(out[1].values.data(), wide, x.data(), wide, norm.data(), use.norm_eps, T, 1, wide);
  b.gate(out[2].values.data(), x.data(), F, Activation::silu, T);
  return out;
}

// One sequence goes on with a row behind its first chunk of keys; another one begins with five. Three blocks fill the
// chunk by turns, since writing keys is what takes time on the host: fp8 is searched for.
Results attention(Backend& b, const ModelUse& use) {
  constexpr int known = attention_chunk + 2, begun = 5, T = 1 + begun, blocks = 5, cycle = 3;
  const int D = use.head_size, G = std::min(2, use.kv_heads), H = G * (use.attention.heads / use.kv_heads);
  const int ld = (H + 2 * G) * D, keys = H * D, values = keys + G * D;
  std::int32_t first[known / kv_block_tokens + 1];
  for (int i = 0; i < known / kv_block_tokens; ++i) first[i] = (3 * (i % cycle) + 1) % blocks;  // 1, 4, 2
  first[known / kv_block_tokens] = 0;
  const std::int32_t second[] = {3};
  const auto slot = [](const std::int32_t* table, int position) {
    return table[position / kv_block_tokens] * kv_block_tokens + position % kv_block_tokens;
  };
  Noise noise(3);
  const std::unique_ptr<KvStore> kv = b.kv_create({1, blocks, G, D, use.kv_dtype});
  std::vector<std::int32_t> slots;
  for (int i = 0; i < cycle * kv_block_tokens; ++i) slots.push_back(slot(first, i));
  for (int i = attention_chunk; i < known; ++i) slots.push_back(slot(first, i));
  const int written = static_cast<int>(slots.size());
  const std::vector<float> before = noise.numbers(written * ld);
  b.kv_write(*kv, 0, before.data(), H, before.data() + keys, before.data() + values, ld, slots.data(), written);

  slots = {slot(first, known)};
  for (int i = 0; i < begun; ++i) slots.push_back(slot(second, i));
  const std::string name = std::string("attention ") + traits(use.kv_dtype).name;
  Results out{{"rope", ld, noise.numbers(T * ld)}, {name, H * D, noise.numbers(T * H * D)}};
  const std::vector<float> turns = noise.numbers(T * use.rope_dims), sinks = noise.numbers(H);
  float* const q = out[0].values.data();
  b.rope(q, ld, H, D, turns.data(), use.rope_dims, use.rope_style, T);
  b.rope(q + keys, ld, G, D, turns.data(), use.rope_dims, use.rope_style, T);
  b.kv_write(*kv, 0, q, H, q + keys, q + values, ld, slots.data(), T);
  const AttentionSegment segments[] = {{0, 1, known, first}, {1, begun, 0, second}};
  AttentionParams params = use.attention;
  params.heads = H, params.sink_logits = use.sink_logits ? sinks.data() : nullptr;
  b.attention(out[1].values.data(), q, ld, *kv, 0, {segments, 2, T}, params);
  return out;
}

// Tokens are numbers that a float holds.
Results draws(Backend& b) {
  constexpr int V = 700;
  SamplerParams greedy, hot;
  greedy.logprobs = 3;
  hot.temperature = 0.9f, hot.top_k = 50, hot.top_p = 0.95f, hot.min_p = 0.02f, hot.repetition_penalty = 1.3f;
  hot.presence_penalty = 0.1f, hot.frequency_penalty = 0.2f, hot.prompt_length = 3, hot.seed = seed;
  hot.vocabulary = V - 3, hot.logprobs = 0;
  hot.bias = {{11, -std::numeric_limits<float>::infinity()}, {13, 0.5f}};
  const std::int32_t history[] = {5, 699, 0, 13, 13, 7};
  SampleRow wanted[2]{};
  wanted[0].params = &greedy, wanted[1].params = &hot;
  for (SampleRow& row : wanted) row.history = history, row.history_length = 6;
  Results out{{"draw", 1, {}}, {"logits after a draw", V, Noise(4).numbers(2 * V)}};
  b.sample(out[1].values.data(), V, wanted, 2);
  for (const SampleRow& row : wanted) {
    out[0].values.insert(out[0].values.end(), {static_cast<float>(row.token), row.logprob});
    for (const TokenLogprob& top : row.top)
      out[0].values.insert(out[0].values.end(), {static_cast<float>(top.token), top.logprob});
  }
  return out;
}

}  // namespace

std::vector<Check> checks_of(const ModelUse& use) {
  std::vector<Check> all;
  const std::string eps = " eps " + std::to_string(std::bit_cast<std::uint32_t>(use.norm_eps));
  for (const Format format : use.formats)
    all.push_back({traits(format).name + eps, [format, &use](Backend& b) { return weights(b, format, use.norm_eps); }});
  all.push_back({"rows " + std::to_string(use.head_size) + eps, [&use](Backend& b) { return rows(b, use); }});
  const AttentionParams& a = use.attention;
  std::string key = std::string("attention ") + traits(use.kv_dtype).name;
  for (const int n : {a.heads, use.kv_heads, use.head_size, use.rope_dims, static_cast<int>(use.rope_style), a.window,
                      a.sinks, std::bit_cast<int>(a.soft_cap), std::bit_cast<int>(a.scale), int{use.sink_logits}})
    key += ' ' + std::to_string(n);
  all.push_back({key, [&use](Backend& b) { return attention(b, use); }});
  all.push_back({"draws", draws});
  return all;
}

}  // namespace octavo::cuda

// A small model of seeded random weights, and requests that an engine computes with it: for tests of the forward pass,
// of steps, and of blocks that are exported.
#pragma once
#include <doctest.h>

#include <bit>

#include "engine.h"
#include "model/rope.h"
#include "tests/compare.h"
#include "tests/loaded_model.h"

namespace octavo::testing {

struct Shape {
  Format format;
  bool bias, qk_norm, tied;
  RopeStyle style;
  int window;
};

inline ModelDesc small_model(const Shape& shape) {
  ModelDesc d{};
  d.architecture = "llama";
  d.layers = 3, d.width = 64, d.heads = 6, d.kv_heads = 2, d.head_size = 16, d.feed_forward = 96, d.vocabulary = 301;
  d.norm_eps = 1e-5f, d.activation = Activation::silu, d.rope_style = shape.style, d.rope_dims = 16;
  d.rope_frequencies = rope_frequencies(16, 10000.0);
  d.rope_magnitude = 1, d.sliding_window = shape.window, d.seed = 7;
  if (shape.window > 0) d.attention_sinks = 3, d.attention_soft_cap = 5;
  std::uint64_t number = 0;
  const auto add = [&](const std::string& role, std::int64_t rows, std::int64_t width, Format format) {
    d.tensors[role] = {-1, number++, 0, format, rows, width};
  };
  add("embed", 301, 64, shape.format);
  if (!shape.tied) add("output", 301, 64, Format::q8_0);
  add("outputNorm", 1, 64, Format::f32);
  for (int i = 0; i < d.layers; ++i) {
    const std::string p = "layer." + std::to_string(i) + ".";
    add(p + "attnNorm", 1, 64, Format::f32), add(p + "ffnNorm", 1, 64, Format::f32);
    if (shape.window > 0) add(p + "attnSinks", 1, 6, Format::f32);
    add(p + "q", 96, 64, shape.format), add(p + "k", 32, 64, shape.format);
    add(p + "v", 32, 64, i == 1 ? Format::q8_0 : shape.format);  // a mixed layer cannot merge q, k, v
    add(p + "attnOut", 64, 96, shape.format);
    add(p + "gate", 96, 64, shape.format), add(p + "up", 96, 64, shape.format), add(p + "down", 64, 96, shape.format);
    if (shape.bias)
      add(p + "qBias", 1, 96, Format::f32), add(p + "kBias", 1, 32, Format::f32), add(p + "vBias", 1, 32, Format::f32);
    if (shape.qk_norm) add(p + "qNorm", 1, 16, Format::f32), add(p + "kNorm", 1, 16, Format::f32);
  }
  return d;
}

// A change of widths: the same model with 3 heads of 16, 48 wide together, and other sizes that are no multiple of 32.
struct Narrow {
  int width, feed_forward;
  Format across, attn_out, down;  // of what reduces the width, the heads, the feed-forward width
};

inline ModelDesc narrow_model(const Narrow& shape) {
  ModelDesc d = small_model({shape.across, true, false, true, RopeStyle::half, 0});
  d.heads = 3, d.kv_heads = 1, d.width = shape.width, d.feed_forward = shape.feed_forward;
  const auto resize = [&](const std::string& role, std::int64_t rows, std::int64_t width) {
    d.tensors[role].rows = rows, d.tensors[role].width = width;
  };
  const int E = shape.width, F = shape.feed_forward;
  resize("embed", 301, E), resize("outputNorm", 1, E);
  for (int i = 0; i < d.layers; ++i) {
    const std::string p = "layer." + std::to_string(i) + ".";
    resize(p + "attnNorm", 1, E), resize(p + "ffnNorm", 1, E);
    resize(p + "q", 48, E), resize(p + "k", 16, E), resize(p + "v", 16, E), resize(p + "attnOut", E, 48);
    resize(p + "gate", F, E), resize(p + "up", F, E), resize(p + "down", E, F);
    resize(p + "qBias", 1, 48), resize(p + "kBias", 1, 16), resize(p + "vBias", 1, 16);
    d.tensors[p + "v"].format = shape.across;
    d.tensors[p + "attnOut"].format = shape.attn_out;
    d.tensors[p + "down"].format = shape.down;
  }
  return d;
}

inline std::shared_ptr<Model> load(const ModelDesc& desc, const char* isa) {
  return loaded(desc, isa ? make_cpu_backend(isa) : make_reference_backend());
}

inline std::shared_ptr<Model> load(const Shape& shape, const char* isa) { return load(small_model(shape), isa); }

inline constexpr Shape plain{Format::q4_0, false, false, true, RopeStyle::interleaved, 0};

inline std::vector<std::int32_t> prompt_of(int seed, int length) {
  std::vector<std::int32_t> tokens;
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u + 1;
  for (int i = 0; i < length; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<std::int32_t>((state >> 8) % 301));
  }
  return tokens;
}

inline SamplerParams sampler_of(int seed, int prompt_length) {
  SamplerParams p;
  p.seed = static_cast<std::uint64_t>(seed);
  p.temperature = seed % 2 ? 0.8f : 0.0f;
  p.repetition_penalty = seed % 3 ? 1.0f : 1.2f;
  p.logprobs = 0;
  p.prompt_length = prompt_length;
  return p;
}

struct Drawn {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint32_t> logprob_bits;
  bool operator==(const Drawn&) const = default;
};

// One request being computed: `fed` tokens are in the sequence.
struct Request {
  std::vector<std::int32_t> tokens;  // prompt and output
  int prompt, sequence, fed = 0;
  Drawn drawn;
};

inline Request begin(Engine& engine, int seed, int length) {
  Request r{prompt_of(seed, length), length, engine.kv().create(""), 0, {}};
  engine.set_sampler(r.sequence, sampler_of(seed, length));
  return r;
}

// One step: each request gets at most `chunk` tokens.
inline void step(Engine& engine, std::vector<Request*> requests, int chunk) {
  Step s;
  std::vector<Request*> drawing;
  for (Request* r : requests) {
    const int count = std::min(chunk, static_cast<int>(r->tokens.size()) - r->fed);
    const bool last = r->fed + count == static_cast<int>(r->tokens.size());
    REQUIRE(engine.kv().reserve(r->sequence, count));
    s.segments.push_back({r->sequence, count, last ? 1 : 0, false, -1});
    s.tokens.insert(s.tokens.end(), r->tokens.begin() + r->fed, r->tokens.begin() + r->fed + count);
    r->fed += count;
    if (last) drawing.push_back(r);
  }
  engine.submit(std::move(s));
  REQUIRE(engine.wait());
  REQUIRE(engine.result().rows.size() == drawing.size());
  for (std::size_t i = 0; i < drawing.size(); ++i) {
    const SampleRow& row = engine.result().rows[i];
    REQUIRE(row.token >= 0);
    drawing[i]->tokens.push_back(row.token);
    drawing[i]->drawn.tokens.push_back(row.token);
    drawing[i]->drawn.logprob_bits.push_back(std::bit_cast<std::uint32_t>(row.logprob));
  }
}

inline constexpr int output_tokens = 12;

inline Drawn solo(Engine& engine, int seed, int length, int chunk) {
  Request r = begin(engine, seed, length);
  while (r.drawn.tokens.size() < output_tokens) step(engine, {&r}, chunk);
  engine.release(r.sequence);
  return r.drawn;
}

inline EngineOptions options(int threads, KvDtype dtype = KvDtype::f16) { return {threads, 400, 512, true, dtype}; }

}  // namespace octavo::testing

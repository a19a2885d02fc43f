// Engines with a small model of two layers, on the fake device and on the reference, and what sequences draw in them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine.h"
#include "model/rope.h"
#include "tests/draws.h"
#include "tests/loaded_model.h"

namespace octavo::testing {

inline constexpr int small_vocabulary = 301;
// Seconds of a run.
inline constexpr double no_limit = 1e9;

// Weights made from the seed: `format` in the layers, q8_0 in the embedding, which is the head as well.
inline std::shared_ptr<Model> small_model(std::unique_ptr<Backend> backend, Format format = Format::q4_0) {
  ModelDesc d{};
  d.architecture = "llama";
  d.layers = 2, d.width = 64, d.heads = 4, d.kv_heads = 2, d.head_size = 16, d.feed_forward = 96;
  d.vocabulary = small_vocabulary;
  d.norm_eps = 1e-5f, d.activation = Activation::silu, d.rope_style = RopeStyle::half, d.rope_dims = 16;
  d.rope_frequencies = rope_frequencies(16, 10000.0);
  d.rope_magnitude = 1, d.seed = 11;
  const auto add = [&](const std::string& role, Format f, std::int64_t rows, std::int64_t width) {
    d.tensors[role] = {-1, 0, 0, f, rows, width};
  };
  add("embed", Format::q8_0, d.vocabulary, d.width);
  add("outputNorm", Format::f32, 1, d.width);
  for (int i = 0; i < d.layers; ++i) {
    const std::string layer = "layer." + std::to_string(i) + ".";
    for (const char* norm : {"attnNorm", "ffnNorm"}) add(layer + norm, Format::f32, 1, d.width);
    add(layer + "q", format, 64, d.width), add(layer + "k", format, 32, d.width);
    add(layer + "v", format, 32, d.width), add(layer + "attnOut", format, d.width, 64);
    for (const char* half : {"gate", "up"}) add(layer + half, format, d.feed_forward, d.width);
    add(layer + "down", format, d.width, d.feed_forward);
  }
  return loaded(d, std::move(backend));
}

// Sequences of every kind of sampling, which have a prompt each and draw after it.
class Sequences {
 public:
  Sequences(Engine& engine, int count, int room = 64) : engine_(engine) {
    for (int i = 0; i < count; ++i) {
      const int sequence = engine.create(""), length = 3 + 5 * i % 17;
      engine.set_sampler(sequence, sampler(i, length + 1));
      if (!engine.kv().reserve(sequence, length)) throw std::runtime_error("no room");
      Step step{{{sequence, length, 0, false, -1}}, {}};
      for (int t = 0; t < length; ++t) step.tokens.push_back((7 * i + 31 * t) % small_vocabulary);
      engine.submit(std::move(step));
      if (!engine.wait()) throw std::runtime_error("interrupted");
      if (!engine.kv().reserve(sequence, room)) throw std::runtime_error("no room");
      segments.push_back({sequence, 1, 1, false, -1});
      next.push_back(17 + i);
    }
  }
  ~Sequences() {
    for (const Segment& s : segments) engine_.release(s.sequence);
  }
  static SamplerParams sampler(int i, int prompt) {
    SamplerParams p;
    p.seed = static_cast<std::uint64_t>(i);
    p.temperature = i % 3 == 0 ? 0.0f : 0.8f;
    p.repetition_penalty = i % 4 == 1 ? 1.3f : 1.0f;
    p.frequency_penalty = i % 5 == 2 ? 0.4f : 0.0f;
    p.top_p = i % 7 == 3 ? 0.7f : 1.0f;
    p.logprobs = i % 6 == 5 ? 3 : i % 6 == 4 ? 0 : -1;
    if (i % 8 == 6) p.bias = {{5, 4.0f}, {9, -3.0f}};
    p.prompt_length = prompt;
    return p;
  }
  // Rows of all steps of a wait; nothing: it was discarded.
  std::vector<Draw> wait(const Run& run = {}) {
    engine_.submit({segments, next});
    if (!engine_.wait(run)) return {};
    std::vector<Draw> draws = draws_of(engine_);
    for (std::size_t i = 0; i < next.size(); ++i) next[i] = draws[draws.size() - next.size() + i].token;
    return draws;
  }
  std::vector<Draw> one_by_one(int steps) {
    std::vector<Draw> draws;
    for (int i = 0; i < steps; ++i)
      for (Draw& draw : wait()) draws.push_back(std::move(draw));
    return draws;
  }
  std::vector<Segment> segments;
  std::vector<std::int32_t> next;

 private:
  Engine& engine_;
};

}  // namespace octavo::testing

// The description of a small float model of one layer whose tensors lie behind each other in one file without a header; and one
// with weights made from a seed.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>

#include "model/model.h"
#include "model/rope.h"
#include "tests/loaded_model.h"

namespace octavo {

// Matrices by the names of their roles, in the order of the file; behind them come the three norms. All are `width`
// wide.
inline ModelDesc one_layer_model(const std::string& path, int width, int vocabulary,
                                 std::initializer_list<const char*> matrices) {
  ModelDesc d{};
  d.architecture = "llama";
  d.files = {path};
  d.layers = 1, d.width = width, d.heads = 4, d.kv_heads = 4, d.head_size = 16, d.feed_forward = width,
  d.vocabulary = vocabulary;
  d.norm_eps = 1e-5f, d.activation = Activation::silu, d.rope_style = RopeStyle::half, d.rope_dims = 16;
  d.rope_frequencies = rope_frequencies(16, 10000.0);
  d.rope_magnitude = 1;
  std::uint64_t offset = 0;
  const auto add = [&](const std::string& role, std::int64_t rows) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(rows) * width * 4;
    d.tensors[role] = {0, offset, bytes, Format::f32, rows, width};
    offset += bytes;
  };
  for (const std::string role : matrices)
    add(role == "embed" ? role : "layer.0." + role, role == "embed" ? vocabulary : width);
  for (const char* role : {"layer.0.attnNorm", "layer.0.ffnNorm", "outputNorm"}) add(role, 1);
  return d;
}

// Without a file, and with all its weights.
inline std::shared_ptr<Model> seeded_one_layer_model(std::unique_ptr<Backend> backend, int vocabulary = 301,
                                                     int seed = 7) {
  ModelDesc desc = one_layer_model("", 64, vocabulary, {"embed", "q", "k", "v", "attnOut", "gate", "up", "down"});
  desc.files.clear(), desc.seed = seed;
  for (auto& [role, tensor] : desc.tensors) tensor.file = -1, tensor.bytes = 0;
  return testing::loaded(desc, std::move(backend));
}

}  // namespace octavo

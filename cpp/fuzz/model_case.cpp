#include <algorithm>
#include <cstring>
#include <vector>

#include "cases.h"
#include "model/rope.h"
#include "run_model.h"

namespace octavo::fuzz {

namespace {

constexpr std::size_t edit_bytes = 10;  // u8 what, u8 which, i64 value
constexpr std::size_t weights_bytes = std::size_t{16} << 10;

// One layer of width 32 in a file of zeros; offsets may overlap, for nothing here minds.
ModelDesc good_model(const std::string& path) {
  ModelDesc d{};
  d.architecture = "llama";
  d.files = {path};
  d.layers = 1, d.width = 32, d.heads = 2, d.kv_heads = 1, d.head_size = 16, d.feed_forward = 32, d.vocabulary = 8;
  d.norm_eps = 1e-5f, d.rope_dims = 16, d.rope_frequencies = rope_frequencies(16, 10000), d.rope_magnitude = 1;
  const auto add = [&](const std::string& role, std::int64_t rows, Format format) {
    d.tensors[role] = {0, 0, row_bytes(format, 32) * static_cast<std::uint64_t>(rows), format, rows, 32};
  };
  add("embed", 8, Format::q8_0), add("outputNorm", 1, Format::f32);
  for (const char* role : {"attnNorm", "ffnNorm"}) add("layer.0." + std::string(role), 1, Format::f32);
  for (const char* role : {"q", "attnOut", "gate", "up", "down"}) add("layer.0." + std::string(role), 32, Format::q4_0);
  for (const char* role : {"k", "v"}) add("layer.0." + std::string(role), 16, Format::q4_1);
  return d;
}

// Roles that an edit can add.
constexpr const char* more_roles[] = {"output",        "layer.0.qBias", "layer.0.kBias",
                                      "layer.0.vBias", "layer.0.qNorm", "layer.0.kNorm",
                                      "layer.1.q",     "layer.1.k",     "layer.0.downBias"};

void edit_tensor(TensorSource& t, std::uint8_t field, std::int64_t value) {
  switch (field % 6) {
    case 0: t.file = static_cast<int>(value); return;
    case 1: t.offset = static_cast<std::uint64_t>(value); return;
    case 2: t.bytes = static_cast<std::uint64_t>(value); return;
    case 3: t.format = static_cast<Format>(static_cast<std::uint64_t>(value) % format_count); return;
    case 4: t.rows = value; return;
    case 5: t.width = value; return;
  }
}

void edit(ModelDesc& d, std::uint8_t what, std::uint8_t which, std::int64_t value) {
  int* const sizes[] = {&d.layers,       &d.width,      &d.heads,     &d.kv_heads,      &d.head_size,
                        &d.feed_forward, &d.vocabulary, &d.rope_dims, &d.sliding_window};
  switch (what % 8) {
    case 0:
    case 1: *sizes[which % std::size(sizes)] = static_cast<int>(value); return;
    case 2: {  // all that belongs together: a good model of another size
      d.rope_frequencies.resize(static_cast<std::uint64_t>(value) % 300, 0.5);
      return;
    }
    case 3: {
      auto it = d.tensors.begin();
      std::advance(it, which % d.tensors.size());
      d.tensors.erase(it);
      if (d.tensors.empty()) d.tensors["embed"] = {};
      return;
    }
    case 4: d.tensors[more_roles[which % std::size(more_roles)]] = {0, 0, 128, Format::f32, 1, 32}; return;
    case 5: std::memcpy(&d.norm_eps, &value, sizeof d.norm_eps); return;
    default: {
      auto it = d.tensors.begin();
      std::advance(it, which % d.tensors.size());
      edit_tensor(it->second, static_cast<std::uint8_t>(what / 8), value);
      // The size that goes with rows, width and format, so that edits get past the check of bytes.
      if (what % 8 == 7 && it->second.rows > 0 && it->second.rows < 4096 && it->second.width > 0 &&
          it->second.width < 4096)
        it->second.bytes = row_bytes(it->second.format, static_cast<std::size_t>(it->second.width)) *
                           static_cast<std::uint64_t>(it->second.rows);
    }
  }
}

}  // namespace

Outcome model_case(const std::uint8_t* data, std::size_t bytes) {
  std::vector<std::uint8_t> weights(weights_bytes);
  ModelDesc desc = good_model("");
  for (; bytes >= edit_bytes && data[0] != 255; data += edit_bytes, bytes -= edit_bytes) {
    std::int64_t value;
    std::memcpy(&value, data + 2, sizeof value);
    edit(desc, data[0], data[1], value);
  }
  // What is left are the weights' first bytes.
  if (bytes > 0) std::memcpy(weights.data(), data, std::min(bytes, weights.size()));
  desc.files = {memory_file(weights.data(), weights.size())};
  try {
    return {run_model(std::move(desc)), ""};
  } catch (const Error& e) {
    return refusal(e);
  }
}

}  // namespace octavo::fuzz

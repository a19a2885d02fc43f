#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "cases.h"
#include "files/gguf.h"
#include "model/rope.h"
#include "run_model.h"

namespace octavo::fuzz {

namespace {

// Tensors beyond these sizes add time and nothing new.
constexpr std::uint64_t max_width = 1024, max_rows = 40;

std::optional<Format> format_of(std::uint32_t ggml_type) {
  for (std::size_t i = 0; i < format_count; ++i)
    if (format_table[i].ggml_type == ggml_type) return static_cast<Format>(i);
  return std::nullopt;
}

bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// The backend's own layout must give back what the file says, or refuse a scale that is not finite.
std::string check_tensor(const os::File& file, const GgufTensor& t) {
  const std::optional<Format> format = format_of(t.type);
  const std::uint64_t width = t.shape[0];
  if (!format || t.bytes == 0 || width > max_width || width % (is_quantised(*format) ? 32 : 16) != 0) return "";
  const std::size_t stride = row_bytes(*format, width);
  const std::uint64_t rows = std::min(t.bytes / stride, max_rows);
  std::vector<std::uint8_t> bytes(stride * rows);
  file.read(bytes.data(), t.offset, bytes.size());
  std::vector<float> expected(width * rows), found(width * rows);
  for (std::uint64_t r = 0; r < rows; ++r)
    dequantise_row(*format, bytes.data() + r * stride, width, expected.data() + r * width);
  const auto backend = make_cpu_backend(nullptr);
  const auto weight =
      backend->weight_create(*format, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width));
  try {
    backend->weight_load(*weight, 0, static_cast<std::int64_t>(rows), bytes.data());
  } catch (const Error& e) {
    if (e.code() != Code::model_invalid) throw;
    // A scale may be refused by its bits: 255 as mxfp4's exponent is no number, whatever it is multiplied with.
    bool finite = true;
    const FormatTraits& row = traits(*format);
    for (std::size_t at = 0; is_quantised(*format) && at < bytes.size(); at += row.group_bytes)
      finite = finite && scales_are_finite(*format, bytes.data() + at);
    return finite ? "weight_load refused finite rows: " + std::string(e.what()) : "";
  }
  std::vector<std::int32_t> ids(rows);
  std::iota(ids.begin(), ids.end(), 0);
  backend->embed(found.data(), *weight, ids.data(), static_cast<int>(rows));
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!same(expected[i], found[i]))
      return "tensor " + t.name + ": the backend's rows differ at element " + std::to_string(i);
  return "";
}

std::int64_t number(const GgufFile& gguf, const std::string& key, std::int64_t fallback) {
  for (const auto& [name, value] : gguf.metadata) {
    if (name != "llama." + key) continue;
    if (const auto* n = std::get_if<std::uint64_t>(&value)) return static_cast<std::int64_t>(*n);
    if (const auto* n = std::get_if<std::int64_t>(&value)) return *n;
  }
  return fallback;
}

// blk.<i>.attn_q.weight -> layer.<i>.q
std::string role_of(const std::string& name) {
  static const std::pair<const char*, const char*> names[] = {
      {"attn_norm.weight", "attnNorm"}, {"ffn_norm.weight", "ffnNorm"}, {"attn_q.weight", "q"}, {"attn_k.weight", "k"},
      {"attn_v.weight", "v"}, {"attn_output.weight", "attnOut"}, {"ffn_gate.weight", "gate"}, {"ffn_up.weight", "up"},
      {"ffn_down.weight", "down"}, {"attn_q.bias", "qBias"}, {"attn_k.bias", "kBias"}, {"attn_v.bias", "vBias"},
      {"attn_q_norm.weight", "qNorm"}, {"attn_k_norm.weight", "kNorm"}};
  if (name == "token_embd.weight") return "embed";
  if (name == "output_norm.weight") return "outputNorm";
  if (name == "output.weight") return "output";
  const std::size_t dot = name.find('.', 4);
  if (name.rfind("blk.", 0) != 0 || dot == std::string::npos) return name;
  for (const auto& [from, to] : names)
    if (name.compare(dot + 1, std::string::npos, from) == 0) return "layer." + name.substr(4, dot - 4) + "." + to;
  return name;
}

std::string check_model(const std::string& path, const GgufFile& gguf) {
  constexpr std::int64_t max_dims = 4096;
  const std::int64_t values[] = {number(gguf, "block_count", 1),       number(gguf, "embedding_length", 32),
                                 number(gguf, "attention.head_count", 2), number(gguf, "attention.head_count_kv", 1),
                                 number(gguf, "attention.key_length", 16), number(gguf, "feed_forward_length", 32),
                                 number(gguf, "rope.dimension_count", 16), number(gguf, "vocab_size", 8)};
  for (const std::int64_t v : values)
    if (v < INT32_MIN || v > INT32_MAX) return "";  // the addon refuses it
  ModelDesc d{};
  d.architecture = "llama";
  d.files = {path};
  int* fields[] = {&d.layers,    &d.width,        &d.heads,     &d.kv_heads,
                   &d.head_size, &d.feed_forward, &d.rope_dims, &d.vocabulary};
  for (std::size_t i = 0; i < std::size(fields); ++i) *fields[i] = static_cast<int>(values[i]);
  if (d.rope_dims > max_dims) return "";
  d.norm_eps = 1e-5f;
  d.rope_frequencies = rope_frequencies(d.rope_dims, static_cast<double>(number(gguf, "rope.freq_base", 10000)));
  d.rope_magnitude = 1;
  for (const GgufTensor& t : gguf.tensors) {
    const std::optional<Format> format = format_of(t.type);
    if (!format) continue;
    const std::int64_t rows = t.shape.size() > 1 ? static_cast<std::int64_t>(t.shape[1]) : 1;
    d.tensors[role_of(t.name)] = {0, t.offset, t.bytes, *format, rows, static_cast<std::int64_t>(t.shape[0])};
  }
  return run_model(std::move(d));
}

}  // namespace

Outcome gguf_case(const std::string& path) {
  try {
    const os::File file(path);
    const GgufFile gguf = gguf_read(file);
    for (const GgufTensor& t : gguf.tensors) {
      if (t.offset > file.size() || t.bytes > file.size() - t.offset)
        return {"tensor " + t.name + " lies outside the file", ""};
      if (ggml_type_name(t.type) == nullptr) return {"tensor " + t.name + " has a type without a name", ""};
      const std::string broken = check_tensor(file, t);
      if (!broken.empty()) return {broken, ""};
    }
    return {check_model(path, gguf), ""};
  } catch (const Error& e) {
    return refusal(e);
  }
}

std::string memory_file(const std::uint8_t* data, std::size_t bytes) {
  static const int descriptor = ::memfd_create("octavo-fuzz", MFD_CLOEXEC);
  if (::ftruncate(descriptor, 0) != 0 || ::pwrite(descriptor, data, bytes, 0) != static_cast<ssize_t>(bytes))
    std::abort();
  return "/proc/self/fd/" + std::to_string(descriptor);
}

}  // namespace octavo::fuzz

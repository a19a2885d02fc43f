// The GGUF writer: version 3, little-endian, tensors in order, each padded to the alignment (general.alignment, or 32).
// The header is made in memory and written at once; the layout is described in cpp/files/gguf.cpp.
#include <bit>
#include <cstring>

#include "error.h"
#include "files/gguf.h"
#include "files/quant.h"

namespace octavo {

namespace {

struct Bytes {
  std::string out;
  template <typename T>
  void number(T v) {
    char raw[sizeof v];
    std::memcpy(raw, &v, sizeof v);
    out.append(raw, sizeof v);
  }
  void text(std::string_view s) {
    number<std::uint64_t>(s.size());
    out += s;
  }
};

constexpr std::uint32_t type_u32 = 4, type_i32 = 5, type_f32 = 6, type_bool = 7, type_string = 8, type_array = 9,
                        type_u64 = 10, type_i64 = 11;

bool fits_i32(std::int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; }

// Integers of an array share one type: i32 when all fit (llama.cpp wants it for token types), else i64.
void write_array(Bytes& b, const GgufArray& a) {
  using Kind = GgufArray::Kind;
  b.number(type_array);
  switch (a.kind) {
    case Kind::strings:
      b.number(type_string);
      b.number<std::uint64_t>(a.strings.size());
      for (std::size_t i = 0; i < a.strings.size(); ++i) b.text(a.strings[i]);
      return;
    case Kind::numbers:
      b.number(type_f32);
      b.number<std::uint64_t>(a.numbers.size());
      for (double v : a.numbers) b.number(static_cast<float>(v));
      return;
    case Kind::bools:
      b.number(type_bool);
      b.number<std::uint64_t>(a.integers.size());
      for (std::int64_t v : a.integers) b.number<std::uint8_t>(v != 0);
      return;
    case Kind::integers: {
      bool small = true;
      for (std::int64_t v : a.integers) small = small && fits_i32(v);
      b.number(small ? type_i32 : type_i64);
      b.number<std::uint64_t>(a.integers.size());
      for (std::int64_t v : a.integers) small ? b.number(static_cast<std::int32_t>(v)) : b.number(v);
      return;
    }
  }
}

struct ValueWriter {
  Bytes& b;
  void operator()(bool v) const {
    b.number(type_bool);
    b.number<std::uint8_t>(v);
  }
  void operator()(std::uint64_t v) const {
    const bool small = v <= UINT32_MAX;
    b.number(small ? type_u32 : type_u64);
    small ? b.number(static_cast<std::uint32_t>(v)) : b.number(v);
  }
  void operator()(std::int64_t v) const {
    b.number(fits_i32(v) ? type_i32 : type_i64);
    fits_i32(v) ? b.number(static_cast<std::int32_t>(v)) : b.number(v);
  }
  void operator()(double v) const {
    b.number(type_f32);
    b.number(static_cast<float>(v));
  }
  void operator()(const std::string& v) const {
    b.number(type_string);
    b.text(v);
  }
  void operator()(const GgufArray& v) const { write_array(b, v); }
};

std::uint64_t padded(std::uint64_t n, std::uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

[[noreturn]] void refuse(const std::string& what) { throw Error(Code::invalid_argument, what); }

std::uint64_t tensor_bytes(const GgufTensorSpec& spec) {
  const FormatTraits* format = nullptr;
  for (const FormatTraits& f : format_table)
    if (f.ggml_type == spec.type) format = &f;
  if (format == nullptr) refuse("cannot write tensor " + spec.name + " of type " + std::to_string(spec.type));
  if (spec.name.empty() || spec.shape.empty() || spec.shape.size() > 4 || spec.shape[0] % format->group != 0)
    refuse("tensor " + spec.name + ": expected a name and 1 to 4 dimensions, the first a multiple of " +
           std::to_string(format->group));
  std::uint64_t bytes = format->group_bytes;
  for (std::size_t d = 0; d < spec.shape.size(); ++d) {
    const std::uint64_t size = d == 0 ? spec.shape[0] / format->group : spec.shape[d];
    if (size == 0 || size > (std::uint64_t{1} << 62) / bytes)
      refuse("tensor " + spec.name + " has an impossible shape");
    bytes *= size;
  }
  return bytes;
}

}  // namespace

GgufWriter::GgufWriter(const std::string& path, const std::vector<std::pair<std::string, GgufValue>>& metadata,
                       const std::vector<GgufTensorSpec>& tensors)
    : file_(path) {
  Bytes b;
  b.out = "GGUF";
  b.number<std::uint32_t>(3);
  b.number<std::uint64_t>(tensors.size());
  b.number<std::uint64_t>(metadata.size());
  for (const auto& [key, value] : metadata) {
    b.text(key);
    std::visit(ValueWriter{b}, value);
    if (key != "general.alignment") continue;
    const auto* n = std::get_if<std::uint64_t>(&value);
    if (n == nullptr || !std::has_single_bit(*n) || *n < 8)
      refuse("general.alignment must be a power of two, 8 or more");
    alignment_ = *n;
  }
  std::uint64_t offset = 0;
  for (const GgufTensorSpec& spec : tensors) {
    remaining_.push_back(tensor_bytes(spec));
    b.text(spec.name);
    b.number(static_cast<std::uint32_t>(spec.shape.size()));
    for (std::uint64_t d : spec.shape) b.number(d);
    b.number(spec.type);
    b.number(offset);
    offset += padded(remaining_.back(), alignment_);
  }
  file_.write(b.out.data(), b.out.size());
  pad();
}

void GgufWriter::pad() {
  const std::string zeros(static_cast<std::size_t>(padded(file_.position(), alignment_) - file_.position()), '\0');
  file_.write(zeros.data(), zeros.size());
}

void GgufWriter::write(const void* data, std::size_t bytes) {
  if (current_ >= remaining_.size() || bytes > remaining_[current_])
    refuse("write: more bytes than tensor " + std::to_string(current_) + " has");
  file_.write(data, bytes);
  remaining_[current_] -= bytes;
  if (remaining_[current_] > 0) return;
  ++current_;
  pad();
}

void GgufWriter::finish() {
  if (current_ < remaining_.size())
    refuse("finish: tensor " + std::to_string(current_) + " still wants " + std::to_string(remaining_[current_]) +
           " bytes");
  file_.finish();
}

}  // namespace octavo

// Checked reader of GGUF v2 and v3 files (format: ggml's docs/gguf.md), and a writer. The reader reads the header only;
// tensor data is read later by offset. Every count, length, offset, type, overflow and overlap is validated against the
// file's size before anything is allocated for it; any fault is model_invalid (or model_unsupported: big-endian files,
// other versions, unknown tensor types, deep arrays of arrays, headers beyond 64 MiB, 65,536 keys or tensors, 4 million array
// elements) with the path, what was expected and what came.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "os/os.h"

namespace octavo {

// Texts in one piece: a vocabulary has a hundred thousand.
class GgufTexts {
 public:
  void push(std::string_view text);
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }
  bool operator==(const GgufTexts&) const = default;
  // For the reader, and for who copies them all: text i ends at ends()[i].
  std::string& bytes() { return bytes_; }
  const std::string& bytes() const { return bytes_; }
  std::vector<std::uint32_t>& ends() { return ends_; }
  const std::vector<std::uint32_t>& ends() const { return ends_; }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> ends_;  // a header has at most 64 MiB
};

struct GgufArray;
using GgufValue = std::variant<bool, std::uint64_t, std::int64_t, double, std::string, GgufArray>;
// A homogeneous array of plain values. Exactly one vector is used, by element kind.
struct GgufArray {
  GgufTexts strings;
  std::vector<double> numbers;          // f32, f64, and u64 when an element is 2^63 or more
  std::vector<std::int64_t> integers;   // all integer types and bool
  enum class Kind : std::uint8_t { strings, numbers, integers, bools } kind = Kind::integers;
};

struct GgufTensor {
  std::string name;
  std::uint32_t type;                // ggml type id
  std::vector<std::uint64_t> shape;  // ggml order: shape[0] is the contiguous dimension
  std::uint64_t offset;              // absolute, in the file
  std::uint64_t bytes;               // 0 where a dimension is 0: such a tensor has no data, wherever it claims to lie
};

struct GgufFile {
  std::uint32_t version;
  std::uint64_t alignment, file_bytes;
  // In file order; duplicate keys rejected. Arrays of arrays, which nothing here has a use for, are left out.
  std::vector<std::pair<std::string, GgufValue>> metadata;
  std::vector<GgufTensor> tensors;                          // in file order; duplicate names and overlaps rejected
};

// Types this reader knows the size of (all of ggml's, so that a file in an unsupported format can still be inspected):
// name or null.
const char* ggml_type_name(std::uint32_t type);

// Without `texts`, the texts of arrays are passed over: as many empty ones stand for them.
GgufFile gguf_read(const os::File& file, bool texts = true);

// ---- writing -------------------------------------------------------------------------------------------------------
// Writes header and metadata; the caller then writes each tensor's bytes in order through write_tensor().
struct GgufTensorSpec {
  std::string name;
  std::uint32_t type;
  std::vector<std::uint64_t> shape;
};
class GgufWriter {
 public:
  // Integer metadata is written as u32 when it fits, else u64 / i32 / i64; numbers as f32. Throws io_error.
  GgufWriter(const std::string& path, const std::vector<std::pair<std::string, GgufValue>>& metadata,
             const std::vector<GgufTensorSpec>& tensors);
  // The next bytes of the current tensor; moves on (padding to the alignment) when it is complete.
  void write(const void* data, std::size_t bytes);
  void finish();  // throws invalid_argument when tensors are missing bytes
 private:
  void pad();

  os::FileWriter file_;
  std::vector<std::uint64_t> remaining_;  // bytes each tensor still wants
  std::size_t current_ = 0;
  std::uint64_t alignment_ = 32;
};

}  // namespace octavo

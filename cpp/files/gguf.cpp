// The GGUF reader. Layout, little-endian, no padding before the data:
//   "GGUF", u32 version, u64 tensors, u64 keys | per key: string, u32 type, value | per tensor: string name,
//   u32 dimensions, u64 sizes[], u32 ggml type, u64 offset | padding to the alignment | data, offsets counted from here
// A string is u64 length and bytes; an array is u32 type, u64 count and values. The one idea: nothing is allocated from
// a number in the file before the bytes that remain have been found to hold that much.
#include "files/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "error.h"

namespace octavo {

namespace {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read in place");

struct GgmlType {
  std::uint32_t id;
  const char* name;
  std::uint32_t group, group_bytes;
};
constexpr GgmlType ggml_types[] = {
    {0, "f32", 1, 4}, {1, "f16", 1, 2}, {2, "q4_0", 32, 18}, {3, "q4_1", 32, 20},
    {6, "q5_0", 32, 22}, {7, "q5_1", 32, 24}, {8, "q8_0", 32, 34}, {9, "q8_1", 32, 36},
    {10, "q2_k", 256, 84}, {11, "q3_k", 256, 110}, {12, "q4_k", 256, 144}, {13, "q5_k", 256, 176},
    {14, "q6_k", 256, 210}, {15, "q8_k", 256, 292}, {16, "iq2_xxs", 256, 66}, {17, "iq2_xs", 256, 74},
    {18, "iq3_xxs", 256, 98}, {19, "iq1_s", 256, 50}, {20, "iq4_nl", 32, 18}, {21, "iq3_s", 256, 110},
    {22, "iq2_s", 256, 82}, {23, "iq4_xs", 256, 136}, {24, "i8", 1, 1}, {25, "i16", 1, 2},
    {26, "i32", 1, 4}, {27, "i64", 1, 8}, {28, "f64", 1, 8}, {29, "iq1_m", 256, 56},
    {30, "bf16", 1, 2}, {34, "tq1_0", 256, 54}, {35, "tq2_0", 256, 66}, {39, "mxfp4", 32, 17},
    {40, "nvfp4", 64, 36},
};

const GgmlType* find_type(std::uint32_t id) {
  for (const GgmlType& t : ggml_types)
    if (t.id == id) return &t;
  return nullptr;
}

// Metadata value types of the file.
enum ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
constexpr std::uint32_t value_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

// What a header may hold. The largest vocabularies in use (262,144 tokens, their scores, types and merges: 1.3 million
// elements, 16 MB) need a third of it. Without limits a header would be expanded into many times its size in memory: a
// key takes 14 bytes of file and ten times that once read.
constexpr std::uint64_t max_header_bytes = std::uint64_t{64} << 20;
constexpr std::uint64_t max_array_elements = std::uint64_t{1} << 22;  // of all arrays together
constexpr std::uint64_t max_keys = 65536, max_tensors = 65536;
constexpr std::uint64_t max_key_bytes = 65535;                        // the format's own limit
constexpr std::uint32_t max_dimensions = 4;
constexpr int max_array_depth = 8;            // arrays in arrays are read by recursion
constexpr std::uint64_t alignment_unit = 8, max_alignment = std::uint64_t{1} << 20;
constexpr std::size_t buffer_bytes = std::size_t{256} << 10;

// For messages: names come from the file and may hold anything.
std::string printable(const std::string& s) {
  std::string out;
  for (char c : s.substr(0, 80)) out += c >= 32 && c < 127 ? c : '?';
  return s.size() > 80 ? out + "..." : out;
}

// Walks through the header; knows where it is, for messages.
class Cursor {
 public:
  explicit Cursor(const os::File& file) : file_(file), end_(std::min(file.size(), max_header_bytes)) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return end_ - position_; }

  [[noreturn]] void fail(Code code, const std::string& subject, const std::string& expected,
                         const std::string& found) const {
    throw Error(code, file_.path() + ": " + subject + ": expected " + expected + ", found " + found,
                {{"path", file_.path()}, {"subject", subject}, {"expected", expected}, {"found", found},
                 {"offset", std::to_string(position_)}});
  }
  [[noreturn]] void invalid(const std::string& subject, const std::string& expected, const std::string& found) const {
    fail(Code::model_invalid, subject, expected, found);
  }

  // Room for `count` things of at least `each` bytes.
  void need(std::uint64_t count, std::uint64_t each, const std::string& subject) const {
    if (count <= left() / each) return;
    const bool cut = end_ == file_.size();
    fail(cut ? Code::model_invalid : Code::model_unsupported, subject,
         "at most " + std::to_string(left()) + " bytes to the end of " + (cut ? "the file" : "the largest header"),
         std::to_string(count) + (each == 1 ? " bytes" : " items of " + std::to_string(each) + " bytes or more"));
  }

  void at_most(std::uint64_t count, std::uint64_t limit, const std::string& subject) const {
    if (count > limit)
      fail(Code::model_unsupported, subject, "at most " + std::to_string(limit), std::to_string(count));
  }

  void bytes(void* out, std::size_t n, const std::string& subject) {
    need(n, 1, subject);
    char* to = static_cast<char*>(out);
    while (n > 0) {
      if (position_ < start_ || position_ >= start_ + buffer_.size()) fill();
      const std::size_t at = static_cast<std::size_t>(position_ - start_), take = std::min(n, buffer_.size() - at);
      std::memcpy(to, buffer_.data() + at, take);
      to += take;
      n -= take;
      position_ += take;
    }
  }

  void skip(std::uint64_t n, const std::string& subject) {
    need(n, 1, subject);
    position_ += n;
  }

  template <typename T>
  T number(const std::string& subject) {
    T v;
    bytes(&v, sizeof v, subject);
    return v;
  }

  void append(std::string& out, std::uint64_t n, const std::string& subject) {
    need(n, 1, subject);
    const std::size_t before = out.size();
    out.resize(before + static_cast<std::size_t>(n));
    if (n > 0) bytes(out.data() + before, static_cast<std::size_t>(n), subject);
  }

  std::string text(const std::string& subject, std::uint64_t limit) {
    const auto n = number<std::uint64_t>(subject);
    need(n, 1, subject);
    if (n > limit) invalid(subject, "at most " + std::to_string(limit) + " bytes", std::to_string(n));
    std::string s;
    append(s, n, subject);
    return s;
  }

 private:
  void fill() {
    start_ = position_;
    buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(buffer_bytes, end_ - start_)));
    file_.read(buffer_.data(), start_, buffer_.size());
  }

  const os::File& file_;
  const std::uint64_t end_;
  std::uint64_t position_ = 0, start_ = 0;
  std::vector<char> buffer_;
};

std::int64_t read_integer(Cursor& in, std::uint32_t type, const std::string& subject) {
  switch (type) {
    case u8: return in.number<std::uint8_t>(subject);
    case i8: return in.number<std::int8_t>(subject);
    case u16: return in.number<std::uint16_t>(subject);
    case i16: return in.number<std::int16_t>(subject);
    case u32: return in.number<std::uint32_t>(subject);
    case i32: return in.number<std::int32_t>(subject);
    case boolean: return in.number<std::uint8_t>(subject) != 0;  // 0 and 1 are written; readers in use take any byte
    default: return in.number<std::int64_t>(subject);
  }
}

struct ArrayHead {
  std::uint32_t type;
  std::uint64_t count;
};

ArrayHead read_array_head(Cursor& in, const std::string& subject, std::uint64_t& elements_left) {
  const auto type = in.number<std::uint32_t>(subject);
  const auto count = in.number<std::uint64_t>(subject);
  if (type > f64) in.invalid(subject, "an element type in 0..12", std::to_string(type));
  in.need(count, type == string ? 8 : type == array ? 12 : value_bytes[type], subject);
  if (count > elements_left)
    in.fail(Code::model_unsupported, subject,
            "at most " + std::to_string(max_array_elements) + " array elements in a file",
            std::to_string(count) + " more");
  elements_left -= count;
  return {type, count};
}

// Passes the elements of an array whose head is read.
void skip_elements(Cursor& in, const std::string& subject, const ArrayHead& head, std::uint64_t& elements_left,
                   int depth) {
  if (depth > max_array_depth)
    in.fail(Code::model_unsupported, subject, "arrays up to " + std::to_string(max_array_depth) + " deep", "deeper ones");
  if (head.type != array && head.type != string) return in.skip(head.count * value_bytes[head.type], subject);
  for (std::uint64_t i = 0; i < head.count; ++i)
    if (head.type == string) in.skip(in.number<std::uint64_t>(subject), subject);
    else skip_elements(in, subject, read_array_head(in, subject, elements_left), elements_left, depth + 1);
}

// u64 elements that no signed number holds make the array one of floating-point numbers.
void widen(GgufArray& out) {
  if (std::none_of(out.integers.begin(), out.integers.end(), [](std::int64_t v) { return v < 0; })) return;
  out.kind = GgufArray::Kind::numbers;
  for (std::int64_t v : out.integers) out.numbers.push_back(static_cast<double>(static_cast<std::uint64_t>(v)));
  out.integers = {};
}

GgufArray read_array(Cursor& in, const std::string& subject, const ArrayHead& head, bool texts) {
  const auto [type, count] = head;
  GgufArray out;
  using Kind = GgufArray::Kind;
  out.kind = type == string                 ? Kind::strings
             : type == f32 || type == f64 ? Kind::numbers
             : type == boolean            ? Kind::bools
                                          : Kind::integers;
  const std::size_t n = static_cast<std::size_t>(count);
  if (out.kind == Kind::strings) {
    out.strings.ends().resize(n);
    for (std::uint32_t& end : out.strings.ends()) {
      const auto bytes = in.number<std::uint64_t>(subject);
      if (texts)
        in.append(out.strings.bytes(), bytes, subject);
      else
        in.skip(bytes, subject);
      end = static_cast<std::uint32_t>(out.strings.bytes().size());
    }
  } else if (out.kind == Kind::numbers) {
    out.numbers.reserve(n);
    for (std::size_t i = 0; i < n; ++i)
      out.numbers.push_back(type == f32 ? static_cast<double>(in.number<float>(subject)) : in.number<double>(subject));
  } else {
    out.integers.reserve(n);
    for (std::size_t i = 0; i < n; ++i) out.integers.push_back(read_integer(in, type, subject));
    if (type == u64) widen(out);
  }
  return out;
}

// Nothing for an array of arrays.
std::optional<GgufValue> read_value(Cursor& in, const std::string& subject, std::uint64_t& elements_left, bool texts) {
  const auto type = in.number<std::uint32_t>(subject);
  switch (type) {
    case u8:
    case u16:
    case u32: return static_cast<std::uint64_t>(read_integer(in, type, subject));
    case u64: return in.number<std::uint64_t>(subject);
    case i8:
    case i16:
    case i32:
    case i64: return read_integer(in, type, subject);
    case f32: return static_cast<double>(in.number<float>(subject));
    case f64: return in.number<double>(subject);
    case boolean: return read_integer(in, type, subject) != 0;
    case string: return in.text(subject, UINT64_MAX);
    case array: {
      const ArrayHead head = read_array_head(in, subject, elements_left);
      if (head.type != array) return read_array(in, subject, head, texts);
      skip_elements(in, subject, head, elements_left, 1);
      return std::nullopt;
    }
    default: in.invalid(subject, "a value type in 0..12", std::to_string(type));
  }
}

// By sorting: a hash table would let a file choose its collisions.
template <typename Item, typename Name>
void reject_duplicates(const Cursor& in, const std::vector<Item>& items, const char* what, Name name) {
  std::vector<const std::string*> names;
  for (const Item& item : items) names.push_back(&name(item));
  std::sort(names.begin(), names.end(), [](const std::string* a, const std::string* b) { return *a < *b; });
  for (std::size_t i = 1; i < names.size(); ++i)
    if (*names[i - 1] == *names[i]) in.invalid(std::string(what) + " " + printable(*names[i]), "it once", "it twice");
}

void read_metadata(Cursor& in, GgufFile& out, std::uint64_t count, bool texts) {
  in.need(count, 8 + 1 + 4 + 1, "number of metadata keys");
  in.at_most(count, max_keys, "number of metadata keys");
  std::uint64_t elements_left = max_array_elements;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string key = in.text("metadata key " + std::to_string(i), max_key_bytes);
    if (key.empty()) in.invalid("metadata key " + std::to_string(i), "a name", "an empty string");
    std::optional<GgufValue> value = read_value(in, "metadata key " + printable(key), elements_left, texts);
    if (value) out.metadata.emplace_back(std::move(key), std::move(*value));
  }
  reject_duplicates(in, out.metadata, "metadata key", [](const auto& m) -> const std::string& { return m.first; });
  out.alignment = 32;
  for (const auto& [key, value] : out.metadata) {
    if (key != "general.alignment") continue;
    const auto* n = std::get_if<std::uint64_t>(&value);
    if (n == nullptr || *n == 0 || *n % alignment_unit != 0 || *n > max_alignment)
      in.invalid("general.alignment",
                 "a multiple of " + std::to_string(alignment_unit) + " up to " + std::to_string(max_alignment),
                 n ? std::to_string(*n) : "another type");
    out.alignment = *n;
  }
}

// Fills bytes; the shape's product must not overflow and a row must be a whole number of groups. A tensor with a zero
// dimension is one of no elements: writers mark files with such tensors, and nothing is wrong with them.
void measure(const Cursor& in, GgufTensor& t, const std::string& subject) {
  const GgmlType* type = find_type(t.type);
  if (type == nullptr)
    in.fail(Code::model_unsupported, subject, "a known tensor type", "type " + std::to_string(t.type));
  t.bytes = 0;
  if (std::find(t.shape.begin(), t.shape.end(), 0u) != t.shape.end()) return;
  std::uint64_t blocks = 1;
  for (std::size_t d = 0; d < t.shape.size(); ++d) {
    std::uint64_t size = t.shape[d];
    if (d == 0 && size % type->group != 0)
      in.invalid(subject, "rows of whole groups of " + std::to_string(type->group) + " (" + type->name + ")",
                 std::to_string(size) + " elements");
    if (d == 0) size /= type->group;
    if (size > (std::uint64_t{1} << 62) / type->group_bytes / blocks)
      in.invalid(subject, "a size below 2^62 bytes",
                 "dimension " + std::to_string(d) + " of " + std::to_string(t.shape[d]));
    blocks *= size;
  }
  t.bytes = blocks * type->group_bytes;
}

void read_tensors(Cursor& in, GgufFile& out, std::uint64_t count) {
  in.need(count, 8 + 1 + 4 + 8 + 4 + 8, "number of tensors");
  in.at_most(count, max_tensors, "number of tensors");
  for (std::uint64_t i = 0; i < count; ++i) {
    GgufTensor t;
    t.name = in.text("name of tensor " + std::to_string(i), max_key_bytes);
    if (t.name.empty()) in.invalid("name of tensor " + std::to_string(i), "a name", "an empty string");
    const std::string subject = "tensor " + printable(t.name);
    const auto dimensions = in.number<std::uint32_t>(subject);
    if (dimensions < 1 || dimensions > max_dimensions)
      in.invalid(subject, "1 to 4 dimensions", std::to_string(dimensions));
    for (std::uint32_t d = 0; d < dimensions; ++d) t.shape.push_back(in.number<std::uint64_t>(subject));
    t.type = in.number<std::uint32_t>(subject);
    t.offset = in.number<std::uint64_t>(subject);
    measure(in, t, subject);
    out.tensors.push_back(std::move(t));
  }
  reject_duplicates(in, out.tensors, "tensor", [](const GgufTensor& t) -> const std::string& { return t.name; });
}

// Offsets become absolute; every tensor lies in the file and none over another. One without elements lies nowhere.
void place_tensors(const Cursor& in, GgufFile& out) {
  const std::uint64_t begin = (in.position() + out.alignment - 1) / out.alignment * out.alignment;
  const std::uint64_t room = out.file_bytes > begin ? out.file_bytes - begin : 0;
  for (GgufTensor& t : out.tensors) {
    if (t.bytes == 0) {
      t.offset = 0;
      continue;
    }
    const std::string subject = "tensor " + printable(t.name);
    if (t.offset % out.alignment != 0)
      in.invalid(subject, "an offset that is a multiple of " + std::to_string(out.alignment), std::to_string(t.offset));
    if (t.offset > room || t.bytes > room - t.offset)
      in.invalid(subject, "data that ends within " + std::to_string(room) + " bytes",
                 std::to_string(t.bytes) + " bytes at offset " + std::to_string(t.offset));
    t.offset += begin;
  }
  std::vector<const GgufTensor*> order;
  for (const GgufTensor& t : out.tensors)
    if (t.bytes > 0) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset)
      in.invalid("tensor " + printable(order[i]->name), "data of its own",
                 "data shared with tensor " + printable(order[i - 1]->name));
}

}  // namespace

void GgufTexts::push(std::string_view text) {
  bytes_ += text;
  ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
}

const char* ggml_type_name(std::uint32_t type) {
  const GgmlType* t = find_type(type);
  return t ? t->name : nullptr;
}

GgufFile gguf_read(const os::File& file, bool texts) {
  Cursor in(file);
  char magic[4];
  in.bytes(magic, sizeof magic, "magic");
  if (std::memcmp(magic, "GGUF", 4) != 0) in.invalid("magic", "GGUF", printable(std::string(magic, 4)));
  GgufFile out;
  out.file_bytes = file.size();
  out.version = in.number<std::uint32_t>("version");
  if (out.version != 0 && (out.version & 0xFFFFu) == 0)
    in.fail(Code::model_unsupported, "version", "2 or 3, little-endian", "a big-endian file");
  if (out.version == 0) in.invalid("version", "2 or 3", "0");
  if (out.version != 2 && out.version != 3)
    in.fail(Code::model_unsupported, "version", "2 or 3", std::to_string(out.version));
  const auto tensors = in.number<std::uint64_t>("number of tensors");
  const auto keys = in.number<std::uint64_t>("number of metadata keys");
  read_metadata(in, out, keys, texts);
  read_tensors(in, out, tensors);
  place_tensors(in, out);
  return out;
}

}  // namespace octavo

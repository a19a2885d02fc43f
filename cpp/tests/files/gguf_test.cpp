// The GGUF reader and writer: what is written is read back; hostile bytes give model_invalid or model_unsupported, or a
// parse whose every tensor lies inside the file, and never anything else. Run under ASan and UBSan.
#include "files/gguf.h"

#include <doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/compare.h"
#include "error.h"
#include "files/quant.h"
#include "files/synthetic.h"

using namespace octavo;

namespace {

struct TemporaryFile {
  std::string path =
      (std::filesystem::temp_directory_path() / ("octavo-gguf-test-" + std::to_string(::getpid()) + ".gguf")).string();
  ~TemporaryFile() { std::filesystem::remove(path); }
  void put(const std::string& bytes) const { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }
  std::string get() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

// Builds files by hand, so that anything can be wrong in them.
struct Raw {
  std::string bytes;
  template <typename T>
  Raw& n(T v) {
    char raw[sizeof v];
    std::memcpy(raw, &v, sizeof v);
    bytes.append(raw, sizeof v);
    return *this;
  }
  Raw& u32(std::uint32_t v) { return n(v); }
  Raw& u64(std::uint64_t v) { return n(v); }
  Raw& text(const std::string& s) {
    u64(s.size());
    bytes += s;
    return *this;
  }
  Raw& header(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    bytes += "GGUF";
    return u32(version).u64(tensors).u64(keys);
  }
  Raw& tensor(const std::string& name, std::vector<std::uint64_t> shape, std::uint32_t type, std::uint64_t offset) {
    text(name).u32(static_cast<std::uint32_t>(shape.size()));
    for (std::uint64_t d : shape) u64(d);
    return u32(type).u64(offset);
  }
  Raw& data(std::size_t size, std::size_t alignment = 32) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment + size);
    return *this;
  }
};

// The code a file is refused with, or -1 when it is accepted. Anything but a typed refusal fails the test.
int refused(const TemporaryFile& file, const std::string& bytes, const std::string& message_part = "") {
  file.put(bytes);
  try {
    const GgufFile gguf = gguf_read(os::File(file.path));
    for (const GgufTensor& t : gguf.tensors) {
      CHECK(t.offset <= bytes.size());
      CHECK(t.bytes <= bytes.size() - t.offset);
    }
    return -1;
  } catch (const Error& e) {
    CHECK((e.code() == Code::model_invalid || e.code() == Code::model_unsupported));
    const std::string message = e.what();
    CHECK_MESSAGE(message.find(message_part) != std::string::npos, message);
    return static_cast<int>(e.code());
  }
}

constexpr int invalid = static_cast<int>(Code::model_invalid), unsupported = static_cast<int>(Code::model_unsupported);

GgufArray strings(std::vector<std::string> v) {
  GgufArray a;
  a.kind = GgufArray::Kind::strings;
  for (const std::string& text : v) a.strings.push(text);
  return a;
}
GgufArray numbers(std::vector<double> v) {
  GgufArray a;
  a.kind = GgufArray::Kind::numbers;
  a.numbers = std::move(v);
  return a;
}
GgufArray integers(std::vector<std::int64_t> v, GgufArray::Kind kind = GgufArray::Kind::integers) {
  GgufArray a;
  a.kind = kind;
  a.integers = std::move(v);
  return a;
}

const std::vector<std::pair<std::string, GgufValue>> sample_metadata = {
    {"general.architecture", std::string("llama")},
    {"bytes", std::string("\xff\x00\xfe", 3)},
    {"flag", true},
    {"small", std::uint64_t{7}},
    {"large", std::uint64_t{1} << 60},
    {"negative", std::int64_t{-5}},
    {"very negative", std::int64_t{-5000000000}},
    {"eps", 0.5},
    {"tokens", strings({"a", "", std::string("\xef\xbb\xbf", 3), std::string(300000, 'x')})},
    {"scores", numbers({-1.0, 0.25})},
    {"types", integers({1, 2, -3})},
    {"wide", integers({1, std::int64_t{1} << 40})},
    {"flags", integers({0, 1, 1}, GgufArray::Kind::bools)},
    {"none", integers({})},
};
const std::vector<GgufTensorSpec> sample_tensors = {
    {"norm", 0, {5}}, {"w", 2, {64, 3}}, {"h", 1, {2, 2, 2}}, {"last", 30, {1}}};

std::string write_sample(const TemporaryFile& file) {
  GgufWriter writer(file.path, sample_metadata, sample_tensors);
  unsigned char next = 1;
  for (std::size_t bytes : {20u, 108u, 16u, 2u}) {
    for (std::size_t i = 0; i < bytes; ++i, ++next) writer.write(&next, 1);
  }
  writer.finish();
  return file.get();
}

// Small and without large strings, for tests that visit every byte.
std::string small_file() {
  Raw raw;
  raw.header(2, 3);
  raw.text("general.alignment").u32(4).u32(32);
  raw.text("tokens").u32(9).u32(8).u64(2).text("ab").text("c");
  raw.text("x").u32(6).n(1.5f);
  raw.tensor("a", {32, 2}, 2, 0).tensor("b", {4}, 0, 64);
  return raw.data(80).bytes;
}

std::uint64_t next_random(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

}  // namespace

TEST_CASE("gguf: what is written is read back") {
  const TemporaryFile file;
  const std::string bytes = write_sample(file);
  const GgufFile gguf = gguf_read(os::File(file.path));
  CHECK(gguf.version == 3);
  CHECK(gguf.alignment == 32);
  CHECK(gguf.file_bytes == bytes.size());
  REQUIRE(gguf.metadata.size() == sample_metadata.size());
  for (std::size_t i = 0; i < sample_metadata.size(); ++i) {
    const auto& [key, value] = sample_metadata[i];
    INFO(key);
    CHECK(gguf.metadata[i].first == key);
    REQUIRE(gguf.metadata[i].second.index() == value.index());
    if (const auto* a = std::get_if<GgufArray>(&value)) {
      const auto& b = std::get<GgufArray>(gguf.metadata[i].second);
      CHECK(b.kind == a->kind);
      CHECK(b.strings == a->strings);
      CHECK(b.numbers == a->numbers);
      CHECK(b.integers == a->integers);
    } else {
      std::visit([&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (!std::is_same_v<T, GgufArray>) CHECK(std::get<T>(gguf.metadata[i].second) == v);
      }, value);
    }
  }
  REQUIRE(gguf.tensors.size() == 4);
  unsigned char next = 1;
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(gguf.tensors[i].name == sample_tensors[i].name);
    CHECK(gguf.tensors[i].type == sample_tensors[i].type);
    CHECK(gguf.tensors[i].shape == sample_tensors[i].shape);
    CHECK(gguf.tensors[i].offset % 32 == 0);
    bool same = true;
    for (std::uint64_t b = 0; b < gguf.tensors[i].bytes; ++b, ++next)
      same = same && static_cast<unsigned char>(bytes[gguf.tensors[i].offset + b]) == next;
    CHECK(same);
  }
}

TEST_CASE("gguf: the writer refuses what it cannot write and leaves no file behind") {
  const TemporaryFile file;
  const auto code_of = [](const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& e) {
      return static_cast<int>(e.code());
    }
    return -1;
  };
  constexpr int bad = static_cast<int>(Code::invalid_argument);
  CHECK(code_of([&] { GgufWriter(file.path, {}, {{"a", 4, {256}}}); }) == bad);
  CHECK(code_of([&] { GgufWriter(file.path, {}, {{"a", 2, {33}}}); }) == bad);
  CHECK(code_of([&] { GgufWriter(file.path, {}, {{"a", 12, {288}}}); }) == bad);
  CHECK(code_of([&] { GgufWriter(file.path, {}, {{"a", 0, {4, 0}}}); }) == bad);
  constexpr std::uint64_t large = std::uint64_t{1} << 40;
  CHECK(code_of([&] { GgufWriter(file.path, {}, {{"a", 0, {large, large}}}); }) == bad);
  CHECK(code_of([&] { GgufWriter(file.path, {{"general.alignment", std::uint64_t{12}}}, {}); }) == bad);
  CHECK(code_of([&] {
    GgufWriter writer(file.path, {}, {{"a", 0, {4}}});
    writer.write("1234", 4);
    writer.finish();
  }) == bad);
  CHECK(code_of([&] { GgufWriter(file.path, {}, {{"a", 0, {1}}}).write("12345", 5); }) == bad);
  CHECK_FALSE(std::filesystem::exists(file.path));
  CHECK_FALSE(std::filesystem::exists(file.path + ".partial0"));
}

TEST_CASE("gguf: a larger alignment is kept by writer and reader") {
  const TemporaryFile file;
  GgufWriter writer(file.path, {{"general.alignment", std::uint64_t{256}}}, {{"a", 0, {1}}, {"b", 0, {1}}});
  writer.write("1234", 4);
  writer.write("5678", 4);
  writer.finish();
  const GgufFile gguf = gguf_read(os::File(file.path));
  CHECK(gguf.alignment == 256);
  CHECK(gguf.tensors[1].offset == gguf.tensors[0].offset + 256);
  CHECK(gguf.tensors[0].offset % 256 == 0);
}

TEST_CASE("gguf: every value type is read, in versions 2 and 3") {
  const TemporaryFile file;
  for (std::uint32_t version : {2u, 3u}) {
    Raw raw;
    raw.header(0, 13, version);
    raw.text("u8").u32(0).n(std::uint8_t{200}).text("i8").u32(1).n(std::int8_t{-3});
    raw.text("u16")
        .u32(2)
        .n(std::uint16_t{60000})
        .text("i16")
        .u32(3)
        .n(std::int16_t{-300})
        .text("u32")
        .u32(4)
        .u32(4000000000u)
        .text("i32")
        .u32(5)
        .n(-70000);
    raw.text("f32").u32(6).n(0.5f).text("bool").u32(7).n(std::uint8_t{1}).text("string").u32(8).text("s");
    raw.text("u64").u32(10).u64(UINT64_MAX).text("i64").u32(11).n(INT64_MIN).text("f64").u32(12).n(0.1);
    raw.text("array").u32(9).u32(3).u64(2).n(std::int16_t{-1}).n(std::int16_t{2});
    file.put(raw.bytes);
    const GgufFile gguf = gguf_read(os::File(file.path));
    CHECK(std::get<std::uint64_t>(gguf.metadata[0].second) == 200);
    CHECK(std::get<std::int64_t>(gguf.metadata[1].second) == -3);
    CHECK(std::get<std::uint64_t>(gguf.metadata[2].second) == 60000);
    CHECK(std::get<std::int64_t>(gguf.metadata[3].second) == -300);
    CHECK(std::get<std::uint64_t>(gguf.metadata[4].second) == 4000000000u);
    CHECK(std::get<std::int64_t>(gguf.metadata[5].second) == -70000);
    CHECK(std::get<double>(gguf.metadata[6].second) == 0.5);
    CHECK(std::get<bool>(gguf.metadata[7].second));
    CHECK(std::get<std::string>(gguf.metadata[8].second) == "s");
    CHECK(std::get<std::uint64_t>(gguf.metadata[9].second) == UINT64_MAX);
    CHECK(std::get<std::int64_t>(gguf.metadata[10].second) == INT64_MIN);
    CHECK(std::get<double>(gguf.metadata[11].second) == 0.1);
    CHECK(std::get<GgufArray>(gguf.metadata[12].second).integers == std::vector<std::int64_t>{-1, 2});
  }
}

TEST_CASE("gguf: a tensor with a zero dimension has no elements and lies nowhere") {
  const TemporaryFile file;
  // Wherever it claims to lie, in whatever order, whatever its other dimensions: nothing overlaps, nothing overflows.
  const std::vector<std::vector<std::uint64_t>> shapes = {{0}, {4, 0, 4}, {0, UINT64_MAX}, {UINT64_MAX, UINT64_MAX, 0}};
  for (const std::vector<std::uint64_t>& shape : shapes)
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{32}, std::uint64_t{1} << 40, UINT64_MAX - 31})
      for (const bool first : {false, true}) {
        Raw raw;
        raw.header(2, 0);
        if (first) raw.tensor("flag", shape, 2, offset);
        raw.tensor("a", {24}, 0, 0);
        if (!first) raw.tensor("flag", shape, 2, offset);
        file.put(raw.data(96).bytes);
        const GgufFile gguf = gguf_read(os::File(file.path));
        const GgufTensor &flag = gguf.tensors[first ? 0 : 1], &a = gguf.tensors[first ? 1 : 0];
        CHECK(flag.bytes == 0);
        CHECK(flag.shape == shape);
        CHECK(a.bytes == 96);
        CHECK(a.offset + a.bytes == raw.bytes.size());
      }
  CHECK(refused(file, Raw().header(1, 0).tensor("a", {0}, 4, 0).data(64).bytes, "tensor type") == unsupported);
}

TEST_CASE("gguf: values that no key of ours has do not keep a file from being read") {
  const TemporaryFile file;
  Raw raw;
  raw.header(0, 6);
  raw.text("bool of 2").u32(7).n(std::uint8_t{2});
  raw.text("bools of 2").u32(9).u32(7).u64(2).n(std::uint8_t{0}).n(std::uint8_t{2});
  raw.text("nested").u32(9).u32(9).u64(2).u32(8).u64(1).text("x").u32(9).u64(1).u32(4).u64(2).u32(1).u32(2);
  raw.text("large").u32(9).u32(10).u64(2).u64(UINT64_MAX).u64(7);
  raw.text("not so large").u32(9).u32(10).u64(1).u64(INT64_MAX);
  raw.text("last").u32(4).u32(9);
  file.put(raw.bytes);
  const GgufFile gguf = gguf_read(os::File(file.path));
  REQUIRE(gguf.metadata.size() == 5);  // without the array of arrays
  CHECK(std::get<bool>(gguf.metadata[0].second));
  CHECK(std::get<GgufArray>(gguf.metadata[1].second).integers == std::vector<std::int64_t>{0, 1});
  CHECK(gguf.metadata[2].first == "large");
  CHECK(std::get<GgufArray>(gguf.metadata[2].second).kind == GgufArray::Kind::numbers);
  CHECK(std::get<GgufArray>(gguf.metadata[2].second).numbers == std::vector<double>{0x1p64, 7});
  CHECK(std::get<GgufArray>(gguf.metadata[3].second).integers == std::vector<std::int64_t>{INT64_MAX});
  CHECK(std::get<std::uint64_t>(gguf.metadata[4].second) == 9);
}

TEST_CASE("gguf: an alignment is any multiple of 8") {
  const TemporaryFile file;
  Raw raw = Raw().header(2, 1).text("general.alignment").u32(4).u32(48);
  raw.tensor("a", {1}, 0, 0).tensor("b", {1}, 0, 48).data(52, 48);
  file.put(raw.bytes);
  const GgufFile gguf = gguf_read(os::File(file.path));
  CHECK(gguf.tensors[0].offset % 48 == 0);
  CHECK(gguf.tensors[1].offset == gguf.tensors[0].offset + 48);
  CHECK(gguf.tensors[1].offset + 4 == raw.bytes.size());
}

TEST_CASE("gguf: hostile headers are refused by name") {
  const TemporaryFile file;
  constexpr std::uint64_t huge = std::uint64_t{1} << 61;
  const auto key = [](std::uint32_t type) { return Raw().header(0, 1).text("k").u32(type); };
  const auto tensor = [](std::vector<std::uint64_t> shape, std::uint32_t type, std::uint64_t offset, std::size_t data) {
    return Raw().header(1, 0).tensor("a", std::move(shape), type, offset).data(data).bytes;
  };
  CHECK(refused(file, "", "magic") == invalid);
  CHECK(refused(file, std::string(100, 'x'), "GGUF") == invalid);
  CHECK(refused(file, "GGUG" + small_file().substr(4), "GGUF") == invalid);
  CHECK(refused(file, Raw().header(0, 0, 0).bytes, "version") == invalid);
  CHECK(refused(file, Raw().header(0, 0, 1).bytes, "version") == unsupported);
  CHECK(refused(file, Raw().header(0, 0, 4).bytes, "version") == unsupported);
  CHECK(refused(file, Raw().header(0, 0, 0x03000000).bytes, "big-endian") == unsupported);
  CHECK(refused(file, Raw().header(huge, 0).bytes, "number of tensors") == invalid);
  CHECK(refused(file, Raw().header(0, huge).bytes, "number of metadata keys") == invalid);
  CHECK(refused(file, Raw().header(0, UINT64_MAX).bytes, "number of metadata keys") == invalid);
  CHECK(refused(file, Raw().header(0, 1).u64(UINT64_MAX).u64(0).bytes, "metadata key 0") == invalid);
  CHECK(refused(file, Raw().header(0, 1).u64(0).u64(0).u64(0).bytes, "a name") == invalid);
  CHECK(refused(file, Raw().header(0, 1).text(std::string(70000, 'k')).u64(0).u64(0).bytes, "65535") == invalid);
  CHECK(refused(file, key(13).n(std::uint8_t{0}).bytes, "value type") == invalid);
  CHECK(refused(file, key(8).u64(huge).bytes, "metadata key k") == invalid);
  CHECK(refused(file, key(9).u32(0).u64(UINT64_MAX).bytes, "metadata key k") == invalid);
  CHECK(refused(file, key(9).u32(8).u64(huge).bytes, "metadata key k") == invalid);
  CHECK(refused(file, key(9).u32(13).u64(0).bytes, "element type") == invalid);
  CHECK(refused(file, key(9).u32(9).u64(1).u32(13).u64(0).bytes, "element type") == invalid);
  CHECK(refused(file, key(9).u32(9).u64(1).u32(9).u64(huge).bytes, "metadata key k") == invalid);
  CHECK(refused(file, key(9).u32(9).u64(1).u32(8).u64(1).u64(huge).bytes, "metadata key k") == invalid);
  CHECK(refused(file, key(9).u32(9).u64(1).u32(0).u64(1 << 22).data(1 << 23).bytes, "array elements") == unsupported);
  Raw deep = key(9);
  for (int i = 0; i < 1000; ++i) deep.u32(9).u64(1);
  CHECK(refused(file, deep.u32(0).u64(0).bytes, "deep") == unsupported);
  CHECK(refused(file, key(9).u32(0).u64((1 << 22) + 1).data((1 << 22) + 64).bytes, "array elements") == unsupported);
  CHECK(refused(file, Raw().header(0, 65537).data(1 << 20).bytes, "at most 65536") == unsupported);
  CHECK(refused(file, Raw().header(65537, 0).data(1 << 22).bytes, "at most 65536") == unsupported);
  CHECK(refused(file, Raw().header(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1).bytes, "twice") == invalid);
  for (std::uint32_t alignment : {0u, 1u, 4u, 12u, 33u, 1u << 30})
    CHECK(refused(file, Raw().header(0, 1).text("general.alignment").u32(4).u32(alignment).bytes, "multiple of 8") ==
          invalid);
  CHECK(refused(file, Raw().header(0, 1).text("general.alignment").u32(6).n(32.0f).bytes, "another type") == invalid);

  CHECK(refused(file, tensor({}, 0, 0, 64), "dimensions") == invalid);
  CHECK(refused(file, tensor({1, 1, 1, 1, 1}, 0, 0, 64), "dimensions") == invalid);
  CHECK(refused(file, tensor({huge, huge}, 0, 0, 64), "2^62") == invalid);
  CHECK(refused(file, tensor({std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 0, 0, 64), "2^62") == invalid);
  CHECK(refused(file, tensor({UINT64_MAX}, 24, 0, 64), "2^62") == invalid);
  CHECK(refused(file, tensor({33}, 2, 0, 64), "whole groups of 32") == invalid);
  CHECK(refused(file, tensor({4}, 4, 0, 64), "tensor type") == unsupported);
  CHECK(refused(file, tensor({4}, 0xFFFFFFFF, 0, 64), "tensor type") == unsupported);
  CHECK(refused(file, tensor({4}, 0, 8, 64), "multiple of 32") == invalid);
  CHECK(refused(file, tensor({4}, 0, 64, 79), "tensor a") == invalid);
  CHECK(refused(file, tensor({4}, 0, 64, 80)) == -1);
  CHECK(refused(file, tensor({4}, 0, UINT64_MAX - 31, 64), "tensor a") == invalid);
  const auto two = [] { return Raw().header(2, 0); };
  CHECK(refused(file, two().tensor("a", {4}, 0, 0).tensor("a", {4}, 0, 32).data(64).bytes, "twice") == invalid);
  CHECK(refused(file, two().tensor("a", {9}, 0, 0).tensor("b", {4}, 0, 32).data(64).bytes, "shared") == invalid);
  CHECK(refused(file, two().tensor("a", {4}, 0, 32).tensor("b", {64}, 0, 0).data(256).bytes, "shared") == invalid);
  CHECK(refused(file, Raw().header(1, 0).u64(0).u32(1).u64(4).u32(0).u64(0).data(64).bytes, "a name") == invalid);
}

TEST_CASE("gguf: a file cut at any byte is refused") {
  const TemporaryFile file;
  const std::string whole = small_file();
  REQUIRE(refused(file, whole) == -1);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    INFO(n);
    CHECK(refused(file, whole.substr(0, n)) == invalid);
  }
}

TEST_CASE("gguf: a file that shrinks after opening is refused") {
  const TemporaryFile file;
  write_sample(file);
  const os::File open(file.path);
  std::filesystem::resize_file(file.path, 100);
  CHECK_THROWS_WITH_AS(gguf_read(open), doctest::Contains("cut short"), Error);
}

TEST_CASE("gguf: random damage is refused or read as what it then says") {
  const TemporaryFile file;
  const std::string whole = small_file();
  const int rounds = std::getenv("OCTAVO_DEEP") ? 100000 : 3000;
  std::uint64_t state = 12345;
  int accepted = 0;
  for (int i = 0; i < rounds; ++i) {
    std::string bytes = whole;
    const int changes = 1 + static_cast<int>(next_random(state) % 4);
    for (int c = 0; c < changes; ++c) {
      char& byte = bytes[next_random(state) % (bytes.size() - 80)];
      const std::uint64_t kind = next_random(state) % 3;
      const std::uint64_t value = next_random(state);
      byte = static_cast<char>(kind == 0 ? byte ^ (1 << (value % 8)) : kind == 1 ? 0xFF : value);
    }
    accepted += refused(file, bytes) == -1;
  }
  CHECK(accepted > 0);  // flips inside names and values leave a valid file
  CHECK(accepted < rounds);
}

TEST_CASE("gguf: real model files are read") {
  const std::string folder = std::string(OCTAVO_SOURCE_DIR) + "/models/";
  const GgufFile gguf = gguf_read(os::File(folder + "octavo-stories-q4_0.gguf"));
  CHECK(gguf.tensors.size() == 38);
  CHECK(gguf.tensors[0].shape == std::vector<std::uint64_t>{256, 4096});
  CHECK(std::string(ggml_type_name(gguf.tensors[0].type)) == "q4_0");
  const std::string smol = std::string(OCTAVO_SOURCE_DIR) + "/../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(smol)) {
    MESSAGE("skipped: SmolLM2-135M-Instruct.Q4_1.gguf is not beside this checkout");
    return;
  }
  const GgufFile large = gguf_read(os::File(smol));
  CHECK(large.tensors.size() == 272);
  CHECK(large.tensors.back().offset + large.tensors.back().bytes <= large.file_bytes);
}

TEST_CASE("synthetic rows: each depends on its place alone, centred, with deviation 1 / sqrt(k)") {
  constexpr std::int64_t k = 512, n = 64;
  for (Format format : octavo::testing::all_formats) {
    if (format == Format::f32) continue;  // norm weights: below
    const std::size_t stride = row_bytes(format, k);
    std::vector<std::uint8_t> all(stride * n), part(stride * 3), other(stride);
    synthetic_rows(format, 7, 3, 0, n, k, all.data());
    synthetic_rows(format, 7, 3, 20, 3, k, part.data());
    INFO(traits(format).name);
    CHECK(std::memcmp(all.data() + 20 * stride, part.data(), part.size()) == 0);
    synthetic_rows(format, 7, 4, 0, 1, k, other.data());
    CHECK(std::memcmp(all.data(), other.data(), stride) != 0);
    synthetic_rows(format, 8, 3, 0, 1, k, other.data());
    CHECK(std::memcmp(all.data(), other.data(), stride) != 0);
    CHECK(std::memcmp(all.data(), all.data() + stride, stride) != 0);
    double sum = 0, squares = 0;
    std::vector<float> row(k);
    for (std::int64_t r = 0; r < n; ++r) {
      dequantise_row(format, all.data() + r * stride, k, row.data());
      for (float v : row) {
        sum += v;
        squares += double{v} * v;
      }
    }
    // 32,768 values: the mean's own deviation is 0.0055 of theirs, the variance's below 0.8%; scales add 1-2% to it.
    CHECK(std::abs(sum / (n * k)) * std::sqrt(double{k}) < 0.025);
    CHECK(squares / n == doctest::Approx(1).epsilon(0.05));
  }
}

TEST_CASE("synthetic rows: f32 gives norm weights around 1") {
  std::vector<float> norm(4096);
  synthetic_rows(Format::f32, 1, 2, 0, 1, 4096, norm.data());
  double sum = 0, squares = 0;
  for (float v : norm) {
    sum += v;
    squares += (v - 1.0) * (v - 1.0);
  }
  CHECK(sum / 4096 == doctest::Approx(1).epsilon(0.005));
  CHECK(std::sqrt(squares / 4096) == doctest::Approx(0.05).epsilon(0.05));
}

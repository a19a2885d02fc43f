// The container: 16 bytes (magic, version, bytes of this header, bytes of all images), then images: kind (1: PTX, 2:
// ELF), version, header bytes (u32), bytes that follow (u64), compressed bytes (u32) at 16, architecture (u32) at 28,
// flags (u64) at 40, bytes when expanded (u64) at 56. Read off files that nvcc 13.0 made; the format is not documented.
#include "fatbin.h"

#include <dlfcn.h>

#include <cstring>

namespace octavo::fake {

namespace {

constexpr std::uint64_t flag_lz4 = 0x2000, flag_zstd = 0x8000;

template <class T>
T at(const std::uint8_t* from, std::size_t offset) {
  T value;
  std::memcpy(&value, from + offset, sizeof value);
  return value;
}

// By the system's library, if there is one: only what is shipped is compressed so.
bool zstd_expand(const std::uint8_t* from, std::size_t bytes, std::string& out, std::size_t out_bytes) {
  static void* const library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return false;
  using Decompress = std::size_t(void*, std::size_t, const void*, std::size_t);
  static auto* const decompress = reinterpret_cast<Decompress*>(dlsym(library, "ZSTD_decompress"));
  out.assign(out_bytes, '\0');
  return decompress && decompress(out.data(), out_bytes, from, bytes) == out_bytes;
}

}  // namespace

std::string ptx_of_fatbin(const void* image, int capability, std::string* why) {
  const auto* begin = static_cast<const std::uint8_t*>(image);
  const std::uint8_t* from = begin + at<std::uint16_t>(begin, 6);
  const std::uint8_t* const end = from + at<std::uint64_t>(begin, 8);
  std::string best;
  int best_architecture = 0;
  *why = "the image holds no PTX";
  while (from < end) {
    const auto kind = at<std::uint16_t>(from, 0);
    const auto header = at<std::uint32_t>(from, 4);
    const auto bytes = at<std::uint64_t>(from, 8);
    const int architecture = static_cast<int>(at<std::uint32_t>(from, 28));
    const auto flags = at<std::uint64_t>(from, 40);
    if (kind == 1 && architecture > capability) *why = "the image's PTX is for " + std::to_string(architecture);
    if (kind == 1 && architecture <= capability && architecture > best_architecture) {
      std::string text;
      if (flags & flag_lz4) {
        *why = "the image's PTX is compressed with LZ4: build it with --compress-mode=none";
      } else if (flags & flag_zstd) {
        if (!zstd_expand(from + header, at<std::uint32_t>(from, 16), text, at<std::uint64_t>(from, 56)))
          *why =
              "the image's PTX is compressed with zstd, which needs libzstd.so.1: build it with --compress-mode=none";
      } else {
        text.assign(reinterpret_cast<const char*>(from + header), bytes);
      }
      while (!text.empty() && text.back() == '\0') text.pop_back();
      if (!text.empty()) best = std::move(text), best_architecture = architecture;
    }
    from += header + bytes;
  }
  return best;
}

}  // namespace octavo::fake

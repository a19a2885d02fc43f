// PTX out of what nvcc -fatbin makes: images one after the other, each with a header that names its kind and
// architecture; PTX may be compressed: LZ4, which `--compress-mode=speed` chooses, or zstd, where libzstd.so.1 is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace octavo::fake {

inline constexpr std::uint32_t fatbin_magic = 0xBA55ED50;

// The PTX for the highest architecture that is not above `capability` (90 for 9.0); empty where there is none. *why:
// what was found instead. image: begins with fatbin_magic.
std::string ptx_of_fatbin(const void* image, int capability, std::string* why);
// LZ4's block format. False where the bytes are not of that.
bool lz4_expand(const std::uint8_t* from, std::size_t bytes, std::string& out, std::size_t out_bytes);

}  // namespace octavo::fake

// PTX out of what nvcc -fatbin makes: images one after the other, each with a header that names its kind and
// architecture. PTX is as it is (`--compress-mode=none`), or compressed with zstd, as what is shipped, where
// libzstd.so.1 is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace octavo::fake {

inline constexpr std::uint32_t fatbin_magic = 0xBA55ED50;

// The PTX for the highest architecture that is not above `capability` (90 for 9.0); empty where there is none. *why:
// what was found instead. image: begins with fatbin_magic.
std::string ptx_of_fatbin(const void* image, int capability, std::string* why);

}  // namespace octavo::fake

// A list of texts as UTF-8 in one piece: text i is bytes[offsets[i] .. offsets[i + 1]].
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "error.h"

namespace octavo::text {

struct Texts {
  std::span<const char> bytes;
  std::span<const std::uint32_t> offsets;
  std::size_t size() const { return offsets.size() - 1; }
  std::string_view operator[](std::size_t i) const { return {bytes.data() + offsets[i], offsets[i + 1] - offsets[i]}; }

  // Offsets ascend from 0 to the number of bytes.
  void check(const std::string& name) const {
    const bool sound = !offsets.empty() && offsets.front() == 0 && offsets.back() == bytes.size() &&
                       std::is_sorted(offsets.begin(), offsets.end());
    if (!sound) throw Error(Code::invalid_argument, name + ": expected ascending offsets of all bytes", {});
  }
};

}  // namespace octavo::text

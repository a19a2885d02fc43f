// A launch that computes wrongly, by one bit: the lowest of the first word that it changed in the device's memory.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "ptx/memory.h"

namespace octavo::fake {

class Wrong {
 public:
  // Before the launch.
  explicit Wrong(const ptx::Memory& memory) : regions_(memory.regions()) {
    for (const ptx::Region& r : regions_) before_.emplace_back(r.host, r.host + r.bytes);
  }
  // After it.
  void turn() const {
    constexpr std::size_t word = 4;
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      for (std::size_t at = 0; at + word <= before_[i].size(); at += word) {
        std::uint8_t* const now = regions_[i].host + at;
        if (std::memcmp(now, before_[i].data() + at, word) == 0) continue;
        *now ^= 1;
        return;
      }
    }
  }

 private:
  const std::vector<ptx::Region> regions_;
  std::vector<std::vector<std::uint8_t>> before_;
};

}  // namespace octavo::fake

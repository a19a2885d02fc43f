// A 64-bit hash of a stream of bytes, taken while they pass on their way into memory: it tells one file's content from
// another's, and costs little beside reading. Four lanes, each x = (x ^ word) * odd, rotated; so a change of any single
// word changes its lane. Not made against somebody who looks for two contents with one hash.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "splitmix.h"

namespace octavo {

class ContentHash {
 public:
  // Pieces are whole multiples of 32 bytes, but for the last one: then it makes no difference where they are cut.
  void add(const void* data, std::size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    length_ += bytes;
    for (; bytes >= sizeof(lanes_); p += sizeof(lanes_), bytes -= sizeof(lanes_)) take(p);
    if (bytes == 0) return;
    unsigned char rest[sizeof(lanes_)] = {};
    std::memcpy(rest, p, bytes);
    take(rest);
  }
  void add(std::uint64_t value) { add(&value, sizeof(value)); }

  std::uint64_t value() const {
    std::uint64_t h = length_;
    for (const std::uint64_t lane : lanes_) h = splitmix_finalise((h ^ lane) + splitmix_step);
    return h;
  }

 private:
  void take(const unsigned char* p) {
    for (std::uint64_t& lane : lanes_) {
      std::uint64_t word;
      std::memcpy(&word, p, sizeof(word));
      p += sizeof(word);
      lane = std::rotl((lane ^ word) * 0x9FB21C651E98DF25ull, 29);
    }
  }

  std::uint64_t lanes_[4] = {1, 2, 3, 4};
  std::uint64_t length_ = 0;
};

}  // namespace octavo

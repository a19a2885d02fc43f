// Where a text has said the same before: the places at which its last tokens stand earlier in it, or in another text
// (prompt lookup decoding, Saxena 2023). Each pair of neighbouring tokens is hashed to the last place it ends at, places
// of one bucket form a chain, and a search walks the newest part of that chain for the longest match. 8 to 12 bytes a
// token, a bounded number of steps a search, no allocation but the doubling of the tables.
#pragma once
#include <cstdint>
#include <vector>

namespace octavo {

// The last tokens of a sequence: those that are computed and the one that is about to be.
struct Tail {
  const std::int32_t* tokens;  // [count]
  int count;
  std::int32_t last;
  // The token so many places before the last one.
  std::int32_t back(int places) const { return places == 0 ? last : tokens[count - places]; }
  int size() const { return count + 1; }
};

// text[end - length, end) equals the last `length` tokens of a tail; length 0: nothing found.
struct TextMatch {
  int end = 0, length = 0;
};

class NgramIndex {
 public:
  // Takes in what is new of a text that grows: tokens[0, indexed()) are those of the last call. count >= indexed().
  void follow(const std::int32_t* tokens, int count);
  // The longest match, the latest of the longest, no shorter than a pair. text: what was followed.
  TextMatch find(const std::int32_t* text, const Tail& tail) const;
  void clear();
  int indexed() const { return static_cast<int>(previous_.size()); }
  std::size_t bytes() const { return (heads_.capacity() + previous_.capacity()) * sizeof(std::int32_t); }

 private:
  std::size_t bucket(std::int32_t first, std::int32_t second) const;
  void add(const std::int32_t* tokens, int at);

  std::vector<std::int32_t> heads_;     // the latest place of each bucket, -1: none; a power of two
  std::vector<std::int32_t> previous_;  // by place: the one before it in the bucket
};

}  // namespace octavo

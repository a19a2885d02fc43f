#include "drafts/ngram_index.h"

#include <algorithm>

namespace octavo {

namespace {

// Frequent pairs have long chains, and what is older than this is seldom the better match.
constexpr int most_places = 64;
// A match of so many tokens is as good as any longer one.
constexpr int long_match = 32;
constexpr std::size_t fewest_heads = 64;

}  // namespace

std::size_t NgramIndex::bucket(std::int32_t first, std::int32_t second) const {
  const std::uint64_t pair =
      static_cast<std::uint64_t>(static_cast<std::uint32_t>(first)) << 32 | static_cast<std::uint32_t>(second);
  return static_cast<std::size_t>(pair * 0x9E3779B97F4A7C15u >> 32) & (heads_.size() - 1);
}

void NgramIndex::add(const std::int32_t* tokens, int at) {
  std::int32_t& head = heads_[bucket(tokens[at - 1], tokens[at])];
  previous_[static_cast<std::size_t>(at)] = head;
  head = at;
}

void NgramIndex::follow(const std::int32_t* tokens, int count) {
  const std::size_t size = static_cast<std::size_t>(count);
  int from = std::max(1, indexed());
  if (size > heads_.size()) {
    std::size_t heads = std::max(fewest_heads, heads_.size());
    while (heads < size) heads *= 2;
    heads_.assign(heads, -1);
    previous_.reserve(heads);
    from = 1;
  }
  previous_.resize(size, -1);
  for (int at = from; at < count; ++at) add(tokens, at);
}

TextMatch NgramIndex::find(const std::int32_t* text, const Tail& tail) const {
  TextMatch best;
  if (heads_.empty() || tail.size() < 2) return best;
  const int longest = std::min(tail.size(), long_match);
  std::int32_t at = heads_[bucket(tail.back(1), tail.last)];
  for (int places = 0; at >= 0 && places < most_places; ++places, at = previous_[static_cast<std::size_t>(at)]) {
    int length = 0;
    while (length < longest && length <= at && text[at - length] == tail.back(length)) ++length;
    if (length > best.length && length > 1) best = {at + 1, length};
    if (best.length == longest) break;
  }
  return best;
}

void NgramIndex::clear() {
  std::vector<std::int32_t>().swap(heads_);
  std::vector<std::int32_t>().swap(previous_);
}

}  // namespace octavo

#include "cpu/attention/kv_ahead.h"

#include <algorithm>

namespace octavo::cpu {

namespace {

constexpr std::int64_t line_bytes = 64;
// More would push out of the caches what was fetched before.
constexpr std::int64_t most_lines = (std::int64_t{2} << 20) / line_bytes;
// Lines asked for in a burst wait for each other and hold up the weights.
constexpr std::int64_t most_per_group = 12;

}  // namespace

void KvAhead::clear(int threads) {
  if (shares_.size() < static_cast<std::size_t>(threads)) shares_.resize(static_cast<std::size_t>(threads));
  for (Share& share : shares_) {
    share.pieces.clear();
    share.lines = 0;
  }
}

void KvAhead::add(int thread, std::size_t offset, std::size_t bytes) {
  Share& share = shares_[static_cast<std::size_t>(thread)];
  const int lines = static_cast<int>(static_cast<std::int64_t>(bytes) / line_bytes);
  if (lines == 0 || share.lines + lines > most_lines) return;
  share.pieces.push_back({offset, lines});
  share.lines += lines;
}

void KvAhead::begin(const std::uint8_t* layer, bool first) {
  layer_ = layer;
  std::int64_t lines = 0, passed = 0;
  for (Share& share : shares_) {
    lines = std::max(lines, share.lines);
    passed = std::max(passed, share.groups);
    share.piece = 0, share.line = 0, share.groups = 0;
  }
  if (!first) groups_ = passed;
  // A quarter more than it takes: a call fetches from one piece only.
  per_group_ = static_cast<int>(
      std::clamp<std::int64_t>((5 * lines / 4 + groups_ - 1) / std::max<std::int64_t>(1, groups_), 1, most_per_group));
}

KvAhead::Lines KvAhead::take(int thread, int groups) {
  if (static_cast<std::size_t>(thread) >= shares_.size()) return {};
  Share& share = shares_[static_cast<std::size_t>(thread)];
  share.groups += groups;
  if (layer_ == nullptr || share.piece == share.pieces.size()) return {};
  const Piece& piece = share.pieces[share.piece];
  const int per_group = std::clamp((piece.lines - share.line) / groups, 1, per_group_);
  const int first = std::max(0, std::min(share.line, piece.lines - per_group * groups));
  share.line = first + per_group * groups;
  if (share.line >= piece.lines) ++share.piece, share.line = 0;
  return {layer_ + piece.offset + static_cast<std::size_t>(first) * line_bytes, per_group};
}

}  // namespace octavo::cpu

// Pieces of one memory, given back in the order in which they were taken.
#pragma once
#include <cstddef>
#include <deque>
#include <optional>

namespace octavo::cuda {

class StagingRing {
 public:
  explicit StagingRing(std::size_t bytes) : bytes_(bytes) {}
  // Where a piece of so many bytes begins; nothing: they are not free.
  std::optional<std::size_t> take(std::size_t bytes) {
    std::size_t begin = pieces_.empty() ? 0 : pieces_.back().end;
    const bool wrapped = !pieces_.empty() && begin <= pieces_.front().begin;
    std::size_t limit = wrapped ? pieces_.front().begin : bytes_;
    if (!wrapped && limit - begin < bytes && !pieces_.empty()) begin = 0, limit = pieces_.front().begin;
    if (limit - begin < bytes) return std::nullopt;
    pieces_.push_back({begin, begin + bytes});
    return begin;
  }
  void give_back_oldest() { pieces_.pop_front(); }
  void give_back_newest() { pieces_.pop_back(); }

 private:
  struct Piece {
    std::size_t begin, end;
  };
  std::size_t bytes_;
  std::deque<Piece> pieces_;
};

}  // namespace octavo::cuda

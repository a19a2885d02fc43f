// Values by number: the same value always gets the same one, counted from 0. Open addressing, no removal.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace octavo::grammar {

inline std::uint64_t hash_ints(const int* values, std::size_t count) {
  std::uint64_t h = 0x9e3779b97f4a7c15ull ^ count;
  for (std::size_t i = 0; i < count; ++i) {
    h ^= static_cast<std::uint32_t>(values[i]);
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 32;
  }
  return h;
}

// Lists of int, in one pool.
class Interner {
 public:
  Interner() { clear(); }

  void clear() {
    pool_.clear();
    begin_.assign(1, 0);
    slots_.assign(1024, -1);
  }
  int size() const { return static_cast<int>(begin_.size()) - 1; }
  std::size_t bytes() const { return 4 * (pool_.size() + begin_.size() + slots_.size()); }

  // Valid until the next intern().
  std::span<const int> operator[](int id) const {
    const std::size_t i = static_cast<std::size_t>(id);
    return {pool_.data() + begin_[i], begin_[i + 1] - begin_[i]};
  }

  int intern(const int* values, std::size_t count) {
    if (2 * begin_.size() > slots_.size()) grow();
    std::size_t slot = hash_ints(values, count) & (slots_.size() - 1);
    for (; slots_[slot] >= 0; slot = (slot + 1) & (slots_.size() - 1)) {
      const std::span<const int> known = (*this)[slots_[slot]];
      if (known.size() != count) continue;
      std::size_t i = 0;
      while (i < count && known[i] == values[i]) ++i;
      if (i == count) return slots_[slot];
    }
    const int id = size();
    slots_[slot] = id;
    pool_.insert(pool_.end(), values, values + count);
    begin_.push_back(static_cast<std::uint32_t>(pool_.size()));
    return id;
  }

 private:
  void grow() {
    std::vector<int> slots(slots_.size() * 2, -1);
    for (int id = 0; id < size(); ++id) {
      const std::span<const int> known = (*this)[id];
      std::size_t slot = hash_ints(known.data(), known.size()) & (slots.size() - 1);
      while (slots[slot] >= 0) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = id;
    }
    slots_ = std::move(slots);
  }

  std::vector<int> pool_;
  std::vector<std::uint32_t> begin_;
  std::vector<int> slots_;
};

}  // namespace octavo::grammar

#include "grammar/marks.h"

#include <algorithm>

#include "error.h"

namespace octavo::grammar {

std::string control_bytes(std::int32_t token) {
  std::string bytes = "\xff";
  for (int shift = 24; shift > 0; shift -= 6) bytes += static_cast<char>(0x80 | (token >> (shift - 6) & 0x3f));
  return bytes;
}

Marks::Marks(const std::vector<Mark>& marks) {
  std::size_t bytes = 0;
  for (const Mark& mark : marks) {
    bytes += mark.bytes.size();
    if (mark.bytes.empty() || bytes > most_bytes)
      throw Error(Code::invalid_argument,
                  "marks: expected texts of 1 to " + std::to_string(most_bytes) + " bytes in all");
  }
  const auto add = [&] {
    next_.resize(next_.size() + 256, -1);
    kinds_.push_back(MarkKind::none);
    return static_cast<int>(kinds_.size()) - 1;
  };
  const auto at = [&](int node, std::uint8_t byte) -> int& {
    return next_[static_cast<std::size_t>(node) * 256 + byte];
  };
  add();
  for (const Mark& mark : marks) {
    int node = 0;
    for (const char c : mark.bytes) {
      const std::uint8_t byte = static_cast<std::uint8_t>(c);
      if (at(node, byte) < 0) {
        const int made = add();
        at(node, byte) = made;
      }
      node = at(node, byte);
    }
    kinds_[static_cast<std::size_t>(node)] = mark.kind;
  }
  // From the shortest on: where a text does not go on, the longest end of it that is a beginning does.
  std::vector<int> shorter(kinds_.size(), 0), queue = {0};
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const int node = queue[i];
    MarkKind& kind = kinds_[static_cast<std::size_t>(node)];
    if (kind == MarkKind::none) kind = kinds_[static_cast<std::size_t>(shorter[static_cast<std::size_t>(node)])];
    for (int b = 0; b < 256; ++b) {
      const std::uint8_t byte = static_cast<std::uint8_t>(b);
      const int other = node == 0 ? 0 : at(shorter[static_cast<std::size_t>(node)], byte);
      int& to = at(node, byte);
      if (to < 0) {
        to = other;
      } else {
        shorter[static_cast<std::size_t>(to)] = other;
        queue.push_back(to);
      }
    }
  }
}

}  // namespace octavo::grammar

// Where a grammar begins in an answer that is free until then: texts that are looked for in it, all at once (Aho and
// Corasick, 1975), over bytes in which a control token is its control_bytes().
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace octavo::grammar {

// begin: a text of the grammar follows. close, open: the model's reasoning ends or begins, in which nothing does.
enum class MarkKind { none, begin, open, close };

struct Mark {
  MarkKind kind;
  std::string bytes;
};

// A control token where tokens are bytes: five of them, which no text has.
std::string control_bytes(std::int32_t token);

class Marks {
 public:
  static constexpr std::size_t most_bytes = 8192;  // of all of them

  explicit Marks(const std::vector<Mark>& marks);  // throws invalid_argument

  // Node 0 is the start: nothing of a mark came.
  int next(int node, std::uint8_t byte) const { return next_[static_cast<std::size_t>(node) * 256 + byte]; }
  MarkKind kind(int node) const { return kinds_[static_cast<std::size_t>(node)]; }

 private:
  std::vector<int> next_;  // [nodes * 256]
  std::vector<MarkKind> kinds_;
};

}  // namespace octavo::grammar

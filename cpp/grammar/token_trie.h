// What masks need to know of a vocabulary: its tokens as a trie in preorder, so that one walk tells which of them a
// state allows, and the tokens that are text of a JSON string whatever stands before them in it, as a ready mask, with
// a trie of the others. Made once for a vocabulary and shared by all engines of the process that use it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace octavo::grammar {

// A number of a node, a state or a token as an index.
inline std::size_t at(int i) { return static_cast<std::size_t>(i); }

// A set of bytes, in kinds: letters that are hexadecimal digits, other letters, digits, some signs alone, ...
using ByteSet = std::uint32_t;
inline constexpr int byte_kinds = 20;
int byte_kind(std::uint8_t byte);
inline ByteSet byte_set(std::uint8_t byte) { return ByteSet{1} << byte_kind(byte); }

class TokenTrie {
 public:
  struct Walk {                      // node i
    std::vector<std::uint8_t> byte;  // the last byte of its path
    std::vector<int> end;            // the first node that is not below it
    std::vector<int> first;          // [nodes + 1]: the first of `tokens` whose path goes through it, or comes after
    std::vector<int> tokens;         // in the order of their paths
    std::vector<std::uint16_t> depth;
    std::vector<ByteSet> below;         // bytes on the paths below it
    std::vector<std::uint16_t> height;  // how many of them the longest has
  };

  // bytes of token t: bytes[offsets[t] .. offsets[t + 1]). Tokens without bytes, control tokens, get those of
  // control_bytes() (marks.h), which only a grammar that asks for them by these takes; end tokens come where a grammar
  // may end. Tokens with a byte that no text has are never allowed. Throws invalid_argument.
  TokenTrie(std::vector<std::uint8_t> bytes, std::vector<std::uint32_t> offsets, std::vector<std::int32_t> end_tokens);

  int size() const { return static_cast<int>(offsets_.size()) - 1; }
  int words() const { return (size() + 31) / 32; }
  int longest() const { return longest_; }
  const std::uint8_t* begin(int token) const { return bytes_.data() + offsets_[static_cast<std::size_t>(token)]; }
  const std::uint8_t* end(int token) const { return bytes_.data() + offsets_[static_cast<std::size_t>(token) + 1]; }
  const std::vector<std::int32_t>& end_tokens() const { return end_tokens_; }
  bool ends(int token) const;

  const Walk& all() const { return all_; }
  const Walk& not_plain() const { return not_plain_; }
  // A mask of the plain ones of so many characters at most: [words()].
  const std::uint32_t* plain(int characters) const {
    const int most = characters < longest_plain_ ? characters : longest_plain_;
    return plain_.data() + static_cast<std::size_t>(most) * static_cast<std::size_t>(words());
  }
  int longest_plain() const { return longest_plain_; }

  // A trie of these tokens that may be shared.
  static std::shared_ptr<const TokenTrie> of(std::vector<std::uint8_t> bytes, std::vector<std::uint32_t> offsets,
                                             std::vector<std::int32_t> end_tokens);

 private:
  Walk walk(std::vector<int> tokens);
  int plain_characters(int token) const;

  std::vector<std::uint8_t> given_bytes_;  // before control tokens got any
  std::vector<std::uint32_t> given_offsets_;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::uint32_t> offsets_;
  std::vector<std::int32_t> end_tokens_;
  Walk all_, not_plain_;
  std::vector<std::uint32_t> plain_;  // [longest_plain_ + 1][words()]
  int longest_ = 1, longest_plain_ = 0;
};

}  // namespace octavo::grammar

// Byte-level BPE (Sennrich et al. 2016, GPT-2's alphabet): a word begins as its characters, and of all neighbours that
// a merge names, the pair of the earliest merge becomes one token, of equal ones the leftmost, until there is none.
// Texts, which are UTF-8, are looked up in one table of ids, merges in another of pairs of ids: a vocabulary of 50,000
// tokens takes 4 MB and some milliseconds. Where entries lie depends on a key of the process, so no file can choose
// its collisions.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/texts.h"

namespace octavo::text {

class BytePairs {
 public:
  // usable[i] != 0: text may become token i. Merges are "left right"; those that make what no text may become are left
  // out, as is the line that a merges.txt begins with. Throws invalid_argument for offsets that are none.
  BytePairs(Texts tokens, std::span<const std::uint8_t> usable, Texts merges);

  // The first merge that has no two parts, or -1: then nothing can be encoded.
  std::int64_t fault() const { return fault_; }
  // Merges that are not of tokens or make none, which are left out, and the first of them.
  std::int64_t strange() const { return strange_; }
  std::int64_t first_strange() const { return first_strange_; }

  // The token that a text becomes as a whole (of several with one text the last), or -1.
  std::int32_t find(std::string_view text) const;
  // Appends the tokens of a word; what is in no token vanishes. whole: a word that is a token is not merged from its
  // characters.
  void encode(std::string_view word, bool whole, std::vector<std::int32_t>& out) const;

 private:
  struct Entry {
    std::uint32_t tag;
    std::int32_t text;  // -1: empty
  };
  struct Merge {
    std::int32_t left, right;  // left -1: empty
    std::int32_t rank, result;
  };
  std::string_view text(std::int32_t i) const { return Texts{bytes_, offsets_}[static_cast<std::size_t>(i)]; }
  std::size_t entry_place(std::string_view text, std::uint64_t hash) const;
  std::int32_t find_text(std::string_view text, std::uint64_t hash) const;
  std::int32_t find_text(std::string_view text) const;
  void add_merges(const Texts& merges, std::span<const std::uint8_t> is_first);
  const Merge* find_merge(std::int32_t left, std::int32_t right) const;
  std::size_t merge_place(std::int32_t left, std::int32_t right) const;

  std::vector<char> bytes_;
  std::vector<std::uint32_t> offsets_;
  std::vector<std::int32_t> ids_;  // by text (the first token that has it): the token that it becomes, or -1
  std::vector<Entry> entries_;     // by hash of a text; a power of two of them, no more than half in use
  std::vector<Merge> merges_;      // by hash of a pair; the same
  std::int64_t fault_ = -1, strange_ = 0, first_strange_ = -1;
};

}  // namespace octavo::text

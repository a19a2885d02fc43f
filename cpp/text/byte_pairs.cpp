#include "text/byte_pairs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "error.h"
#include "os/os.h"
#include "splitmix.h"

namespace octavo::text {

namespace {

std::uint64_t process_key() {
  static const std::uint64_t key = os::random_bits();
  return key;
}

template <typename T>
std::uint64_t load(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Texts of one length that differ give words that differ.
std::uint64_t short_word(const char* p, std::size_t n) {
  if (n >= 4) return load<std::uint32_t>(p) | load<std::uint32_t>(p + n - 4) << 32;
  return load<std::uint8_t>(p) | load<std::uint8_t>(p + n / 2) << 8 | load<std::uint8_t>(p + n - 1) << 16;
}

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t state = process_key() ^ (text.size() * splitmix_step);
  const char* p = text.data();
  std::size_t left = text.size();
  for (; left >= 8; p += 8, left -= 8) state = splitmix_finalise(state ^ load<std::uint64_t>(p)) + splitmix_step;
  if (left > 0) state = splitmix_finalise(state ^ short_word(p, left)) + splitmix_step;
  return splitmix_finalise(state);
}

std::uint64_t hash_of(std::int32_t left, std::int32_t right) {
  const std::uint64_t pair =
      (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
  return splitmix_finalise(process_key() ^ splitmix_finalise(pair + process_key()));
}

std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

bool is_both(std::string_view text, std::string_view left, std::string_view right) {
  return text.size() == left.size() + right.size() && text.starts_with(left) && text.ends_with(right);
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// A neighbour pair to merge; the one with the earliest merge, then the leftmost, comes first.
struct Pair {
  std::int32_t rank, at, left, right, result;
  bool operator<(const Pair& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
};

}  // namespace

BytePairs::BytePairs(Texts tokens, std::span<const std::uint8_t> usable, Texts merges) {
  tokens.check("tokens");
  merges.check("merges");
  if (usable.size() != tokens.size())
    throw Error(Code::invalid_argument, "usable: expected one entry for each token", {});
  bytes_.assign(tokens.bytes.begin(), tokens.bytes.end());
  offsets_.assign(tokens.offsets.begin(), tokens.offsets.end());
  ids_.assign(tokens.size(), -1);
  entries_.assign(std::bit_ceil(2 * tokens.size() + 2), Entry{0, -1});
  std::vector<std::uint8_t> is_first(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    const std::uint64_t hash = hash_of(token);
    Entry& entry = entries_[entry_place(token, hash)];
    if (entry.text < 0) {
      entry = {tag_of(hash), static_cast<std::int32_t>(i)};
      is_first[i] = 1;
    }
    if (usable[i] != 0 && !token.empty()) ids_[static_cast<std::size_t>(entry.text)] = static_cast<std::int32_t>(i);
  }
  add_merges(merges, is_first);
}

// Many at a time, so that the places in memory that one needs arrive while others are worked on. Vocabularies list what
// merges make in the order of the merges: the token behind the last result is looked at before the table.
void BytePairs::add_merges(const Texts& merges, std::span<const std::uint8_t> is_first) {
  merges_.assign(std::bit_ceil(2 * merges.size() + 2), Merge{-1, -1, 0, 0});
  const Texts tokens{bytes_, offsets_};
  struct Line {
    std::size_t number;
    std::string_view left, right;
    std::uint64_t left_hash, right_hash;
  };
  constexpr std::size_t at_once = 32;
  std::vector<Line> lines;
  std::vector<Merge> made;
  std::size_t guess = 0;
  std::string both;
  for (std::size_t i = 0; i < merges.size();) {
    lines.clear(), made.clear();
    for (; i < merges.size() && lines.size() < at_once; ++i) {
      const std::string_view line = merges[i];
      if (i == 0 && line.starts_with("#version")) continue;
      const std::size_t space = line.find(' ', 1);
      if (space == std::string_view::npos || space + 1 == line.size()) {
        fault_ = static_cast<std::int64_t>(i);
        return;
      }
      const std::string_view left = line.substr(0, space), right = line.substr(space + 1);
      lines.push_back({i, left, right, hash_of(left), hash_of(right)});
      for (const std::uint64_t hash : {lines.back().left_hash, lines.back().right_hash})
        __builtin_prefetch(&entries_[hash & (entries_.size() - 1)]);
    }
    for (const Line& line : lines) {
      const std::int32_t l = find_text(line.left, line.left_hash), r = find_text(line.right, line.right_hash);
      std::int32_t result = static_cast<std::int32_t>(guess);
      if (guess >= tokens.size() || is_first[guess] == 0 || !is_both(tokens[guess], line.left, line.right))
        result = find_text(both.assign(line.left).append(line.right));
      if (l < 0 || r < 0 || result < 0) {
        if (strange_++ == 0) first_strange_ = static_cast<std::int64_t>(line.number);
        continue;
      }
      guess = static_cast<std::size_t>(result) + 1;
      if (ids_[static_cast<std::size_t>(result)] < 0) continue;
      made.push_back({l, r, static_cast<std::int32_t>(line.number), result});
      __builtin_prefetch(&merges_[hash_of(l, r) & (merges_.size() - 1)], 1);
    }
    // Of two merges of one pair the later one counts.
    for (const Merge& merge : made) merges_[merge_place(merge.left, merge.right)] = merge;
  }
}

// Where the text is, or where it would be.
std::size_t BytePairs::entry_place(std::string_view wanted, std::uint64_t hash) const {
  const std::size_t mask = entries_.size() - 1;
  for (std::size_t place = hash & mask;; place = (place + 1) & mask) {
    const Entry& entry = entries_[place];
    if (entry.text < 0 || (entry.tag == tag_of(hash) && text(entry.text) == wanted)) return place;
  }
}

std::int32_t BytePairs::find_text(std::string_view wanted, std::uint64_t hash) const {
  return entries_[entry_place(wanted, hash)].text;
}

std::int32_t BytePairs::find_text(std::string_view wanted) const { return find_text(wanted, hash_of(wanted)); }

std::int32_t BytePairs::find(std::string_view wanted) const {
  const std::int32_t found = find_text(wanted);
  return found < 0 ? -1 : ids_[static_cast<std::size_t>(found)];
}

// Where the pair is, or where it would be.
std::size_t BytePairs::merge_place(std::int32_t left, std::int32_t right) const {
  const std::size_t mask = merges_.size() - 1;
  std::size_t place = hash_of(left, right) & mask;
  while (merges_[place].left >= 0 && (merges_[place].left != left || merges_[place].right != right))
    place = (place + 1) & mask;
  return place;
}

const BytePairs::Merge* BytePairs::find_merge(std::int32_t left, std::int32_t right) const {
  if (left < 0 || right < 0) return nullptr;
  const Merge& found = merges_[merge_place(left, right)];
  return found.left < 0 ? nullptr : &found;
}

void BytePairs::encode(std::string_view word, bool whole, std::vector<std::int32_t>& out) const {
  if (whole)
    if (const std::int32_t id = find(word); id >= 0) return out.push_back(id);
  // Piece i is a text, -1 for a character that is none; one that was merged into its left neighbour is gone.
  constexpr std::int32_t gone = -2;
  std::vector<std::int32_t> pieces, next, previous;
  for (std::size_t at = 0; at < word.size();) {
    std::size_t end = at + 1;
    while (end < word.size() && continues(word[end])) ++end;
    pieces.push_back(find_text(word.substr(at, end - at)));
    at = end;
  }
  const auto count = static_cast<std::int32_t>(pieces.size());
  const auto piece = [&](std::int32_t i) -> std::int32_t& { return pieces[static_cast<std::size_t>(i)]; };
  for (std::int32_t i = 0; i < count; ++i) next.push_back(i + 1), previous.push_back(i - 1);
  const auto following = [&](std::int32_t i) -> std::int32_t& { return next[static_cast<std::size_t>(i)]; };
  const auto preceding = [&](std::int32_t i) -> std::int32_t& { return previous[static_cast<std::size_t>(i)]; };
  std::vector<Pair> pairs;  // a heap: the next one to merge is in front
  const auto consider = [&](std::int32_t i) {
    if (i < 0 || following(i) >= count) return;
    const Merge* const m = find_merge(piece(i), piece(following(i)));
    if (m == nullptr) return;
    pairs.push_back({m->rank, i, m->left, m->right, m->result});
    std::push_heap(pairs.begin(), pairs.end());
  };
  for (std::int32_t i = 0; i < count; ++i) consider(i);
  while (!pairs.empty()) {
    std::pop_heap(pairs.begin(), pairs.end());
    const Pair pair = pairs.back();
    pairs.pop_back();
    const std::int32_t right = following(pair.at);
    if (piece(pair.at) != pair.left || right >= count || piece(right) != pair.right) continue;
    piece(pair.at) = pair.result;
    piece(right) = gone;
    following(pair.at) = following(right);
    if (following(pair.at) < count) preceding(following(pair.at)) = pair.at;
    consider(preceding(pair.at));
    consider(pair.at);
  }
  for (std::int32_t i = 0; i < count; i = following(i))
    if (piece(i) >= 0)
      if (const std::int32_t id = ids_[static_cast<std::size_t>(piece(i))]; id >= 0) out.push_back(id);
}

}  // namespace octavo::text

#include "grammar/token_trie.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "error.h"
#include "grammar/marks.h"

namespace octavo::grammar {

namespace {

constexpr int longest_counted = 128;  // characters of a plain token; a mask is kept for each number of them
constexpr int longest_token = 4096;   // longer ones are never allowed: a walk keeps a state for each byte

// Bytes of the well-formed UTF-8 character at p; 0: none begins there, or it goes on past `end`.
int character(const std::uint8_t* p, const std::uint8_t* end) {
  const int first = *p;
  if (first < 0x80) return 1;
  const int size = first >= 0xc2 && first < 0xe0   ? 2
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xf0 && first < 0xf5 ? 4
                                                   : 0;
  if (size == 0 || end - p < size) return 0;
  const int low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const int high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (p[1] < low || p[1] > high) return 0;
  for (int i = 2; i < size; ++i)
    if (p[i] < 0x80 || p[i] > 0xbf) return 0;
  return size;
}

}  // namespace

int byte_kind(std::uint8_t byte) {
  constexpr char alone[] = " -._/:\"\\%@";  // kinds 5 to 14
  if (byte >= 0x80) return 18;
  if (byte < 0x20 || byte == 0x7f) return 17;
  if (byte >= '0' && byte <= '9') return 4;
  if (byte >= 'a' && byte <= 'z') return byte <= 'f' ? 0 : 1;
  if (byte >= 'A' && byte <= 'Z') return byte <= 'F' ? 2 : 3;
  if (const char* const found = std::strchr(alone, byte)) return 5 + static_cast<int>(found - alone);
  return std::strchr("!#$&'*+=?^`{|}~", byte) ? 15 : 16;
}

TokenTrie::TokenTrie(std::vector<std::uint8_t> bytes, std::vector<std::uint32_t> offsets,
                     std::vector<std::int32_t> end_tokens)
    : given_bytes_(std::move(bytes)), given_offsets_(std::move(offsets)), end_tokens_(std::move(end_tokens)) {
  if (given_offsets_.size() < 2 || given_offsets_.front() != 0 || given_offsets_.back() != given_bytes_.size() ||
      !std::is_sorted(given_offsets_.begin(), given_offsets_.end()))
    throw Error(Code::invalid_argument, "offsets: expected ascending, from 0 to the number of bytes");
  for (const std::int32_t token : end_tokens_)
    if (token < 0 || token >= static_cast<std::int32_t>(given_offsets_.size()) - 1)
      throw Error(Code::invalid_argument, "endTokens: expected tokens of the vocabulary",
                  {{"found", std::to_string(token)}});
  offsets_.reserve(given_offsets_.size());
  for (std::size_t t = 0; t + 1 < given_offsets_.size(); ++t) {
    offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    const auto first = given_bytes_.begin() + given_offsets_[t], last = given_bytes_.begin() + given_offsets_[t + 1];
    const std::string control = first == last ? control_bytes(static_cast<std::int32_t>(t)) : "";
    bytes_.insert(bytes_.end(), control.begin(), control.end());
    if (std::find(first, last, 0xff) == last) bytes_.insert(bytes_.end(), first, last);
  }
  offsets_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  std::vector<int> with_text, rest, characters(at(size()), 0);
  for (int t = 0; t < size(); ++t) {
    const std::ptrdiff_t length = end(t) - begin(t);
    if (length < 1 || length > longest_token || ends(t)) continue;
    longest_ = std::max(longest_, static_cast<int>(length));
    with_text.push_back(t);
    characters[at(t)] = plain_characters(t);
    if (characters[at(t)] > 0)
      longest_plain_ = std::max(longest_plain_, characters[at(t)]);
    else
      rest.push_back(t);
  }
  plain_.assign(at(longest_plain_ + 1) * at(words()), 0);
  for (int t = 0; t < size(); ++t)
    if (characters[at(t)] > 0)
      for (int n = characters[at(t)]; n <= longest_plain_; ++n)
        plain_[at(n) * at(words()) + at(t / 32)] |= 1u << (t % 32);
  all_ = walk(std::move(with_text));
  not_plain_ = walk(std::move(rest));
}

bool TokenTrie::ends(int token) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

// Of a token that is plain text; 0: it is not.
int TokenTrie::plain_characters(int token) const {
  int characters = 0;
  for (const std::uint8_t *p = begin(token), *last = end(token); p < last; ++characters) {
    const int size = character(p, last);
    if (size == 0 || *p < 0x20 || *p == '"' || *p == '\\' || characters == longest_counted) return 0;
    p += size;
  }
  return characters;
}

TokenTrie::Walk TokenTrie::walk(std::vector<int> tokens) {
  const auto length = [&](int t) { return static_cast<std::size_t>(end(t) - begin(t)); };
  std::sort(tokens.begin(), tokens.end(), [&](int a, int b) {
    const int order = std::memcmp(begin(a), begin(b), std::min(length(a), length(b)));
    return order != 0 ? order < 0 : length(a) != length(b) ? length(a) < length(b) : a < b;
  });
  Walk w;
  std::vector<int> path;  // nodes of the last token
  const std::uint8_t* last = nullptr;
  for (const int t : tokens) {
    std::size_t common = 0;
    const std::size_t most = std::min(path.size(), length(t));
    while (common < most && last[common] == begin(t)[common]) ++common;
    const int here = static_cast<int>(w.byte.size());
    for (; path.size() > common; path.pop_back()) w.end[at(path.back())] = here;
    for (std::size_t i = common; i < length(t); ++i) {
      path.push_back(static_cast<int>(w.byte.size()));
      w.byte.push_back(begin(t)[i]);
      w.end.push_back(0);
      w.first.push_back(static_cast<int>(w.tokens.size()));
      w.depth.push_back(static_cast<std::uint16_t>(i));
    }
    w.tokens.push_back(t);
    last = begin(t);
  }
  const std::size_t count = w.byte.size();
  for (; !path.empty(); path.pop_back()) w.end[at(path.back())] = static_cast<int>(count);
  w.first.push_back(static_cast<int>(w.tokens.size()));
  w.below.assign(count, 0);
  w.height.assign(count, 0);
  for (std::size_t i = count; i-- > 0;)
    for (int child = static_cast<int>(i) + 1; child < w.end[i]; child = w.end[at(child)]) {
      w.below[i] |= w.below[at(child)] | byte_set(w.byte[at(child)]);
      w.height[i] = std::max<std::uint16_t>(w.height[i], static_cast<std::uint16_t>(w.height[at(child)] + 1));
    }
  return w;
}

std::shared_ptr<const TokenTrie> TokenTrie::of(std::vector<std::uint8_t> bytes, std::vector<std::uint32_t> offsets,
                                               std::vector<std::int32_t> end_tokens) {
  static std::mutex* const mutex = new std::mutex;  // never destroyed: engines of other threads outlive statics
  static auto* const known = new std::vector<std::weak_ptr<const TokenTrie>>;
  const std::lock_guard lock(*mutex);
  std::erase_if(*known, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : *known) {
    const std::shared_ptr<const TokenTrie> trie = weak.lock();
    if (trie && trie->given_bytes_ == bytes && trie->given_offsets_ == offsets && trie->end_tokens_ == end_tokens)
      return trie;
  }
  auto made = std::make_shared<const TokenTrie>(std::move(bytes), std::move(offsets), std::move(end_tokens));
  known->push_back(made);
  return made;
}

}  // namespace octavo::grammar

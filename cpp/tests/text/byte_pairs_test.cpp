// Byte pairs against merging that is spelled out: at each turn all neighbours are looked at and the first of the best
// merges is made. Spellings by hand.
#include "text/byte_pairs.h"

#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "tests/random_data.h"
#include "text/spelling.h"
#include "text/tokens.h"

using namespace octavo;
using namespace octavo::text;
using namespace octavo::testing;

namespace {

struct Packed {
  std::string bytes;
  std::vector<std::uint32_t> offsets{0};
  explicit Packed(const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      bytes += text;
      offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
    }
  }
  operator Texts() const { return {bytes, offsets}; }
};

std::vector<std::int32_t> encoded(const BytePairs& pairs, const std::string& word, bool whole = false) {
  std::vector<std::int32_t> out;
  pairs.encode(word, whole, out);
  return out;
}

// Of ASCII words: the last usable token of each piece's text, after all merges.
std::vector<std::int32_t> spelled_out(const std::vector<std::string>& tokens, const std::vector<std::uint8_t>& usable,
                                      const std::vector<std::string>& merges, const std::string& word) {
  const auto id = [&](const std::string& text) {
    for (std::size_t i = tokens.size(); i-- > 0;)
      if (usable[i] && tokens[i] == text) return static_cast<std::int32_t>(i);
    return -1;
  };
  const auto known = [&](const std::string& text) {
    return std::find(tokens.begin(), tokens.end(), text) != tokens.end();
  };
  std::vector<std::string> pieces;
  for (const char c : word) pieces.emplace_back(1, c);
  for (;;) {
    std::optional<std::size_t> best_at;
    std::size_t best_rank = 0;
    for (std::size_t at = 0; at + 1 < pieces.size(); ++at) {
      const std::string line = pieces[at] + " " + pieces[at + 1];
      const auto last = std::find(merges.rbegin(), merges.rend(), line);
      if (last == merges.rend() || !known(pieces[at]) || !known(pieces[at + 1]) || id(pieces[at] + pieces[at + 1]) < 0)
        continue;
      const auto rank = static_cast<std::size_t>(merges.rend() - last);
      if (!best_at || rank < best_rank) best_at = at, best_rank = rank;
    }
    if (!best_at) break;
    pieces[*best_at] += pieces[*best_at + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(*best_at) + 1);
  }
  std::vector<std::int32_t> ids;
  for (const std::string& piece : pieces)
    if (id(piece) >= 0) ids.push_back(id(piece));
  return ids;
}

}  // namespace

TEST_CASE("byte pairs are merged as when all neighbours are looked at, whatever the vocabulary") {
  Rng rng(11);
  const int rounds = 300;
  for (int round = 0; round < rounds; ++round) {
    const int letters = rng.between(2, 4);
    const auto text = [&](int most) {
      std::string s(static_cast<std::size_t>(rng.between(1, most)), ' ');
      for (char& c : s) c = static_cast<char>('a' + rng.below(letters));
      return s;
    };
    std::vector<std::string> tokens;
    for (int c = 0; c < letters; ++c)
      if (!rng.chance(10)) tokens.emplace_back(1, static_cast<char>('a' + c));
    for (int i = 0; i < 40; ++i) tokens.push_back(text(5));  // some of them twice
    std::vector<std::uint8_t> usable(tokens.size(), 1);
    for (std::uint8_t& u : usable) u = !rng.chance(10);
    std::vector<std::string> merges;
    for (int i = 0; i < 60; ++i) merges.push_back(text(3) + " " + text(3));
    const BytePairs pairs(Packed{tokens}, usable, Packed{merges});
    REQUIRE(pairs.fault() == -1);
    for (int i = 0; i < 20; ++i) {
      const std::string word = text(24);
      CAPTURE(word);
      CHECK(encoded(pairs, word) == spelled_out(tokens, usable, merges, word));
    }
  }
}

TEST_CASE("byte pairs: whole words, lost characters, texts of several bytes, lines that are no merges") {
  const std::vector<std::string> tokens{"a", "b", "ab", "Ġ", "Ġa", "", "abb", "ab"};
  const std::vector<std::uint8_t> all(tokens.size(), 1);
  const Packed merges({"#version: 0.2", "a b", "Ġ a", "a x", "ab ab"});
  const BytePairs pairs(Packed{tokens}, all, merges);
  CHECK(pairs.find("ab") == 7);  // of two with one text the last
  CHECK(pairs.find("") == -1);
  CHECK(pairs.find("x") == -1);
  CHECK(encoded(pairs, "Ġab") == std::vector<std::int32_t>{3, 7});  // the earlier merge is made first
  CHECK(encoded(pairs, "Ġaxb") == std::vector<std::int32_t>{4, 1});
  CHECK(encoded(pairs, "abb") == std::vector<std::int32_t>{7, 1});
  CHECK(encoded(pairs, "abb", true) == std::vector<std::int32_t>{6});
  CHECK(encoded(pairs, "").empty());
  CHECK(encoded(pairs, "\x80\xFF").empty());
  CHECK(pairs.strange() == 2);
  CHECK(pairs.first_strange() == 3);
  CHECK(BytePairs(Packed{tokens}, all, Packed({"a b", "ab"})).fault() == 1);
  CHECK(BytePairs(Packed{tokens}, all, Packed({"a "})).fault() == 0);
  CHECK(BytePairs(Packed{tokens}, all, Packed({""})).fault() == 0);
  const std::vector<std::string> none;
  CHECK(encoded(BytePairs(Packed{none}, {}, Packed{none}), "ab").empty());
}

TEST_CASE("byte pairs: a word of 65,536 characters takes no time to speak of") {
  const std::vector<std::string> tokens{"a", "aa", "aaaa"};
  const BytePairs pairs(Packed{tokens}, std::vector<std::uint8_t>(3, 1), Packed({"a a", "aa aa"}));
  CHECK(encoded(pairs, std::string(1 << 16, 'a')) == std::vector<std::int32_t>(1 << 14, 2));
}

TEST_CASE("offsets of texts that are none are refused") {
  const std::string bytes = "ab";
  for (const std::vector<std::uint32_t>& offsets :
       std::vector<std::vector<std::uint32_t>>{{}, {1, 2}, {0, 1}, {0, 3}, {0, 2, 1, 2}, {0, 0xFFFFFFFF, 2}})
    CHECK_THROWS_AS(BytePairs({bytes, offsets}, std::vector<std::uint8_t>(offsets.empty() ? 0 : offsets.size() - 1, 1),
                              Packed({"a b"})),
                    Error);
  CHECK_THROWS_AS(BytePairs(Packed({"a"}), {}, Packed({"a b"})), Error);
}

TEST_CASE("tokens spell their bytes") {
  // Types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
  const auto spelled = [](const std::vector<std::string>& texts, const std::vector<std::uint8_t>& types,
                          Spelling spelling) {
    const Packed tokens(texts);
    std::string bytes(tokens.bytes.size(), '\0');
    std::vector<std::uint32_t> offsets(texts.size() + 1);
    spell(tokens, types, spelling, reinterpret_cast<std::uint8_t*>(bytes.data()), offsets.data());
    std::vector<std::string> out;
    for (std::size_t i = 0; i < texts.size(); ++i) out.push_back(bytes.substr(offsets[i], offsets[i + 1] - offsets[i]));
    return out;
  };
  const std::vector<std::uint8_t> types{1, 1, 4, 3, 2, 1, 1, 5};
  CHECK(spelled({"Ġa", "Ċ", "Ġa", "<s>", "<unk>", "a b", "\u2581x", "Ã©"}, types, Spelling::bytes) ==
        std::vector<std::string>{" a", "\n", "Ġa", "", "", "a b", "\u2581x", "\xC3\xA9"});
  CHECK(spelled({"\u2581a\u2581", "<0x0A>", "<0xfF>", "\u2581", "é", "", "\u2582", "<s>"}, {1, 6, 6, 4, 1, 1, 1, 3},
                Spelling::spaces) == std::vector<std::string>{" a ", "\n", "\xFF", "\u2581", "é", "", "\u2582", ""});
  CHECK_THROWS_AS(spelled({"a"}, {}, Spelling::bytes), Error);
}

TEST_CASE("types of a file: 0 is normal, and what is none is found") {
  std::vector<std::uint8_t> types(8, 9);
  CHECK(read_types(std::vector<double>{0, 1, 2, 3, 4, 5, 6, 1}, types.data()) == -1);
  CHECK(types == std::vector<std::uint8_t>{1, 1, 2, 3, 4, 5, 6, 1});
  for (const double wrong : {-1.0, 7.0, 1.5, 1e300, std::nan(""), HUGE_VAL})
    CHECK(read_types(std::vector<double>{1, 6, wrong, wrong}, types.data()) == 2);
}

TEST_CASE("what is asked of all tokens") {
  const Packed tokens({"a", "", "<s>", "b", "é", "<s>", "<S>"});
  std::vector<std::uint8_t> usable(7);
  usable_tokens(tokens, std::vector<std::uint8_t>{1, 1, 3, 5, 2, 6, 4}, usable.data());
  CHECK(usable == std::vector<std::uint8_t>{1, 0, 0, 0, 1, 1, 1});
  CHECK_THROWS_AS(usable_tokens(tokens, std::vector<std::uint8_t>{1}, usable.data()), Error);
  CHECK(among(tokens, {"<s>", "", "é", "c"}) == std::vector<std::int32_t>{2, 4, 5});
  CHECK(among(tokens, {}).empty());
  CHECK(begin_characters(tokens));
  CHECK_FALSE(begin_characters(Packed({"\xC3", "\xA9"})));
  CHECK(longest(Texts(tokens).offsets) == 3);
}

// A compiled grammar that may say anything, and a walk through it. Byte 0: steps of the walk; then a byte for each of them, then the
// program's numbers: a byte is a number from -8 to 246, 255 has the number's four bytes behind it.
#include <algorithm>
#include <cstring>

#include "cases.h"
#include "error.h"
#include "grammar/matcher.h"

namespace octavo::fuzz {

namespace {

std::vector<std::int32_t> numbers(const std::uint8_t* data, std::size_t bytes) {
  std::vector<std::int32_t> words;
  for (std::size_t i = 0; i < bytes;) {
    std::int32_t word = data[i] - 8;
    if (data[i++] == 255) {
      if (bytes - i < 4) break;
      std::memcpy(&word, data + i, 4);
      i += 4;
    }
    words.push_back(word);
  }
  return words;
}

std::shared_ptr<const grammar::TokenTrie> vocabulary() {
  std::string bytes;
  std::vector<std::uint32_t> offsets = {0};
  const auto add = [&](const std::string& token) {
    bytes += token;
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const char* token : {"ab",    "abc",      "abcabc", "aaaaaaaaaaaa", "12",   "2024-", " a",  "\"",       "\":",
                            "\",\"", "{\"",      "[{",     "}]",           "true", "\\u00", "\\n", "xyz9",     "e+",
                            "-0.5",  "\xc3\xa4", "\xc3",   "\xa4\xc3",     "    ", "\n  ",  "ab",  "__proto__"})
    add(token);
  add("");  // ends the text
  return grammar::TokenTrie::of({bytes.begin(), bytes.end()}, offsets, {static_cast<std::int32_t>(offsets.size()) - 2});
}

// Walks along allowed tokens, forth and back: a mask has to be the same whatever is remembered. What a program claims of
// itself (lengths, that a classifier knows all plain characters) is believed, and may be wrong here: that masks allow what
// stepping allows is for the tests of compiled programs to say.
std::string walk(const std::shared_ptr<grammar::Automaton>& automaton, const std::uint8_t* steps, std::size_t count) {
  grammar::MaskCache masks(std::size_t{1} << 16), again(0);
  grammar::Source source;
  source.drop_space = count % 2 == 1;
  grammar::Matcher matcher(automaton, source);
  for (std::size_t i = 0; i < count; ++i) {
    const grammar::Mask mask = matcher.mask(masks);
    std::vector<std::int32_t> allowed;
    for (int t = 0; t < automaton->tokens().size(); ++t)
      if ((*mask)[static_cast<std::size_t>(t / 32)] >> (t % 32) & 1) allowed.push_back(t);
    if (*matcher.mask(again) != *mask) return "another mask at the same place";
    if (allowed.empty()) break;
    matcher.push(allowed[steps[i] % allowed.size()]);
    if (steps[i] % 16 == 15) matcher.truncate(matcher.length() / 2);
  }
  return automaton->bytes() <= 2 * grammar::Automaton::most_bytes ? "" : "more memory than there may be";
}

}  // namespace

Outcome grammar_case(const std::uint8_t* data, std::size_t bytes) {
  static const auto tokens = vocabulary();
  if (bytes == 0) return {};
  const std::size_t count = std::min<std::size_t>(data[0], bytes - 1);
  const std::vector<std::int32_t> words = numbers(data + 1 + count, bytes - 1 - count);
  try {
    const auto program = std::make_shared<const grammar::Program>(words.data(), words.size());
    return {walk(std::make_shared<grammar::Automaton>(program, tokens), data + 1, count), ""};
  } catch (const Error& error) {
    if (error.code() == Code::invalid_argument) return {"", error.what()};
    return {std::string("an Error of another kind: ") + error.what(), ""};
  }
}

}  // namespace octavo::fuzz

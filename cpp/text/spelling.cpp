#include "text/spelling.h"

#include <array>
#include <cstring>

#include "text/tokens.h"

namespace octavo::text {

namespace {

// The byte of each character of GPT-2's alphabet, by its number; -1 for others. Printable Latin-1 stands for itself,
// the 68 other bytes for U+0100 onwards.
constexpr auto alphabet = [] {
  std::array<std::int16_t, 0x100 + 68> bytes{};
  for (std::int16_t& b : bytes) b = -1;
  std::size_t next = 0x100;
  for (std::size_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
    bytes[printable ? b : next++] = static_cast<std::int16_t>(b);
  }
  return bytes;
}();

// How many bytes were written; -1 when a character is none of the alphabet.
std::int64_t spell_bytes(std::string_view text, std::uint8_t* out) {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::uint32_t character = static_cast<unsigned char>(text[i]);
    if (character >= 0x80) {  // the alphabet's characters have one byte or two
      if (character >= 0xE0 || i + 1 == text.size()) return -1;
      character = ((character & 0x1F) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3F);
    }
    if (character >= alphabet.size() || alphabet[character] < 0) return -1;
    out[n++] = static_cast<std::uint8_t>(alphabet[character]);
  }
  return n;
}

std::int64_t spell_spaces(std::string_view text, std::uint8_t* out) {
  constexpr std::string_view space = "\u2581";
  std::int64_t n = 0;
  for (std::size_t i = 0; i < text.size();) {
    const bool is_space = text.substr(i).starts_with(space);
    out[n++] = is_space ? ' ' : static_cast<std::uint8_t>(text[i]);
    i += is_space ? space.size() : 1;
  }
  return n;
}

std::uint8_t digit(char c) {
  return static_cast<std::uint8_t>(c >= '0' && c <= '9'                     ? c - '0'
                                   : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                            : 0);
}

std::int64_t spell_one(std::string_view text, std::uint8_t type, Spelling spelling, std::uint8_t* out) {
  if (type == control || type == unknown) return 0;
  if (type == byte && text.size() == 6) {
    out[0] = static_cast<std::uint8_t>(16 * digit(text[3]) + digit(text[4]));
    return 1;
  }
  if (type != user_defined && spelling == Spelling::spaces) return spell_spaces(text, out);
  if (type != user_defined)
    if (const std::int64_t n = spell_bytes(text, out); n >= 0) return n;
  if (!text.empty()) std::memcpy(out, text.data(), text.size());
  return static_cast<std::int64_t>(text.size());
}

}  // namespace

void spell(const Texts& tokens, std::span<const std::uint8_t> types, Spelling spelling, std::uint8_t* bytes,
           std::uint32_t* offsets) {
  tokens.check("tokens");
  if (types.size() != tokens.size()) throw Error(Code::invalid_argument, "types: expected one for each token", {});
  offsets[0] = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    offsets[i + 1] =
        offsets[i] + static_cast<std::uint32_t>(spell_one(tokens[i], types[i], spelling, bytes + offsets[i]));
}

}  // namespace octavo::text

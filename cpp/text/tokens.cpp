#include "text/tokens.h"

#include <algorithm>
#include <array>

namespace octavo::text {

namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) { return static_cast<std::uint8_t>(text[i]); }

}  // namespace

std::int64_t read_types(std::span<const double> given, std::uint8_t* types) {
  for (std::size_t i = 0; i < given.size(); ++i) {
    const bool in_range = given[i] >= 0 && given[i] <= double{byte};
    const int type = in_range ? static_cast<int>(given[i]) : 0;
    if (!in_range || type != given[i]) return static_cast<std::int64_t>(i);
    types[i] = static_cast<std::uint8_t>(type == 0 ? normal : type);
  }
  return -1;
}

void usable_tokens(const Texts& tokens, std::span<const std::uint8_t> types, std::uint8_t* usable) {
  tokens.check("tokens");
  if (types.size() != tokens.size()) throw Error(Code::invalid_argument, "types: expected one for each token", {});
  for (std::size_t i = 0; i < tokens.size(); ++i)
    usable[i] = types[i] != control && types[i] != unused && !tokens[i].empty() ? 1 : 0;
}

// Few texts are looked at: those with the first and the last byte of some name.
std::vector<std::int32_t> among(const Texts& texts, const std::vector<std::string>& names) {
  texts.check("texts");
  std::array<bool, 256> first{}, last{};
  for (const std::string& name : names)
    if (!name.empty()) first[byte_at(name, 0)] = last[byte_at(name, name.size() - 1)] = true;
  std::vector<std::int32_t> found;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string_view text = texts[i];
    if (text.empty() || !first[byte_at(text, 0)] || !last[byte_at(text, text.size() - 1)]) continue;
    if (std::find(names.begin(), names.end(), text) != names.end()) found.push_back(static_cast<std::int32_t>(i));
  }
  return found;
}

bool begin_characters(const Texts& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (const std::string_view text = texts[i]; !text.empty() && (byte_at(text, 0) & 0xC0) == 0x80) return false;
  return true;
}

std::uint32_t longest(std::span<const std::uint32_t> offsets) {
  std::uint32_t most = 0;
  for (std::size_t i = 1; i < offsets.size(); ++i) most = std::max(most, offsets[i] - offsets[i - 1]);
  return most;
}

}  // namespace octavo::text

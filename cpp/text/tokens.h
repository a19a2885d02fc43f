// What a load asks of every token of a vocabulary: JavaScript that has just started takes milliseconds for each.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/texts.h"

namespace octavo::text {

// As GGUF numbers them.
enum TokenType : std::uint8_t { normal = 1, unknown, control, user_defined, unused, byte };

// Types as a file gives them, where 0 is one of no type in particular: normal. The first that is no type, or -1.
std::int64_t read_types(std::span<const double> given, std::uint8_t* types);

// 1 for each token that text may become.
void usable_tokens(const Texts& tokens, std::span<const std::uint8_t> types, std::uint8_t* usable);

// The numbers of texts that are one of the names, ascending.
std::vector<std::int32_t> among(const Texts& texts, const std::vector<std::string>& names);

// Whether no text begins within a character.
bool begin_characters(const Texts& texts);

// Bytes of the longest text.
std::uint32_t longest(std::span<const std::uint32_t> offsets);

}  // namespace octavo::text

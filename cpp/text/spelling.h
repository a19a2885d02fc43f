// What tokens spell: the bytes of each, of a vocabulary's texts as their file writes them. Two spellings exist: GPT-2's
// alphabet, in which each byte is one printable character, and SentencePiece's, which is text with U+2581 for a space
// and single bytes as <0x0A>.
#pragma once
#include <cstdint>
#include <span>

#include "text/texts.h"

namespace octavo::text {

enum class Spelling : std::uint8_t { bytes, spaces };

// Writes the bytes of all tokens one after the other, at most as many as their texts have, and where each begins:
// [tokens + 1]. Types are numbered as GGUF numbers them. Control and unknown tokens have no bytes, user-defined ones
// are text as it is.
void spell(const Texts& tokens, std::span<const std::uint8_t> types, Spelling spelling, std::uint8_t* bytes,
           std::uint32_t* offsets);

}  // namespace octavo::text

// What the fuzzers (*_target.cpp) and the replay of their corpus (cpp/tests/fuzz_corpus_test.cpp)
// do with an input. A typed Error is the right answer to a bad input: a refusal. Anything else that goes wrong, and an
// Error with a code that no file should cause, is a broken promise; sanitizers report the rest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace octavo::fuzz {

struct Outcome {
  std::string broken;   // "" or, in words, the promise that was broken
  std::string refusal;  // the Error's message; "" when the input was taken to the end
};

// A GGUF file as far as C++ goes: header, the rows of each tensor through the CPU backend and through dequantise_row
// (which must agree), then a llama model made of its metadata without any check, loaded and run for one step.
Outcome gguf_case(const std::string& path);

// Edits to a good ModelDesc: any field may say anything. Creates, loads and runs the model.
Outcome model_case(const std::uint8_t* data, std::size_t bytes);

// A compiled grammar that may say anything: its masks along a walk.
Outcome grammar_case(const std::uint8_t* data, std::size_t bytes);

// A file without a place in any folder, for inputs that exist in memory: the same one each time.
std::string memory_file(const std::uint8_t* data, std::size_t bytes);

}  // namespace octavo::fuzz

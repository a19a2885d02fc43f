// The table of instructions. A form is an opcode with every modifier, as PTX writes it ("mul.wide.s32"); only forms in
// the table are run, everything else is refused. A row gives many forms by alternatives in braces: "add.{s32,u32}",
// "ld.{,nc.}u32". It names the conformance test that checks each of its forms (cuda/tests/driver); a form whose test
// never ran it fails the tests, so what the interpreter runs is what has been checked.
//
// operands, a character each: H W D a destination of 16, 32, 64 bits; h w d a source; P p predicates; A an address; I
// an integer known at decoding, kept as a constant; L a label; V v registers of the access's own width or wider, as
// many as `vector` says; X x registers of any width, alone or in braces; a digit before a letter: so many in braces;
// Q a predicate behind `|`, may be missing; everything after ? may be missing.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "program.h"

namespace octavo::ptx {

struct Row {
  const char* pattern;
  const char* operands;
  Handler run;
  const char* test;
  Flow flow = Flow::next;
  std::uint8_t member = 0;
};

struct Form {
  std::string name;
  const Row* row;
};

// Null where the table has no such form.
const Row* find_form(std::string_view opcode);
// Every form, for the tests.
std::vector<Form> all_forms();
// The parts of an opcode: "mul.wide.s32" -> mul, wide, s32.
std::vector<std::string_view> parts(std::string_view opcode);

std::span<const Row> integer_rows();
std::span<const Row> bit_rows();
std::span<const Row> float_rows();
std::span<const Row> half_rows();
std::span<const Row> compare_rows();
std::span<const Row> convert_rows();
std::span<const Row> move_rows();
std::span<const Row> memory_rows();
std::span<const Row> matrix_rows();
std::span<const Row> warp_rows();
std::span<const Row> control_rows();

}  // namespace octavo::ptx

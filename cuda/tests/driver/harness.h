// Programs of PTX for tests: a kernel around some instructions, run on the interpreter.
#pragma once
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ptx/launch.h"
#include "ptx/module.h"

namespace octavo::testing {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// `body` in a kernel `k` with parameters `in` and `out` (device addresses) and registers %h (16 bits), %r, %d, %f
// (f32), %p; its lanes are numbered by %r0, and %d0, %d1 hold in and out.
std::string kernel(const std::string& body, const std::string& before = "");

struct Outcome {
  std::vector<u8> out;
  ptx::LaunchStats stats;
};
// Runs kernel `k` of a program on `in`; out has so many bytes, all 0xEE before.
Outcome run(const std::string& program, const std::vector<u8>& in, std::size_t out_bytes, ptx::LaunchShape shape);

// Opcodes of all programs that were run.
const std::set<std::string>& opcodes_run();

// One instruction, lane by lane: `operands` are those of its row. Each case gives the values of its sources; the
// results of its destination, low bits of 64.
std::vector<u64> run_form(const std::string& form, const std::string& operands,
                          const std::vector<std::vector<u64>>& cases);

template <class T>
std::vector<u8> bytes_of(const std::vector<T>& values) {
  const auto* p = reinterpret_cast<const u8*>(values.data());
  return {p, p + values.size() * sizeof(T)};
}
template <class T>
std::vector<T> values_of(const std::vector<u8>& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

// ---- conformance: a check a name of the table's column `test` ------------------------------------------------------
struct Checked {
  std::string form, operands;
  std::vector<std::string> parts;
  std::string type(std::size_t from_end = 0) const { return parts[parts.size() - 1 - from_end]; }
  bool has(const std::string& part) const;
};
using Check = void (*)(const Checked&);
bool add_check(const char* name, Check check);
Check find_check(const std::string& name);

// Values of a type that are worth trying, and random ones.
std::vector<u64> samples(const std::string& type, std::mt19937_64& random, int n);
int bits_of(const std::string& type);
bool is_signed(const std::string& type);
// The value of an integer type that these bits stand for.
__int128 integer(u64 bits, const std::string& type);

}  // namespace octavo::testing

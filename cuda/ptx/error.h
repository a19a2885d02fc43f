// What the interpreter throws: a program it refuses, or one that breaks a rule of the machine, with the line of the
// PTX.
#pragma once
#include <stdexcept>
#include <string>

namespace octavo::ptx {

enum class Fault {
  syntax,       // not PTX as this reader knows it
  unsupported,  // an instruction, a modifier or a directive that has no conformance test
  memory,       // an address outside of every allocation, misaligned, or read-only
  divergence,   // lanes that must meet and do not
  deadlock,     // warps that wait for each other
  launch,       // a launch that the kernel's own figures forbid
};

class PtxError : public std::runtime_error {
 public:
  PtxError(Fault fault, int line, const std::string& text)
      : std::runtime_error(line > 0 ? "PTX line " + std::to_string(line) + ": " + text : text),
        fault(fault),
        line(line) {}
  const Fault fault;
  const int line;
};

}  // namespace octavo::ptx

// A module of PTX as the interpreter holds it: functions of decoded instructions.
//
// A register is a place in the warp's file: 32 lanes of 4 bytes (types of 8, 16 and 32 bits, zero-extended) or of 8
// bytes. A predicate is one word, a bit a lane. Constants, special registers and addresses of symbols are registers
// that are filled when a warp starts, so that an instruction knows one kind of operand. Labels are places in `code`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace octavo::ptx {

inline constexpr int warp_lanes = 32;
inline constexpr std::uint32_t all_lanes = 0xffffffffu;

// Windows of the generic address space. None of them is an address that a process of this machine can have.
inline constexpr std::uint64_t global_window = 0x00d0'0000'0000'0000;
inline constexpr std::uint64_t shared_window = 0x00e0'0000'0000'0000;
inline constexpr std::uint64_t local_window = 0x00f0'0000'0000'0000;
inline constexpr std::uint64_t param_window = 0x00c0'0000'0000'0000;
inline constexpr std::uint64_t window_mask = 0xfff0'0000'0000'0000;

struct Warp;
struct Instruction;
using Handler = void (*)(const Instruction&, Warp&, std::uint32_t lanes);

// What an instruction asks of the loop that runs a warp.
enum class Flow : std::uint8_t {
  next,     // only its handler
  members,  // handler, once all lanes named by operand `member` are here
  aligned,  // handler, once all lanes of the warp are here
  branch,
  exit,     //
  barrier,  // wait for the other warps
  arrive,   // count for a barrier without waiting
  trap,
};

enum class Space : std::uint8_t { generic, global, shared, local, param };

struct Operand {
  std::int32_t slot = -1;  // word in the warp's file, or predicate; -1: `_`, a result nobody wants
  std::uint8_t width = 4;  // 0: predicate, 2, 4, 8
  bool negated = false;    // predicate sources: !p
};
struct Address {
  Operand base;  // slot -1: none
  std::int64_t offset = 0;
};

struct Instruction {
  Handler run = nullptr;
  Flow flow = Flow::next;
  Space space = Space::generic;
  std::uint8_t vector = 1;  // registers of a vector access
  std::uint8_t count = 0;   // operands in use
  std::uint8_t member = 0;  // Flow::members: the operand that names lanes
  bool guard_negated = false;
  std::int32_t guard = -1;   // predicate, or -1
  std::int32_t target = -1;  // of a branch
  std::int32_t line = 0;
  Operand op[20];
  Address address[2];
};

struct Constant {
  std::int32_t slot;
  std::uint8_t width;
  std::uint64_t value;
};
struct Param {
  std::string name;
  std::size_t offset, bytes;
};

struct Function {
  std::string name;
  std::vector<Instruction> code;
  std::vector<Constant> constants;
  std::vector<Param> params;
  std::size_t param_bytes = 0;
  std::int32_t file_words = 0;  // the warp's file
  std::int32_t predicates = 0;
  std::size_t shared_bytes = 0;  // static
  std::size_t local_bytes = 0;   // a thread
  unsigned max_threads = 1024;   // .maxntid, .reqntid
  bool wants_dynamic_shared = false;
  bool has_variables = false;  // addresses of its module's
};

// Special registers have the first slots of every file.
enum Special : int {
  tid_x,
  tid_y,
  tid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  special_count
};
extern const char* const special_names[special_count];

}  // namespace octavo::ptx

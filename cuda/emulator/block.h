// The block of threads that runs, inside the emulator: its fibers, who waits for what, and the state that ends with it.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "emulator/runtime.h"
#include "emulator/shim.h"

namespace octavo::shim {

// One asynchronous copy; `done` once its bytes are there.
struct Copy {
  char* to;
  const char* from;
  int bytes, source_bytes;
  const void* site;
  bool done;
};

struct LoggedAccess {
  std::uint64_t address;
  const void* site;
  unsigned bytes;
  bool write, shared;
};

enum class State : std::uint8_t { ready, waits, done };

struct Fiber {
  ThreadIndices indices;
  void* stack;
  int thread, warp, lane;
  State state;
  const char* waits_in;  // what, and where in the code
  const void* site;
  std::vector<Copy> open;                    // copies since the last commit
  std::vector<std::vector<Copy>> committed;  // groups, the oldest first
  std::vector<LoggedAccess> accesses;        // since its lanes last met
};

struct Barrier {
  int needed = 0, line = 0;
  const void* site = nullptr;
  bool mixed = false;
  std::vector<int> waiting, arrived;
};

// Lanes of a warp that meet in one operation.
struct Meeting {
  unsigned mask, present;
  int kind;
  void* arguments[32];
};

struct SharedArray {
  const void* key;
  char* begin;
  std::size_t bytes;
};

struct Block {
  const Kernel* kernel = nullptr;
  uint3 index{};
  int threads = 0;
  unsigned shared_bytes = 0;  // dynamic
  std::vector<Fiber> fibers;
  std::vector<int> ready;
  std::vector<std::vector<Meeting>> meetings;  // by warp
  std::map<int, Barrier> barriers;
  std::vector<SharedArray> arrays;
  int exited = 0;
  bool ended = false;  // an error that the launch cannot go on from
};

extern Block block;
extern Fiber* running;  // null outside of a kernel

std::uint64_t random_bits();
void seed_random(std::uint64_t seed);

// The running fiber waits until wake(); `site` is in the kernel's code.
void wait_in(const char* what, const void* site);
void wake(int thread);
// Ends the launch from inside a fiber.
[[noreturn]] void end_launch();

// Adds a finding, once for a kind and place; printf-like.
void report(const char* kind, const void* site, const void* other, const char* format, ...)
    __attribute__((format(printf, 4, 5)));
// file:line of an address in a kernel.
std::string source_line(const void* site);

// Copies that were never waited for when their thread ends.
void finish_copies(Fiber& fiber);

// Memory of the running block: before its threads start, and after they ended (whether something was written behind an
// array).
void begin_shared();
void check_shared();

}  // namespace octavo::shim

// A stack of its own for each CUDA thread, and the switch between two of them. x86-64 only; a switch is some twenty
// instructions, where swapcontext would be two system calls.
#pragma once
#include <cstddef>

namespace octavo::shim {

// Saves the running stack in *from and goes on with `to`.
void switch_stack(void** from, void* to);

// Stacks for `count` fibers, a page that cannot be touched below each. Grows; never given back.
class Stacks {
 public:
  void reserve(std::size_t count);
  // A fresh stack: the first switch to what this returns calls `entry`, which never returns.
  void* prepare(std::size_t fiber, void (*entry)());
  bool holds(const void* address) const { return address >= begin_ && address < begin_ + count_ * stack_bytes; }

 private:
  static constexpr std::size_t stack_bytes = 256 << 10, guard_bytes = 4096;
  char* begin_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace octavo::shim

#include "emulator/fiber.h"

#include <sys/mman.h>

#include <new>

#ifndef __x86_64__
#error "the emulator's fibers are written for x86-64"
#endif

extern "C" void octavo_shim_switch(void** from, void* to);
// The six registers that a function must keep, and the stack; floating-point modes are the same in all fibers.
asm(R"(
.text
.globl octavo_shim_switch
.type octavo_shim_switch,@function
octavo_shim_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp,(%rdi)
  mov %rsi,%rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size octavo_shim_switch,.-octavo_shim_switch
)");

namespace octavo::shim {

void switch_stack(void** from, void* to) { octavo_shim_switch(from, to); }

void Stacks::reserve(std::size_t count) {
  if (count <= count_) return;
  if (begin_ != nullptr) munmap(begin_, count_ * stack_bytes);
  void* const map =
      mmap(nullptr, count * stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  begin_ = static_cast<char*>(map);
  count_ = count;
  for (std::size_t i = 0; i < count; ++i) mprotect(begin_ + i * stack_bytes, guard_bytes, PROT_NONE);
}

void* Stacks::prepare(std::size_t fiber, void (*entry)()) {
  void** top = reinterpret_cast<void**>(begin_ + (fiber + 1) * stack_bytes - 64);
  *--top = nullptr;  // where `entry` would return to
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  return top;
}

}  // namespace octavo::shim

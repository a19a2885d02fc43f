// The functions that a compiler calls for -fsanitize=thread, in place of libtsan, which is not linked: kernels alone
// are compiled so.
#include <cstddef>
#include <cstring>

#include "emulator/checker.h"
#include "emulator/runtime.h"

namespace octavo::shim {

namespace {

bool compiled_in = false;

void access(const void* address, std::size_t bytes, bool write, const void* site) {
  check_access(static_cast<const char*>(address), bytes, write, site);
}

}  // namespace

bool checked() { return compiled_in; }

}  // namespace octavo::shim

#define OCTAVO_HOOK(name, bytes, write) \
  void __tsan_##name##bytes(void* address) { octavo::shim::access(address, bytes, write, __builtin_return_address(0)); }
#define OCTAVO_HOOKS(bytes)                 \
  OCTAVO_HOOK(read, bytes, false)           \
  OCTAVO_HOOK(write, bytes, true)           \
  OCTAVO_HOOK(unaligned_read, bytes, false) \
  OCTAVO_HOOK(unaligned_write, bytes, true) \
  OCTAVO_HOOK(volatile_read, bytes, false)  \
  OCTAVO_HOOK(volatile_write, bytes, true)

extern "C" {

OCTAVO_HOOKS(1)
OCTAVO_HOOKS(2)
OCTAVO_HOOKS(4)
OCTAVO_HOOKS(8)
OCTAVO_HOOKS(16)

void __tsan_init() { octavo::shim::compiled_in = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* address, std::size_t bytes) {
  octavo::shim::access(address, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* address, std::size_t bytes) {
  octavo::shim::access(address, bytes, true, __builtin_return_address(0));
}
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  octavo::shim::access(from, bytes, false, __builtin_return_address(0));
  octavo::shim::access(to, bytes, true, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  octavo::shim::access(to, bytes, true, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

}  // extern "C"

// Which addresses are the device's, inside the emulator.
#pragma once
#include <cstddef>
#include <string>

namespace octavo::shim {

inline constexpr std::size_t shared_window_bytes = 1 << 20;

struct Allocation {
  char *begin, *base;
  std::size_t bytes, pages;  // pages: in bytes, from base
  std::string name;
};

bool is_device(const void* address);
bool is_shared(const void* address);
// From the arena's begin; huge for what is not in it.
std::size_t device_offset(const void* address);
const Allocation* allocation_before(const void* address);
// Parameters of the running kernel; stacks of its threads.
bool is_parameter(const void* address);
bool is_stack(const void* address);

}  // namespace octavo::shim

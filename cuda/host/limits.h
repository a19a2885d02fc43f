// What a launch may ask of a device, by compute capability. (CUDA C++ Programming Guide, "Compute Capabilities".) Every
// launch is held against this before the driver sees it, and tests hold every operation's launches against every row.
#pragma once
#include <cstdint>
#include <string>

#include "ops/launch.h"

namespace octavo::cuda {

struct Limits {
  int capability;         // 80 for 8.0
  unsigned shared_bytes;  // of one block, static and dynamic together
  unsigned threads;       // of one block
  unsigned grid[3];
};

inline constexpr Limits limits_table[] = {
    {80, 163 * 1024, 1024, {0x7fffffff, 65535, 65535}},   // A100
    {86, 99 * 1024, 1024, {0x7fffffff, 65535, 65535}},    // RTX 30, A40
    {89, 99 * 1024, 1024, {0x7fffffff, 65535, 65535}},    // RTX 40, L4, L40S
    {90, 227 * 1024, 1024, {0x7fffffff, 65535, 65535}},   // H100, H200
    {100, 227 * 1024, 1024, {0x7fffffff, 65535, 65535}},  // B200
    {120, 99 * 1024, 1024, {0x7fffffff, 65535, 65535}},   // RTX 50
};

// The row of a capability: its own, or the one of the nearest below with the smallest shared memory known.
Limits limits_of(int capability);
// Empty, or why this launch is not possible; static_shared: of the kernel.
std::string broken_limit(const Launch& launch, const Limits& limits, unsigned static_shared);

}  // namespace octavo::cuda

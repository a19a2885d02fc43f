// What the accesses of warps cost in memory, by counts that do not depend on time: sectors of 32 bytes in global memory,
// wavefronts in shared memory (a bank gives one word of 4 bytes at a time). Only in a build for the checker, and where
// options().traffic asks for it.
//
// Lanes run one after the other, so each keeps a list of its accesses; where lanes meet, the accesses that lie at the same
// place of the code, each time around, are taken for one instruction of the warp. A host compiler splits accesses of 16
// bytes into smaller ones: neighbours that follow each other are joined again.
#pragma once
#include <cstddef>

#include "emulator/runtime.h"

namespace octavo::shim {

// An access of the running lane.
void log_access(const char* address, std::size_t bytes, bool write, const void* site);
// Lanes `mask` of a warp have met, or ended.
void flush_accesses(int warp, unsigned mask);

}  // namespace octavo::shim

// Allocations, ascending by address; addresses are never used twice, so a freed one is found too.
#include "memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "program.h"

namespace octavo::ptx {

namespace {
constexpr std::uint64_t alignment = 512;     // what cuMemAlloc promises is 256
constexpr std::uint64_t filled = 1 << 20;    // of a large allocation, only the beginning
constexpr std::uint64_t distance = 1 << 16;  // between two allocations
}  // namespace

Memory::Memory() : next_(global_window + (1 << 20)) {}

std::uint64_t Memory::allocate(std::uint64_t bytes) {
  Block block;
  block.storage.reset(new std::uint8_t[bytes + 64]);
  std::memset(block.storage.get(), 0xA5, std::min(bytes + 64, filled));
  auto* host = block.storage.get();
  host += (64 - reinterpret_cast<std::uintptr_t>(host) % 64) % 64;
  block.region = {next_, bytes, host, true};
  next_ = (next_ + bytes + distance + alignment - 1) / alignment * alignment;
  bytes_ += bytes;
  regions_.push_back(std::move(block));
  return regions_.back().region.base;
}

bool Memory::release(std::uint64_t base) {
  const auto at = std::lower_bound(regions_.begin(), regions_.end(), base,
                                   [](const Block& b, std::uint64_t address) { return b.region.base < address; });
  if (at == regions_.end() || at->region.base != base) return false;
  bytes_ -= at->region.bytes;
  regions_.erase(at);
  return true;
}

const Region* Memory::find(std::uint64_t address, std::uint64_t bytes) const {
  auto at = std::upper_bound(regions_.begin(), regions_.end(), address,
                             [](std::uint64_t a, const Block& b) { return a < b.region.base; });
  if (at == regions_.begin()) return nullptr;
  const Region& region = (--at)->region;
  const std::uint64_t offset = address - region.base;
  return offset <= region.bytes && bytes <= region.bytes - offset ? &region : nullptr;
}

std::uint8_t* Memory::host(std::uint64_t address, std::uint64_t bytes) const {
  const Region* region = find(address, bytes);
  return region ? region->host + (address - region->base) : nullptr;
}

std::vector<Region> Memory::regions() const {
  std::vector<Region> all;
  for (const Block& block : regions_) all.push_back(block.region);
  return all;
}

void Memory::set_writable(std::uint64_t base, bool writable) {
  for (Block& block : regions_) {
    if (block.region.base == base) block.region.writable = writable;
  }
}

std::string Memory::describe(std::uint64_t address) const {
  char text[160];
  const Block* nearest = nullptr;
  for (const Block& block : regions_) {
    if (block.region.base <= address) nearest = &block;
  }
  if (!nearest) {
    std::snprintf(text, sizeof text, "address %#llx is before every allocation",
                  static_cast<unsigned long long>(address));
  } else {
    std::snprintf(text, sizeof text, "address %#llx is %llu bytes into an allocation of %llu",
                  static_cast<unsigned long long>(address),
                  static_cast<unsigned long long>(address - nearest->region.base),
                  static_cast<unsigned long long>(nearest->region.bytes));
  }
  return text;
}

}  // namespace octavo::ptx

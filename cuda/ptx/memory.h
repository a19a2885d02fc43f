// Device memory as allocations at addresses of their own: a device address is never one of the host, and one outside of
// every allocation is found. Allocations stand apart, so that one step too far is outside.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace octavo::ptx {

struct Region {
  std::uint64_t base = 0, bytes = 0;
  std::uint8_t* host = nullptr;
  bool writable = true;
};

class Memory {
 public:
  Memory();
  // Memory of the given size, filled with a pattern that is neither zero nor a sensible number; its device address.
  std::uint64_t allocate(std::uint64_t bytes);
  // False where nothing begins at this address.
  bool release(std::uint64_t base);
  // The allocation that holds [address, address + bytes), or null.
  const Region* find(std::uint64_t address, std::uint64_t bytes) const;
  // The host's view of a range that must be inside one allocation; null otherwise.
  std::uint8_t* host(std::uint64_t address, std::uint64_t bytes) const;
  // For messages: the nearest allocation, in words.
  std::string describe(std::uint64_t address) const;
  std::vector<Region> regions() const;
  std::size_t count() const { return regions_.size(); }
  std::uint64_t bytes() const { return bytes_; }
  void set_writable(std::uint64_t base, bool writable);

 private:
  struct Block {
    Region region;
    std::unique_ptr<std::uint8_t[]> storage;
  };
  std::vector<Block> regions_;  // ascending
  std::uint64_t next_;
  std::uint64_t bytes_ = 0;
};

}  // namespace octavo::ptx

// Device memory in blocks of a kind, and the pinned memory that transfers go through.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "driver.h"

namespace octavo::cuda {

// Memory of one kind: large pieces from the driver, parts of them to callers. A piece is given back with its last part,
// or kept for what comes next (`keeps`).
class Arena {
 public:
  explicit Arena(std::uint64_t piece_bytes, bool keeps = false) : piece_bytes_(piece_bytes), keeps_(keeps) {}
  ~Arena() { clear(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  CUdeviceptr allocate(std::uint64_t bytes);
  // False: it is none of this arena's.
  bool release(CUdeviceptr address);
  std::uint64_t used_bytes() const { return used_; }
  void clear() noexcept;

 private:
  struct Piece {
    CUdeviceptr base;
    std::uint64_t bytes, next;
    int parts;
  };
  const std::uint64_t piece_bytes_;
  const bool keeps_;
  std::vector<Piece> pieces_;
  std::map<CUdeviceptr, std::uint64_t> parts_;  // and their bytes
  std::uint64_t used_ = 0;
};

// Pinned memory in two halves, filled one after the other: a half is used again when the copies out of it are done.
class Staging {
 public:
  Staging(std::uint64_t bytes, CUstream stream);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  void upload(CUdeviceptr to, const void* from, std::uint64_t bytes);
  void download(void* to, CUdeviceptr from, std::uint64_t bytes);
  std::uint64_t bytes() const { return 2 * half_; }

 private:
  void turn();
  void give_back() noexcept;
  const std::uint64_t half_;
  const CUstream stream_;
  std::uint8_t* memory_ = nullptr;
  CUevent read_[2] = {};  // recorded behind the last copy out of a half
  bool in_flight_[2] = {};
  int current_ = 0;
  std::uint64_t position_ = 0;  // in the current half
};

}  // namespace octavo::cuda

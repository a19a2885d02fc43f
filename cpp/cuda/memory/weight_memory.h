// Memory of all weights that a backend makes for a model: one piece of the device's, each weight a part of it. It is
// taken when the first row is loaded, so that a model can be described, and refused, before it takes anything.
//
// Rows get their layout (cuda/ops/repack.h) on the device: they are sent as the file has them, and a kernel puts them
// where they belong, while the next ones are read. Of small models the host does that: starting kernels would take
// longer.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>

#include "backend.h"
#include "cuda/memory/device.h"
#include "cuda/memory/load_lanes.h"

namespace octavo::cuda {

class WeightMemory {
 public:
  static constexpr std::size_t small_model = 32 << 20;
  // packed_here: weights of fewer bytes, all together, are packed by the host.
  explicit WeightMemory(Device& device, std::size_t packed_here = small_model)
      : device_(device), packed_here_(packed_here) {}
  static std::size_t part_bytes(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  // A part for a weight of n rows, at the offset that is returned. Before it is taken.
  std::size_t add(Format format, std::int64_t n, std::int64_t k);
  bool is_taken() const;
  // Where it begins; taken and zeroed by the first call. Throws out_of_memory.
  std::uint8_t* take();
  // Rows of a file to the weight at `offset`; several threads may do so at once for disjoint rows.
  void load(std::size_t offset, const Weight& weight, std::int64_t row, std::int64_t count, const std::uint8_t* rows);

 private:
  std::shared_ptr<LoadLanes> lanes();

  Device& device_;
  const std::size_t packed_here_;
  mutable std::mutex lock_;
  std::size_t bytes_ = 0;
  std::int64_t rows_left_ = 0;  // to be loaded
  Buffer<std::uint8_t> memory_;
  std::shared_ptr<LoadLanes> lanes_;  // while weights are loaded
};

}  // namespace octavo::cuda

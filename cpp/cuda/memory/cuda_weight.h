// A weight on a device, packed for the kernels of linear and embed (cuda/ops/repack.h): a part of a model's
// WeightMemory. What was not loaded is zero.
#pragma once
#include <cstdint>
#include <memory>

#include "backend.h"
#include "cuda/memory/weight_memory.h"

namespace octavo::cuda {

class CudaWeight final : public Weight {
 public:
  CudaWeight(std::shared_ptr<WeightMemory> memory, Format format, std::int64_t n, std::int64_t k);
  std::size_t resident_bytes() const override;
  // May run on several threads at once for disjoint rows.
  void load(std::int64_t row, std::int64_t count, const std::uint8_t* rows);
  const std::uint8_t* packed() const { return memory_->take() + offset_; }

 private:
  void check_scales(std::int64_t row, std::int64_t count, const std::uint8_t* rows) const;

  const std::shared_ptr<WeightMemory> memory_;
  const std::size_t offset_;
};

}  // namespace octavo::cuda

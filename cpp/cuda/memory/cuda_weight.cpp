// See cuda_weight.h.
#include "cuda/memory/cuda_weight.h"

#include "../../../cuda/ops/repack.h"
#include "error.h"

namespace octavo::cuda {

CudaWeight::CudaWeight(std::shared_ptr<WeightMemory> memory, Format format, std::int64_t n, std::int64_t k)
    : Weight(format, n, k), memory_(std::move(memory)), offset_(memory_->add(format, n, k)) {}

std::size_t CudaWeight::resident_bytes() const { return WeightMemory::part_bytes(device_weight_bytes(format, n, k)); }

void CudaWeight::load(std::int64_t row, std::int64_t count, const std::uint8_t* rows) {
  check_scales(row, count, rows);
  memory_->load(offset_, *this, row, count, rows);
}

void CudaWeight::check_scales(std::int64_t row, std::int64_t count, const std::uint8_t* rows) const {
  if (!is_quantised(format)) return;
  const std::size_t stored = traits(format).group_bytes, stride = row_bytes(format, static_cast<std::size_t>(k));
  for (std::size_t at = 0; at < stride * static_cast<std::size_t>(count); at += stored) {
    if (scales_are_finite(format, rows + at)) continue;
    const std::string where = std::to_string(row + static_cast<std::int64_t>(at / stride));
    throw Error(Code::model_invalid, "a weight's scale is not finite (row " + where + ")",
                {{"expected", "finite scales"}, {"row", where}, {"format", traits(format).name}});
  }
}

}  // namespace octavo::cuda

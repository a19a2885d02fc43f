// See cuda_weight.h.
#include "cuda/cuda_weight.h"

#include "../../cuda/ops/repack.h"
#include "error.h"

namespace octavo::cuda {

CudaWeight::CudaWeight(Device& device, Format format, std::int64_t n, std::int64_t k, bool keeps_rows)
    : Weight(format, n, k),
      device_(device),
      stride_(octavo::row_bytes(format, static_cast<std::size_t>(k))),
      packed_(device, device_weight_bytes(format, n, k), OCTAVO_CUDA_WEIGHTS) {
  if (keeps_rows) make_table();
}

void CudaWeight::keep_rows() {
  if (table_.size() == 0) make_table();
}

void CudaWeight::load(std::int64_t row, std::int64_t count, const std::uint8_t* rows) {
  check_scales(row, count, rows);
  std::uint8_t* const host = begin_load();
  pack_rows(format, n, k, row, count, rows, host);
  const std::size_t bytes = stride_ * static_cast<std::size_t>(count);
  if (table_.size() > 0) table_.upload(rows, stride_ * static_cast<std::size_t>(row), bytes);
  const std::lock_guard guard(lock_);
  if ((loaded_ += count) >= n) send();
}

const std::uint8_t* CudaWeight::packed() const {
  const std::lock_guard guard(lock_);
  if (!sent_) send();
  return packed_.get();
}

const std::uint8_t* CudaWeight::table() const {
  if (table_.size() == 0) throw Error(Code::internal, "embed of a weight whose rows were not kept");
  return table_.get();
}

void CudaWeight::make_table() {
  table_ = Buffer<std::uint8_t>(device_, stride_ * static_cast<std::size_t>(n), OCTAVO_CUDA_WEIGHTS);
  table_.zero();
}

void CudaWeight::check_scales(std::int64_t row, std::int64_t count, const std::uint8_t* rows) const {
  if (!is_quantised(format)) return;
  const std::size_t stored = traits(format).group_bytes;
  for (std::size_t at = 0; at < stride_ * static_cast<std::size_t>(count); at += stored) {
    if (scales_are_finite(format, rows + at)) continue;
    const std::string where = std::to_string(row + static_cast<std::int64_t>(at / stride_));
    throw Error(Code::model_invalid, "a weight's scale is not finite (row " + where + ")",
                {{"expected", "finite scales"}, {"row", where}, {"format", traits(format).name}});
  }
}

// Rows that come after the weight was sent begin with what was sent.
std::uint8_t* CudaWeight::begin_load() {
  const std::lock_guard guard(lock_);
  if (host_.empty()) {
    host_.resize(packed_.size());
    if (sent_) packed_.download(host_.data());
  }
  sent_ = false;
  return host_.data();
}

void CudaWeight::send() const {
  if (host_.empty())
    packed_.zero();
  else
    packed_.upload(host_.data());
  if (loaded_ >= n) std::vector<std::uint8_t>().swap(host_);
  sent_ = true;
}

}  // namespace octavo::cuda

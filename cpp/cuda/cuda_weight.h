// A weight on a device: packed for the kernels of linear (cuda/ops/repack.h) and, where embed reads it, as rows of the
// file. Rows are packed on the host, and sent when all are there or when the weight is first used: what was not loaded
// is zero.
#pragma once
#include <cstdint>
#include <mutex>
#include <vector>

#include "backend.h"
#include "cuda/device.h"
#include "kept_rows.h"

namespace octavo::cuda {

class CudaWeight final : public Weight, public KeepsRows {
 public:
  CudaWeight(Device& device, Format format, std::int64_t n, std::int64_t k, bool keeps_rows);
  std::size_t resident_bytes() const override { return packed_.bytes() + table_.bytes(); }
  void keep_rows() override;

  void load(std::int64_t row, std::int64_t count, const std::uint8_t* rows);
  const std::uint8_t* packed() const;
  const std::uint8_t* table() const;
  std::size_t stride() const { return stride_; }  // bytes of a row of the file

 private:
  void make_table();
  void check_scales(std::int64_t row, std::int64_t count, const std::uint8_t* rows) const;
  std::uint8_t* begin_load();
  void send() const;

  Device& device_;
  const std::size_t stride_;
  mutable std::mutex lock_;
  mutable Buffer<std::uint8_t> packed_;
  Buffer<std::uint8_t> table_;              // rows as the file has them, for embed; empty: not kept
  mutable std::vector<std::uint8_t> host_;  // while rows are loaded
  std::int64_t loaded_ = 0;
  mutable bool sent_ = false;
};

}  // namespace octavo::cuda

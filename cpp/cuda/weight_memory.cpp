// See weight_memory.h.
#include "cuda/weight_memory.h"

#include "../../cuda/ops/repack.h"
#include "error.h"

namespace octavo::cuda {

std::size_t WeightMemory::add(Format format, std::int64_t n, std::int64_t k) {
  const std::lock_guard guard(lock_);
  if (memory_.size() > 0) throw Error(Code::internal, "a weight is made in memory that is taken already");
  const std::size_t at = bytes_;
  bytes_ += part_bytes(device_weight_bytes(format, n, k));
  rows_left_ += n;
  return at;
}

bool WeightMemory::is_taken() const {
  const std::lock_guard guard(lock_);
  return memory_.size() > 0;
}

std::uint8_t* WeightMemory::take() {
  const std::lock_guard guard(lock_);
  if (memory_.size() == 0) {
    Buffer<std::uint8_t> memory(device_, bytes_, OCTAVO_CUDA_WEIGHTS);
    memory.zero();
    memory_ = std::move(memory);
  }
  return memory_.get();
}

void WeightMemory::load(std::size_t offset, const Weight& weight, std::int64_t row, std::int64_t count,
                        const std::uint8_t* rows) {
  std::uint8_t* const to = take() + offset;
  if (memory_.size() < packed_here_)
    pack_on_host(to, weight, row, count, rows);
  else
    pack_on_device(to, weight, row, count, rows);
}

void WeightMemory::pack_on_host(std::uint8_t* to, const Weight& w, std::int64_t row, std::int64_t count,
                                const std::uint8_t* rows) {
  std::vector<std::uint8_t> piece(device_weight_bytes(w.format, count, w.k));
  pack_rows(w.format, count, w.k, 0, count, rows, piece.data());
  for (const PiecePart& part : piece_parts(w.format, w.n, w.k, row, count))
    device_.upload(reinterpret_cast<std::uint64_t>(to + part.to), piece.data() + part.from, part.bytes);
}

// The device does one thing after the other, so the next rows may be sent before these are packed.
void WeightMemory::pack_on_device(std::uint8_t* to, const Weight& w, std::int64_t row, std::int64_t count,
                                  const std::uint8_t* rows) {
  const std::size_t bytes = row_bytes(w.format, static_cast<std::size_t>(w.k)) * static_cast<std::size_t>(count);
  const std::lock_guard turn(turn_);
  if (arrived_.size() < bytes) arrived_ = Buffer<std::uint8_t>(device_, bytes);
  arrived_.upload(rows, 0, bytes);
  Launches launches;
  add_repack(launches, w.format, w.n, w.k, row, count, arrived_.get(), to);
  device_.run(launches);
  if ((rows_left_ -= count) <= 0) arrived_ = {};
}

}  // namespace octavo::cuda

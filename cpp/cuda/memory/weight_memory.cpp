// See weight_memory.h.
#include "cuda/memory/weight_memory.h"

#include <cstring>

#include "../../../cuda/ops/repack.h"
#include "error.h"

namespace octavo::cuda {

namespace {

std::uint64_t address(const std::uint8_t* p) { return reinterpret_cast<std::uint64_t>(p); }

// A piece is a weight of its own, whose parts lie one behind the other in the whole one.
void pack_on_host(Device& device, LoadLanes& lanes, const Weight& w, std::int64_t row, std::int64_t count,
                  const std::uint8_t* rows, std::uint8_t* to) {
  const std::size_t bytes = device_weight_bytes(w.format, count, w.k);
  LoadLanes::Turn turn(lanes, bytes);
  std::memset(turn.get(), 0, bytes);
  pack_rows(w.format, count, w.k, 0, count, rows, turn.get());
  for (const PiecePart& part : piece_parts(w.format, w.n, w.k, row, count))
    if (part.bytes > 0) device.copy_in(address(to + part.to), turn.get() + part.from, part.bytes);
  turn.finish();
}

void pack_on_device(Device& device, LoadLanes& lanes, const Weight& w, std::int64_t row, std::int64_t count,
                    const std::uint8_t* rows, std::uint8_t* to) {
  const std::size_t bytes = row_bytes(w.format, static_cast<std::size_t>(w.k)) * static_cast<std::size_t>(count);
  LoadLanes::Turn turn(lanes, bytes);
  std::memcpy(turn.get(), rows, bytes);
  std::uint8_t* const arrived = turn.arrived(bytes);
  device.copy_in(address(arrived), turn.get(), bytes);
  Launches launches;
  add_repack(launches, w.format, w.n, w.k, row, count, arrived, to);
  device.run(launches);
  turn.finish();
}

}  // namespace

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

std::shared_ptr<LoadLanes> WeightMemory::lanes() {
  const std::lock_guard guard(lock_);
  if (!lanes_) lanes_ = std::make_shared<LoadLanes>(device_);
  return lanes_;
}

void WeightMemory::load(std::size_t offset, const Weight& weight, std::int64_t row, std::int64_t count,
                        const std::uint8_t* rows) {
  std::uint8_t* const to = take() + offset;
  {
    const std::shared_ptr<LoadLanes> lanes = this->lanes();
    if (memory_.size() < packed_here_)
      pack_on_host(device_, *lanes, weight, row, count, rows, to);
    else
      pack_on_device(device_, *lanes, weight, row, count, rows, to);
  }
  const std::lock_guard guard(lock_);
  if ((rows_left_ -= count) <= 0) lanes_.reset();
}

}  // namespace octavo::cuda

// See load_lanes.h.
#include "cuda/memory/load_lanes.h"

#include "error.h"

namespace octavo::cuda {

namespace {
constexpr int most_lanes = 8;  // as many threads as load at most (cpp/model/model_loading.cpp)
}

// Copies may be under way after a wait that failed, but not with a device that fails again.
LoadLanes::~LoadLanes() {
  for (int tries = 0; tries < 2; ++tries) {
    try {
      device_.wait();
      return;
    } catch (const Error&) {
    }
  }
}

// New ones first: the device may still be at work with the others.
std::unique_ptr<LoadLanes::Lane> LoadLanes::next() {
  std::unique_lock guard(lock_);
  free_.wait(guard, [&] { return made_ < most_lanes || !lanes_.empty(); });
  if (made_ < most_lanes) {
    ++made_;
    return nullptr;
  }
  std::unique_ptr<Lane> lane = std::move(lanes_.front());
  lanes_.pop_front();
  return lane;
}

std::unique_ptr<LoadLanes::Lane> LoadLanes::take(std::size_t bytes) {
  std::unique_ptr<Lane> lane = next();
  try {
    if (!lane) {
      lane = std::make_unique<Lane>();
      lane->done = std::make_unique<Owned<octavo_cuda_event>>(device_, device_.make_event());
    } else {
      device_.wait(lane->done->get());
    }
    lane->is_whole = false;
    if (!lane->pinned || lane->pinned->bytes() < bytes) {
      lane->pinned.reset();
      lane->pinned = std::make_unique<Pinned>(device_, bytes);
    }
    return lane;
  } catch (...) {
    if (lane) lane->is_whole = false;
    give_back(std::move(lane));
    throw;
  }
}

void LoadLanes::give_back(std::unique_ptr<Lane> lane) {
  const std::lock_guard guard(lock_);
  if (lane && lane->is_whole) {
    lanes_.push_back(std::move(lane));
  } else {
    --made_;
    if (lane) left_.push_back(std::move(lane));
  }
  free_.notify_one();
}

std::uint8_t* LoadLanes::Turn::arrived(std::size_t bytes) {
  if (lane_->arrived.size() < bytes) lane_->arrived = Buffer<std::uint8_t>(lanes_.device_, bytes);
  return lane_->arrived.get();
}

void LoadLanes::Turn::finish() {
  lanes_.device_.record(lane_->done->get());
  lane_->is_whole = true;
}

}  // namespace octavo::cuda

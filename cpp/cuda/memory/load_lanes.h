// The way of rows to a device while a model is loaded: lanes of pinned memory, as many as threads may load at once. A
// thread takes a lane, fills it, asks the device for what is to be done with it and gives it back; it is taken again when
// the device has done that. So the host holds some pieces, whatever the model's size, and reads while copies are made.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/memory/device.h"

namespace octavo::cuda {

class LoadLanes {
 public:
  explicit LoadLanes(Device& device) : device_(device) {}
  ~LoadLanes();
  LoadLanes(const LoadLanes&) = delete;
  LoadLanes& operator=(const LoadLanes&) = delete;

  struct Lane {
    std::unique_ptr<Pinned> pinned;
    Buffer<std::uint8_t> arrived;  // on the device, where rows are packed there
    std::unique_ptr<Owned<octavo_cuda_event>> done;
    bool is_whole = false;  // what was begun with it has an event behind it
  };

  // A lane in one thread's hands. Not finished, it is taken no more: what is under way may still read it.
  class Turn {
   public:
    Turn(LoadLanes& lanes, std::size_t bytes) : lanes_(lanes), lane_(lanes.take(bytes)) {}
    ~Turn() { lanes_.give_back(std::move(lane_)); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    std::uint8_t* get() const { return lane_->pinned->get(); }
    // Memory of the device that nobody else uses until this is finished.
    std::uint8_t* arrived(std::size_t bytes);
    void finish();

   private:
    LoadLanes& lanes_;
    std::unique_ptr<Lane> lane_;
  };

 private:
  std::unique_ptr<Lane> take(std::size_t bytes);
  std::unique_ptr<Lane> next();
  void give_back(std::unique_ptr<Lane> lane);

  Device& device_;
  std::mutex lock_;
  std::condition_variable free_;
  std::deque<std::unique_ptr<Lane>> lanes_;  // nobody's, the longest given back first
  std::vector<std::unique_ptr<Lane>> left_;  // not finished
  int made_ = 0;
};

}  // namespace octavo::cuda

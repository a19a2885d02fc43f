// A CUDA device as the addon uses it: the plugin's table (cuda/plugin.h) with memory that gives itself back and errors
// that are octavo's own.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../../cuda/ops/device_properties.h"
#include "../../../cuda/ops/launch.h"
#include "../../../cuda/plugin.h"

namespace octavo::cuda {

class Device {
 public:
  // `index` among all that the driver shows. Throws device_unavailable, out_of_memory, engine_failed.
  explicit Device(int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceProperties& properties() const { return properties_; }
  const std::string& isa() const { return isa_; }  // "sm_90"
  bool has_kernel(const char* name) const { return api_->has_kernel(context_, name) != 0; }
  octavo_cuda_memory memory() const;

  std::uint64_t allocate(int kind, std::uint64_t bytes);
  void release(std::uint64_t address) { api_->release(context_, address); }
  void upload(std::uint64_t to, const void* from, std::uint64_t bytes);
  void download(void* to, std::uint64_t from, std::uint64_t bytes);
  void zero(std::uint64_t to, std::uint64_t bytes);
  // Done before any later download.
  void run(const Launches& launches);
  void run(const Launch* launches, std::size_t count);
  void wait();

  // See cuda/plugin.h, "Steps".
  void* pin(std::uint64_t bytes);
  void unpin(void* memory) { api_->unpin(context_, memory); }
  void copy_in(std::uint64_t to, const void* pinned, std::uint64_t bytes);
  void copy_out(void* pinned, std::uint64_t from, std::uint64_t bytes);
  octavo_cuda_event* make_event();
  void record(octavo_cuda_event* event);
  void wait(octavo_cuda_event* event);
  void release(octavo_cuda_event* event) { api_->event_release(context_, event); }
  octavo_cuda_graph* make_graph(const Launches& launches);
  void run(octavo_cuda_graph* graph);
  void release(octavo_cuda_graph* graph) { api_->graph_release(context_, graph); }

 private:
  // A call of the plugin's table with this context in front and a message behind.
  template <class Function, class... Arguments>
  void call(Function function, Arguments... arguments) const {
    octavo_cuda_message message = {};
    check(function(context_, arguments..., &message), message);
  }
  void check(std::int32_t error, const octavo_cuda_message& message) const;
  const octavo_cuda_api* api_;
  octavo_cuda_context* context_ = nullptr;
  DeviceProperties properties_;
  std::string isa_;
};

// Elements on a device. get() is an address of the device's: nothing on the host may follow it.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, std::size_t count, int kind = OCTAVO_CUDA_SCRATCH) : device_(&device), count_(count) {
    if (count > 0) address_ = device.allocate(kind, count * sizeof(T));
  }
  Buffer(Device& device, const T* values, std::size_t count) : Buffer(device, count) { upload(values); }
  Buffer(Device& device, const std::vector<T>& values) : Buffer(device, values.data(), values.size()) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (address_ != 0) device_->release(address_);
  }

  T* get() const { return reinterpret_cast<T*>(address_); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  void upload(const T* values, std::size_t first, std::size_t count) {
    if (count > 0) device_->upload(address_ + first * sizeof(T), values, count * sizeof(T));
  }
  void upload(const T* values) { upload(values, 0, count_); }
  void download(T* out) const {
    if (count_ > 0) device_->download(out, address_, bytes());
  }
  void zero() {
    if (count_ > 0) device_->zero(address_, bytes());
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(count_, other.count_);
  }
  Device* device_ = nullptr;
  std::uint64_t address_ = 0;
  std::size_t count_ = 0;
};

// Something of a device's that is given back: octavo_cuda_event, octavo_cuda_graph.
template <class T>
class Owned {
 public:
  Owned(Device& device, T* thing) : device_(&device), thing_(thing) {}
  Owned(Owned&& other) noexcept : device_(other.device_), thing_(std::exchange(other.thing_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(device_, other.device_), std::swap(thing_, other.thing_);
    return *this;
  }
  ~Owned() {
    if (thing_) device_->release(thing_);
  }
  T* get() const { return thing_; }

 private:
  Device* device_;
  T* thing_;
};

class Pinned {
 public:
  Pinned(Device& device, std::size_t bytes)
      : device_(device), bytes_(bytes), memory_(static_cast<std::uint8_t*>(device.pin(bytes))) {}
  ~Pinned() { device_.unpin(memory_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  std::uint8_t* get() const { return memory_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Device& device_;
  const std::size_t bytes_;
  std::uint8_t* const memory_;
};

}  // namespace octavo::cuda

// An array on the emulated device, for tests: owns its memory, copies from and to the host.
#pragma once
#include <cstring>
#include <utility>
#include <vector>

#include "emulator/runtime.h"

namespace octavo::shim {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count, const char* name = "array")
      : count_(count), begin_(static_cast<T*>(allocate(count * sizeof(T), name))) {}
  DeviceArray(const std::vector<T>& values, const char* name = "array") : DeviceArray(values.size(), name) {
    upload(values);
  }
  DeviceArray(DeviceArray&& other) noexcept : count_(other.count_), begin_(std::exchange(other.begin_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&&) = delete;
  ~DeviceArray() {
    if (begin_ != nullptr) release(begin_);
  }

  void upload(const std::vector<T>& values) {
    if (values.empty()) return;
    std::memcpy(static_cast<void*>(begin_), values.data(), values.size() * sizeof(T));
    mark_written(begin_, values.size() * sizeof(T));
  }
  std::vector<T> download() const { return std::vector<T>(begin_, begin_ + count_); }
  T* get() const { return begin_; }
  std::size_t size() const { return count_; }

 private:
  std::size_t count_;
  T* begin_;
};

}  // namespace octavo::shim

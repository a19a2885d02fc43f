// An open device: its context, one stream, the kernels, memory. Given back in the reverse order, whatever failed.
#pragma once
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "driver.h"
#include "limits.h"
#include "memory.h"
#include "steps.h"
#include "ops/launch.h"
#include "plugin.h"

namespace octavo::cuda {

void describe_device(int index, octavo_cuda_device& out);

// The primary context of a device, retained, and current in the thread that made this as long as this lives.
class Context {
 public:
  explicit Context(int index);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void make_current() const { OCTAVO_CU(cuCtxSetCurrent, context_); }

 private:
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

class Stream {
 public:
  Stream() { OCTAVO_CU(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING); }
  ~Stream() { driver().cuStreamDestroy_v2(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator CUstream() const { return stream_; }

 private:
  CUstream stream_ = nullptr;
};

// Every image, loaded; kernels by name, looked up when they are first used.
class Kernels {
 public:
  Kernels();
  ~Kernels();
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;
  struct Kernel {
    CUfunction function = nullptr;  // null: there is none of this name
    unsigned static_shared = 0;
    unsigned dynamic_shared = 48 * 1024;  // that it may be launched with
  };
  Kernel& find(const std::string& name);

 private:
  void unload() noexcept;
  std::vector<CUmodule> modules_;
  std::unordered_map<std::string, Kernel> kernels_;
};

class Device {
 public:
  Device(int index, const octavo_cuda_options& options);
  ~Device();

  // Calls of several threads take turns; the context is current within.
  std::unique_lock<std::mutex> enter();
  CUdeviceptr allocate(int kind, std::uint64_t bytes);
  void release(CUdeviceptr address);
  Staging& staging() { return staging_; }
  void fill(CUdeviceptr to, unsigned char value, std::uint64_t bytes);
  void run(const Launch* launches, std::size_t count);
  // The same launches as a graph; Steps runs it and gives it back.
  CUgraphExec capture(const Launch* launches, std::size_t count);
  Steps& steps() { return steps_; }
  bool has_kernel(const std::string& name);
  void wait();
  octavo_cuda_memory memory() const;

 private:
  void prepare(const Launch* launches, std::size_t count);
  void start(const Launch& launch);
  std::mutex lock_;
  Limits limits_;
  Context context_;
  Kernels kernels_;
  Arena arenas_[3];
  Stream stream_;
  Staging staging_;
  Steps steps_;
};

}  // namespace octavo::cuda

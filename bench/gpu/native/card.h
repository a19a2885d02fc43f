// A GPU through the driver alone: what is tried before octavo's plugin is trusted, and what measures the card. The kernels
// are those of probe.cu, from the file probe.fatbin beside the program.
#pragma once
#include <string>
#include <vector>

#include "host/driver.h"
#include "ops/launch.h"

namespace octavo::bench {

class Card {
 public:
  explicit Card(int index);
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  std::string name() const;
  int attribute(int which) const;
  int capability() const;

  CUdeviceptr allocate(std::size_t bytes);  // given back with the card
  void upload(CUdeviceptr to, const void* from, std::size_t bytes);
  void download(void* to, CUdeviceptr from, std::size_t bytes);
  void run(const cuda::Launch& launch);
  void wait();
  // Seconds of one of `times` launches, or copies, in one graph: the median of several graphs.
  double seconds(const cuda::Launch& launch, int times);
  double copy_seconds(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, int times);

 private:
  template <class Enqueue>
  double graph_seconds(Enqueue enqueue, int times);
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  CUstream stream_ = nullptr;
  void* pinned_ = nullptr;
  std::vector<CUdeviceptr> allocations_;
};

}  // namespace octavo::bench

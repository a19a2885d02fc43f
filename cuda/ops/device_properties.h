// What an operation asks of the device to choose its kernels.
#pragma once

namespace octavo::cuda {

struct DeviceProperties {
  int compute;  // capability: 80, 86, 89, 90, 120
  int multiprocessors;
  unsigned shared_bytes;  // that a block may have
};

}  // namespace octavo::cuda

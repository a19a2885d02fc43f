// Opens the CUDA plugin (cuda/plugin.h) and tells whether there is a GPU to use. Where it is, lib/base/cuda-plugin.ts says; a program
// without that looks beside itself, or where OCTAVO_CUDA_PLUGIN points. A machine without the plugin, the driver or a device is a normal answer, not an error.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../cuda/plugin.h"

namespace octavo {

struct CudaDevice {
  int index;  // among all that the driver shows
  std::string name;
  int compute_major, compute_minor;
  int multiprocessors;
  std::uint64_t memory_bytes;
  std::string unusable;  // why it is not used; empty: it can be
};

struct CudaStatus {
  bool available = false;
  int driver_version = 0;        // 13000: CUDA 13.0; 0: not known
  std::string reason;            // why CUDA is not used; empty when it is
  std::vector<CudaDevice> info;  // all that the driver shows
};

// Where the plugin is; empty: there is none, for this reason. Counts until it is loaded.
void cuda_plugin_is(std::string path, std::string reason);
// Loads the plugin on the first call and keeps it for the process's life; devices are asked for every time.
CudaStatus cuda_status();
// The plugin's table; null where there is none, and why.
const octavo_cuda_api* cuda_api(std::string* reason);

}  // namespace octavo

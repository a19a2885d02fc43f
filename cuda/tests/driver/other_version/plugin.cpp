// A plugin of another version: everything that the addon may look at before it refuses it.
#include "plugin.h"

extern "C" __attribute__((visibility("default"))) const octavo_cuda_api* octavo_cuda_plugin(void) {
  static octavo_cuda_api api;
  api.abi_version = OCTAVO_CUDA_ABI_VERSION + 1;
  api.struct_bytes = sizeof(octavo_cuda_api);
  return &api;
}

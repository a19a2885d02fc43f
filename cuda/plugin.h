// The C ABI between the addon and the CUDA plugin (octavo_cuda.so). The plugin is a separate shared object so that the addon
// loads on machines without a driver; it exports one function, octavo_cuda_plugin(), that returns a table of functions.
// Only C types cross the border: the two sides may have been built by different compilers, each with its own C++ library.
//
// abi_version is read before anything else; the addon refuses a plugin of another version. A new function is appended to
// the table and raises the version.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OCTAVO_CUDA_ABI_VERSION 1
#define OCTAVO_CUDA_ENTRY "octavo_cuda_plugin"

// Every call that can fail returns 0, or the CUDA runtime's error number and says in `message` what happened.
typedef struct octavo_cuda_message {
  char text[256];
} octavo_cuda_message;

typedef struct octavo_cuda_device {
  char name[256];
  int32_t compute_major, compute_minor;  // compute capability: 9 and 0 for an H100
  int32_t multiprocessors;
  uint64_t memory_bytes;
} octavo_cuda_device;

typedef struct octavo_cuda_api {
  uint32_t abi_version;
  uint32_t struct_bytes;  // sizeof(octavo_cuda_api) as the plugin was compiled
  // *count: devices the driver shows this process (0 is no error).
  int32_t (*device_count)(int32_t* count, octavo_cuda_message* message);
  // What device `index` is; does not create a context on it.
  int32_t (*device_info)(int32_t index, octavo_cuda_device* out, octavo_cuda_message* message);
} octavo_cuda_api;

typedef const octavo_cuda_api* (*octavo_cuda_entry)(void);

#ifdef __cplusplus
}
#endif

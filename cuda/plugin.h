// The C ABI between the addon and the CUDA plugin (octavo_cuda.so). The plugin is a separate shared object so that the
// addon loads on machines without a driver; it exports one function, octavo_cuda_plugin(), that returns a table of
// functions. Only C types cross the border: the two sides may have been built by different compilers, each with its own
// C++ library.
//
// A device is memory and launches: what operations consist of is decided by the addon (cuda/ops), the plugin owns the
// kernels, the memory and the order in which things are done. Everything given to one context is done in order;
// a context may be used by several threads, one at a time.
//
// abi_version is read before anything else; the addon refuses a plugin of another version. A new function is appended
// to the table and raises the version.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OCTAVO_CUDA_ABI_VERSION 3
#define OCTAVO_CUDA_ENTRY "octavo_cuda_plugin"

// Every call that can fail returns 0, or an error number of the CUDA driver (below 1000) or one of these, and says in
// `message` what happened.
enum {
  OCTAVO_CUDA_OUT_OF_MEMORY = 2,
  OCTAVO_CUDA_NO_DEVICE = 100,
  OCTAVO_CUDA_INVALID_DEVICE = 101,
  OCTAVO_CUDA_NO_DRIVER = 1000,   // libcuda.so.1 is missing, or too old
  OCTAVO_CUDA_BAD_LAUNCH = 1001,  // a launch that this device cannot do, or a kernel that the plugin has not
};
typedef struct octavo_cuda_message {
  char text[256];
} octavo_cuda_message;

typedef struct octavo_cuda_device {
  char name[256];
  int32_t compute_major, compute_minor;  // compute capability: 9 and 0 for an H100
  int32_t multiprocessors;
  int32_t driver_version;  // 13000: CUDA 13.0
  uint64_t memory_bytes;
} octavo_cuda_device;

typedef struct octavo_cuda_options {
  uint64_t staging_bytes;  // of pinned memory that transfers go through; 0: 8 MiB
} octavo_cuda_options;

// What device memory is for; each kind comes from blocks of its own.
enum { OCTAVO_CUDA_WEIGHTS = 0, OCTAVO_CUDA_KV = 1, OCTAVO_CUDA_SCRATCH = 2 };

typedef struct octavo_cuda_memory {
  uint64_t free_bytes, total_bytes;  // of the device, now
  uint64_t used_bytes[3];            // of each kind
  uint64_t staging_bytes;
} octavo_cuda_memory;

// As octavo::cuda::Launch of cuda/ops/launch.h, whose layout it has.
typedef struct octavo_cuda_launch {
  const char* kernel;
  uint32_t grid[3], block[3];
  uint32_t shared;
#ifdef __cplusplus
  alignas(16)
#else
  _Alignas(16)
#endif
      unsigned char params[1024];
  uint32_t params_bytes;
} octavo_cuda_launch;

typedef struct octavo_cuda_context octavo_cuda_context;
typedef struct octavo_cuda_event octavo_cuda_event;
typedef struct octavo_cuda_graph octavo_cuda_graph;

typedef struct octavo_cuda_api {
  uint32_t abi_version;
  uint32_t struct_bytes;  // sizeof(octavo_cuda_api) as the plugin was compiled
  // *count: devices the driver shows this process (0 is no error).
  int32_t (*device_count)(int32_t* count, octavo_cuda_message* message);
  // What device `index` is; does not create a context on it.
  int32_t (*device_info)(int32_t index, octavo_cuda_device* out, octavo_cuda_message* message);

  // options: null for none.
  int32_t (*open)(int32_t index, const octavo_cuda_options* options, octavo_cuda_context** out,
                  octavo_cuda_message* message);
  // Gives back everything that is left. Never fails: a device that is lost is left.
  void (*close)(octavo_cuda_context* context);
  int32_t (*memory_info)(octavo_cuda_context* context, octavo_cuda_memory* out, octavo_cuda_message* message);
  // Whether there is a kernel of this name: 1 or 0.
  int32_t (*has_kernel)(octavo_cuda_context* context, const char* kernel);

  // Device memory of one kind, aligned to 256 bytes, not zeroed.
  int32_t (*allocate)(octavo_cuda_context* context, int32_t kind, uint64_t bytes, uint64_t* address,
                      octavo_cuda_message* message);
  void (*release)(octavo_cuda_context* context, uint64_t address);

  // `from` may be changed when the call returns; it may be any memory of the host.
  int32_t (*upload)(octavo_cuda_context* context, uint64_t to, const void* from, uint64_t bytes,
                    octavo_cuda_message* message);
  // Waits for what was given before.
  int32_t (*download)(octavo_cuda_context* context, void* to, uint64_t from, uint64_t bytes,
                      octavo_cuda_message* message);
  int32_t (*fill)(octavo_cuda_context* context, uint64_t to, uint8_t value, uint64_t bytes,
                  octavo_cuda_message* message);
  // Launches are checked against the limits of the device before any of them is given to it.
  int32_t (*run)(octavo_cuda_context* context, const octavo_cuda_launch* launches, uint64_t count,
                 octavo_cuda_message* message);
  int32_t (*wait)(octavo_cuda_context* context, octavo_cuda_message* message);

  // Steps: nothing below waits for the device but event_wait and what gives back.
  // Pinned memory of the host, and copies out of it and into it: it is the device's until an event behind them has come.
  int32_t (*pin)(octavo_cuda_context* context, uint64_t bytes, void** memory, octavo_cuda_message* message);
  void (*unpin)(octavo_cuda_context* context, void* memory);
  int32_t (*copy_in)(octavo_cuda_context* context, uint64_t to, const void* pinned, uint64_t bytes,
                     octavo_cuda_message* message);
  int32_t (*copy_out)(octavo_cuda_context* context, void* pinned, uint64_t from, uint64_t bytes,
                      octavo_cuda_message* message);
  // A place in the order of things given. Other threads may use the context while one waits.
  int32_t (*event_make)(octavo_cuda_context* context, octavo_cuda_event** out, octavo_cuda_message* message);
  int32_t (*event_record)(octavo_cuda_context* context, octavo_cuda_event* event, octavo_cuda_message* message);
  int32_t (*event_wait)(octavo_cuda_context* context, octavo_cuda_event* event, octavo_cuda_message* message);
  void (*event_release)(octavo_cuda_context* context, octavo_cuda_event* event);
  // Launches that are given to the device by one call, as often as wanted. What they read and write lies where it lay.
  int32_t (*graph_make)(octavo_cuda_context* context, const octavo_cuda_launch* launches, uint64_t count,
                        octavo_cuda_graph** out, octavo_cuda_message* message);
  int32_t (*graph_run)(octavo_cuda_context* context, octavo_cuda_graph* graph, octavo_cuda_message* message);
  void (*graph_release)(octavo_cuda_context* context, octavo_cuda_graph* graph);
} octavo_cuda_api;

typedef const octavo_cuda_api* (*octavo_cuda_entry)(void);

#ifdef __cplusplus
}
#endif

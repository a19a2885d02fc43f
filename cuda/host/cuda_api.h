// The part of NVIDIA's driver API that octavo uses: types and numbers, so that the plugin and the driver of our own
// (cuda/fake) are built without the CUDA toolkit. cuda/tests/driver holds them against <cuda.h> where there is one.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {

typedef int CUresult;
typedef int CUdevice;
typedef std::uint64_t CUdeviceptr;
typedef struct CUctx_st* CUcontext;
typedef struct CUmod_st* CUmodule;
typedef struct CUfunc_st* CUfunction;
typedef struct CUstream_st* CUstream;
typedef struct CUevent_st* CUevent;
typedef struct CUgraph_st* CUgraph;
typedef struct CUgraphExec_st* CUgraphExec;

enum : CUresult {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_DEINITIALIZED = 4,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_ECC_UNCORRECTABLE = 214,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
};

enum : int {
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_PCI_BUS_ID = 33,
  CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID = 34,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};
enum : int { CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
enum : unsigned {
  CU_CTX_SCHED_BLOCKING_SYNC = 4,
  CU_STREAM_NON_BLOCKING = 1,
  CU_EVENT_BLOCKING_SYNC = 1,
  CU_EVENT_DISABLE_TIMING = 2,
  CU_MEMHOSTALLOC_PORTABLE = 1,
};
enum : int {
  CU_STREAM_CAPTURE_MODE_GLOBAL = 0,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
  CU_STREAM_CAPTURE_MODE_RELAXED = 2
};
}

// X(name of the entry, parameters): every function that is looked up, with the version that <cuda.h> would give it.
#define OCTAVO_DRIVER_FUNCTIONS(X)                                                                         \
  X(cuInit, (unsigned flags))                                                                              \
  X(cuDriverGetVersion, (int* version))                                                                    \
  X(cuGetErrorName, (CUresult error, const char** text))                                                   \
  X(cuGetErrorString, (CUresult error, const char** text))                                                 \
  X(cuDeviceGetCount, (int* count))                                                                        \
  X(cuDeviceGet, (CUdevice * device, int ordinal))                                                         \
  X(cuDeviceGetName, (char* name, int size, CUdevice device))                                              \
  X(cuDeviceGetAttribute, (int* value, int attribute, CUdevice device))                                    \
  X(cuDeviceTotalMem_v2, (std::size_t * bytes, CUdevice device))                                           \
  X(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                                      \
  X(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                                       \
  X(cuCtxSetCurrent, (CUcontext context))                                                                  \
  X(cuCtxGetCurrent, (CUcontext * context))                                                                \
  X(cuMemGetInfo_v2, (std::size_t * free, std::size_t * total))                                            \
  X(cuModuleLoadData, (CUmodule * module, const void* image))                                              \
  X(cuModuleUnload, (CUmodule module))                                                                     \
  X(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char* name))                       \
  X(cuFuncSetAttribute, (CUfunction function, int attribute, int value))                                   \
  X(cuFuncGetAttribute, (int* value, int attribute, CUfunction function))                                  \
  X(cuMemAlloc_v2, (CUdeviceptr * address, std::size_t bytes))                                             \
  X(cuMemFree_v2, (CUdeviceptr address))                                                                   \
  X(cuMemHostAlloc, (void** address, std::size_t bytes, unsigned flags))                                   \
  X(cuMemFreeHost, (void* address))                                                                        \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream))          \
  X(cuMemcpyDtoHAsync_v2, (void* to, CUdeviceptr from, std::size_t bytes, CUstream stream))                \
  X(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream))          \
  X(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream))            \
  X(cuStreamCreate, (CUstream * stream, unsigned flags))                                                   \
  X(cuStreamDestroy_v2, (CUstream stream))                                                                 \
  X(cuStreamSynchronize, (CUstream stream))                                                                \
  X(cuStreamQuery, (CUstream stream))                                                                      \
  X(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                                   \
  X(cuStreamBeginCapture_v2, (CUstream stream, int mode))                                                  \
  X(cuStreamEndCapture, (CUstream stream, CUgraph * graph))                                                \
  X(cuEventCreate, (CUevent * event, unsigned flags))                                                      \
  X(cuEventDestroy_v2, (CUevent event))                                                                    \
  X(cuEventRecord, (CUevent event, CUstream stream))                                                       \
  X(cuEventSynchronize, (CUevent event))                                                                   \
  X(cuEventQuery, (CUevent event))                                                                         \
  X(cuLaunchKernel, (CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, \
                     unsigned bz, unsigned shared, CUstream stream, void** params, void** extra))          \
  X(cuGraphInstantiateWithFlags, (CUgraphExec * exec, CUgraph graph, unsigned long long flags))            \
  X(cuGraphLaunch, (CUgraphExec exec, CUstream stream))                                                    \
  X(cuGraphExecDestroy, (CUgraphExec exec))                                                                \
  X(cuGraphDestroy, (CUgraph graph))

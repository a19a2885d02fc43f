// Devices, contexts, modules and functions.
#include <cstring>
#include <tuple>

#include "fatbin.h"
#include "state.h"

using namespace octavo::fake;
namespace ptx = octavo::ptx;

namespace {
// Bytes of shared memory that a block may have on request, by capability. (CUDA C++ Programming Guide, table of
// compute capabilities.)
int most_shared(const Device& d) {
  const int c = d.major * 10 + d.minor;
  if (c == 80 || c == 87) return 163 * 1024;
  if (c == 86 || c == 89 || c >= 120) return 99 * 1024;
  if (c >= 90) return 227 * 1024;
  return c >= 75 ? 64 * 1024 : 48 * 1024;
}
// A program opens its images again and again: what they hold is kept, by their place and their beginning.
std::shared_ptr<ptx::Listing> listing_of(const void* image, int capability, std::string* why) {
  static std::map<std::tuple<const void*, int, std::string>, std::shared_ptr<ptx::Listing>> known;
  auto& listing = known[{image, capability, std::string(static_cast<const char*>(image), 96)}];
  if (listing) return listing;
  std::string text = ptx_of_fatbin(image, capability, why);
  if (!text.empty()) listing = std::make_shared<ptx::Listing>(std::move(text));
  return listing;
}
Device* device_at(CUdevice device) {
  auto& devices = state().devices;
  return device >= 0 && static_cast<std::size_t>(device) < devices.size()
             ? devices[static_cast<std::size_t>(device)].get()
             : nullptr;
}
}  // namespace

OCTAVO_ENTRY cuInit(unsigned flags) {
  const Call call("cuInit", Call::plain, false);
  if (call.failed()) return call.error();
  if (flags) return call.broken("flags must be 0");
  if (state().devices.empty()) return CUDA_ERROR_NO_DEVICE;
  state().initialised = true;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuDriverGetVersion(int* version) {
  const Call call("cuDriverGetVersion", Call::plain, false);
  *version = state().driver_version;
  return call.error();
}
OCTAVO_ENTRY cuGetErrorName(CUresult error, const char** text) {
  static const std::map<CUresult, const char*> names = {{0, "CUDA_SUCCESS"},
                                                        {1, "CUDA_ERROR_INVALID_VALUE"},
                                                        {2, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                        {3, "CUDA_ERROR_NOT_INITIALIZED"},
                                                        {100, "CUDA_ERROR_NO_DEVICE"},
                                                        {101, "CUDA_ERROR_INVALID_DEVICE"},
                                                        {200, "CUDA_ERROR_INVALID_IMAGE"},
                                                        {201, "CUDA_ERROR_INVALID_CONTEXT"},
                                                        {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                                                        {214, "CUDA_ERROR_ECC_UNCORRECTABLE"},
                                                        {218, "CUDA_ERROR_INVALID_PTX"},
                                                        {400, "CUDA_ERROR_INVALID_HANDLE"},
                                                        {500, "CUDA_ERROR_NOT_FOUND"},
                                                        {600, "CUDA_ERROR_NOT_READY"},
                                                        {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                        {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
                                                        {719, "CUDA_ERROR_LAUNCH_FAILED"},
                                                        {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}};
  const auto found = names.find(error);
  *text = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuGetErrorString(CUresult, const char** text) {
  *text = "from the driver of octavo's tests";
  return CUDA_SUCCESS;
}

OCTAVO_ENTRY cuDeviceGetCount(int* count) {
  const Call call("cuDeviceGetCount", Call::plain, false);
  if (call.failed()) return call.error();
  if (!state().initialised) return call.broken("before cuInit", CUDA_ERROR_NOT_INITIALIZED);
  *count = static_cast<int>(state().devices.size());
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuDeviceGet(CUdevice* device, int ordinal) {
  const Call call("cuDeviceGet", Call::plain, false);
  if (call.failed()) return call.error();
  if (!device_at(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuDeviceGetName(char* name, int size, CUdevice device) {
  const Call call("cuDeviceGetName", Call::plain, false);
  if (call.failed()) return call.error();
  if (!device_at(device)) return call.broken("no such device", CUDA_ERROR_INVALID_DEVICE);
  std::snprintf(name, static_cast<std::size_t>(size), "%s", device_at(device)->name.c_str());
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuDeviceGetAttribute(int* value, int attribute, CUdevice device) {
  const Call call("cuDeviceGetAttribute", Call::plain, false);
  if (call.failed()) return call.error();
  const Device* d = device_at(device);
  if (!d) return call.broken("no such device", CUDA_ERROR_INVALID_DEVICE);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = 1024;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      *value = 48 * 1024;
      break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = d->multiprocessors;
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
      *value = 16 + device;
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
      *value = 0;
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = d->major;
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = d->minor;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = most_shared(*d);
      break;
    default:
      return call.broken("attribute " + std::to_string(attribute) + " is not known here");
  }
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  const Call call("cuDeviceTotalMem", Call::plain, false);
  if (call.failed()) return call.error();
  if (!device_at(device)) return call.broken("no such device", CUDA_ERROR_INVALID_DEVICE);
  *bytes = device_at(device)->memory_bytes;
  return CUDA_SUCCESS;
}

OCTAVO_ENTRY cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  const Call call("cuDevicePrimaryCtxRetain", Call::plain, false);
  if (call.failed()) return call.error();
  Device* d = device_at(device);
  if (!d) return call.broken("no such device", CUDA_ERROR_INVALID_DEVICE);
  d->context.device = device;
  ++d->retained;
  *context = &d->context;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  const Call call("cuDevicePrimaryCtxRelease", Call::gives_back, false);
  Device* d = device_at(device);
  if (!d || d->retained == 0) return call.broken("the context was not retained", CUDA_ERROR_INVALID_CONTEXT);
  if (--d->retained == 0) {
    // The driver destroys with the context what lives in it. Octavo is to have given it back before.
    for (const CUstream stream : state().streams) {
      if (stream->device == device) return call.broken("a stream outlives its context");
    }
    if (!d->allocations.empty())
      return call.broken(std::to_string(d->allocations.size()) + " allocations outlive their context");
    for (const CUmodule module : state().modules) {
      if (module->device == device) return call.broken("a module outlives its context");
    }
  }
  return call.error();
}
OCTAVO_ENTRY cuCtxSetCurrent(CUcontext context) {
  const Call call("cuCtxSetCurrent", Call::plain, false);
  if (call.failed()) return call.error();
  if (context && state().devices[static_cast<std::size_t>(context->device)]->retained == 0)
    return call.broken("the context has been released", CUDA_ERROR_INVALID_CONTEXT);
  current() = context;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuCtxGetCurrent(CUcontext* context) {
  const Call call("cuCtxGetCurrent", Call::plain, false);
  if (call.failed()) return call.error();
  *context = current();
  return CUDA_SUCCESS;
}

OCTAVO_ENTRY cuModuleLoadData(CUmodule* module, const void* image) {
  const Call call("cuModuleLoadData");
  CUresult error;
  if (call.failed()) return call.error();
  if (call.illegal_in_capture(&error)) return error;
  Device& d = call.device();
  std::uint32_t magic;
  std::memcpy(&magic, image, sizeof magic);
  std::string why;
  try {
    const auto listing = magic == fatbin_magic ? listing_of(image, d.major * 10 + d.minor, &why)
                                               : std::make_shared<ptx::Listing>(static_cast<const char*>(image));
    if (!listing) {
      std::snprintf(state().report.message, sizeof state().report.message, "%s", why.c_str());
      return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    auto made = std::make_unique<CUmod_st>();
    made->device = current()->device;
    made->module = std::make_unique<ptx::Module>(listing, d.memory);
    if (made->module->target() > d.major * 10 + d.minor) return CUDA_ERROR_INVALID_PTX;
    *module = made.release();
    state().modules.insert(*module);
  } catch (const ptx::PtxError& e) {
    std::snprintf(state().report.message, sizeof state().report.message, "%s", e.what());
    std::fprintf(stderr, "fake CUDA: %s\n", e.what());
    return CUDA_ERROR_INVALID_PTX;
  }
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuModuleUnload(CUmodule module) {
  const Call call("cuModuleUnload", Call::gives_back);
  if (!state().modules.count(module))
    return call.broken("this is no module, or one that was unloaded", CUDA_ERROR_INVALID_HANDLE);
  for (const CUstream stream : state().streams) {
    if (!stream->queue.empty() && !state().sticky) return call.broken("unloaded while a stream has work");
  }
  state().modules.erase(module);
  delete module;
  return call.error();
}
OCTAVO_ENTRY cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  const Call call("cuModuleGetFunction");
  if (call.failed()) return call.error();
  if (!state().modules.count(module))
    return call.broken("this is no module, or one that was unloaded", CUDA_ERROR_INVALID_HANDLE);
  try {
    auto& entry = module->functions[name];
    if (!entry) {
      const ptx::Function* f = module->module->function(name);
      if (!f) {
        module->functions.erase(name);
        return CUDA_ERROR_NOT_FOUND;
      }
      entry.reset(new CUfunc_st{module, f, 48 * 1024 - static_cast<int>(f->shared_bytes)});
    }
    *function = entry.get();
  } catch (const ptx::PtxError& e) {
    module->functions.erase(name);
    std::snprintf(state().report.message, sizeof state().report.message, "%s: %s", name, e.what());
    std::fprintf(stderr, "fake CUDA: %s: %s\n", name, e.what());
    return CUDA_ERROR_INVALID_PTX;
  }
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  const Call call("cuFuncSetAttribute");
  if (call.failed()) return call.error();
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    return call.broken("an attribute that cannot be set");
  const int limit = most_shared(call.device()) - static_cast<int>(function->function->shared_bytes);
  if (value < 0 || value > limit) {
    return call.broken(function->function->name + ": " + std::to_string(value) +
                       " bytes of dynamic shared memory, this device allows " + std::to_string(limit));
  }
  function->most_dynamic_shared = value;
  return CUDA_SUCCESS;
}
OCTAVO_ENTRY cuFuncGetAttribute(int* value, int attribute, CUfunction function) {
  const Call call("cuFuncGetAttribute");
  if (call.failed()) return call.error();
  if (attribute == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)
    *value = static_cast<int>(function->function->shared_bytes);
  else if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    *value = function->most_dynamic_shared;
  else
    return call.broken("attribute " + std::to_string(attribute) + " is not known here");
  return CUDA_SUCCESS;
}

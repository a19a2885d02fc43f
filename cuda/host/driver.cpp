// See driver.h.
#include "driver.h"

#include <dlfcn.h>

#include <mutex>

#include "plugin.h"

namespace octavo::cuda {

namespace {

// Programs of one major version of CUDA want a driver that knows it.
constexpr int least_version = OCTAVO_CUDA_LEAST_DRIVER;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Driver load() {
  Driver d;
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Failure{OCTAVO_CUDA_NO_DRIVER, "no NVIDIA driver: " + std::string(dlerror())};
  const auto look_up = [&](const char* name) {
    void* symbol = dlsym(library, name);
    if (!symbol) throw Failure{OCTAVO_CUDA_NO_DRIVER, "the NVIDIA driver is too old: it has no " + std::string(name)};
    return symbol;
  };
#define OCTAVO_LOOK_UP(name, parameters) d.name = reinterpret_cast<decltype(d.name)>(look_up(#name));
  OCTAVO_DRIVER_FUNCTIONS(OCTAVO_LOOK_UP)
#undef OCTAVO_LOOK_UP
  if (d.cuDriverGetVersion(&d.version) == CUDA_SUCCESS && d.version < least_version) {
    throw Failure{OCTAVO_CUDA_NO_DRIVER, "the NVIDIA driver is too old: it knows CUDA " + version_text(d.version) +
                                             ", these kernels want " + version_text(least_version)};
  }
  return d;
}

}  // namespace

const Driver& driver() {
  static std::mutex lock;
  static const Driver* loaded = nullptr;
  const std::lock_guard guard(lock);
  // A driver that was missing may be there meanwhile.
  if (!loaded) loaded = new Driver(load());
  return *loaded;
}

bool initialise() {
  static std::mutex lock;
  static bool initialised = false;
  const std::lock_guard guard(lock);
  if (initialised) return true;
  const CUresult result = driver().cuInit(0);
  if (result == CUDA_ERROR_NO_DEVICE) return false;
  check(result, "cuInit");
  return initialised = true;
}

std::string describe(CUresult result) {
  const char *name = nullptr, *text = nullptr;
  driver().cuGetErrorName(result, &name);
  driver().cuGetErrorString(result, &text);
  return std::string(name ? name : "error " + std::to_string(result)) + (text ? ": " + std::string(text) : "");
}

void check(CUresult result, const char* function) {
  if (result != CUDA_SUCCESS) throw Failure{static_cast<int>(result), std::string(function) + ": " + describe(result)};
}

}  // namespace octavo::cuda

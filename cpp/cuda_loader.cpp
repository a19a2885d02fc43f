#include "cuda_loader.h"

#include <mutex>
#include <utility>

#include "os/os.h"

namespace octavo {

namespace {

// Devices below this compute capability have neither cp.async nor bf16 tensor cores; no kernel is compiled for them.
constexpr int least_compute_major = 8;

struct Plugin {
  const octavo_cuda_api* api = nullptr;
  std::string reason;
};

// What cuda_plugin_is was told.
struct Told {
  std::mutex lock;
  bool told = false;
  std::string path, reason;
};
Told& told() {
  static Told one;
  return one;
}

// The plugin's file; empty where there is none, and why.
std::string plugin_file(std::string* reason) {
  Told& from = told();
  const std::lock_guard guard(from.lock);
  if (from.told) {
    *reason = from.reason;
    return from.path;
  }
  if (const char* const named = os::environment("OCTAVO_CUDA_PLUGIN")) return named;
  const std::string folder = os::module_folder();
  if (folder.empty()) *reason = "the folder of this program is not known";
  return folder.empty() ? "" : folder + "/octavo_cuda.so";
}

Plugin load() {
  std::string reason;
  const std::string file = plugin_file(&reason);
  if (file.empty()) return {nullptr, reason};
  void* library = os::library_open(file, &reason);
  if (!library) return {nullptr, "the CUDA plugin cannot be loaded: " + reason};
  const auto entry = reinterpret_cast<octavo_cuda_entry>(os::library_symbol(library, OCTAVO_CUDA_ENTRY));
  if (!entry) return {nullptr, "octavo_cuda.so does not export " OCTAVO_CUDA_ENTRY};
  const octavo_cuda_api* api = entry();
  if (api->abi_version != OCTAVO_CUDA_ABI_VERSION || api->struct_bytes != sizeof(octavo_cuda_api)) {
    return {nullptr, "octavo_cuda.so has ABI version " + std::to_string(api->abi_version) + ", this addon wants " +
                         std::to_string(OCTAVO_CUDA_ABI_VERSION) + ": build both from the same source"};
  }
  return {api, ""};
}

const Plugin& plugin_here() {
  static const Plugin plugin = load();
  return plugin;
}

// A device that does not answer is one that cannot be used, and says nothing of the others. *reason: why a machine with
// this device alone has none.
CudaDevice describe(const octavo_cuda_api& api, std::int32_t index, int* driver_version, std::string* reason) {
  octavo_cuda_message message = {};
  octavo_cuda_device device = {};
  if (api.device_info(index, &device, &message)) {
    *reason = message.text;
    return {index, "GPU", 0, 0, 0, 0, message.text};
  }
  *driver_version = device.driver_version;
  const std::string least = std::to_string(least_compute_major) + ".0";
  const bool usable = device.compute_major >= least_compute_major;
  if (!usable) *reason = "no CUDA device has compute capability " + least + " or more";
  return {index,
          device.name,
          device.compute_major,
          device.compute_minor,
          device.multiprocessors,
          device.memory_bytes,
          usable ? "" : "its compute capability is below " + least};
}

}  // namespace

void cuda_plugin_is(std::string path, std::string reason) {
  Told& to = told();
  const std::lock_guard guard(to.lock);
  to.told = true;
  to.path = std::move(path), to.reason = std::move(reason);
}

const octavo_cuda_api* cuda_api(std::string* reason) {
  *reason = plugin_here().reason;
  return plugin_here().api;
}

CudaStatus cuda_status() {
  const Plugin& plugin = plugin_here();
  CudaStatus status;
  if (!plugin.api) {
    status.reason = plugin.reason;
    return status;
  }
  octavo_cuda_message message = {};
  std::int32_t count = 0;
  if (plugin.api->device_count(&count, &message)) {
    status.reason = message.text;
    return status;
  }
  if (count == 0) status.reason = "the driver shows no CUDA device";
  for (std::int32_t i = 0; i < count; ++i) {
    status.info.push_back(describe(*plugin.api, i, &status.driver_version, &status.reason));
    status.available = status.available || status.info.back().unusable.empty();
  }
  if (status.available) status.reason.clear();
  return status;
}

}  // namespace octavo

// See cuda_functions.h.
#include "cuda_functions.h"

#include "cuda/cuda_backend.h"
#include "cuda_loader.h"
#include "descriptions.h"
#include "model/device_needs.h"
#include "values.h"

namespace octavo::addon {

namespace {

// 13020 -> "13.2"
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Napi::Object device_object(Napi::Env env, const CudaDevice& device) {
  Napi::Object one = Napi::Object::New(env);
  one.Set("index", device.index);
  one.Set("name", device.name);
  one.Set("capability", std::to_string(device.compute_major) + "." + std::to_string(device.compute_minor));
  one.Set("multiprocessors", device.multiprocessors);
  one.Set("memoryBytes", static_cast<double>(device.memory_bytes));
  one.Set("unusable", device.unusable);
  return one;
}

}  // namespace

Napi::Value cuda_plugin(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const std::string path = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
    cuda_plugin_is(path, info[1].As<Napi::String>().Utf8Value());
    return env.Undefined();
  });
}

Napi::Value cuda_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const CudaStatus& status = cuda_status();
    Napi::Object out = Napi::Object::New(env);
    out.Set("available", status.available);
    out.Set("wholeSteps", cuda_runs_whole_steps);
    out.Set("driver", status.driver_version > 0 ? version_text(status.driver_version) : "");
    out.Set("reason", status.reason);
    const Napi::Array devices = Napi::Array::New(env, status.info.size());
    for (std::size_t i = 0; i < status.info.size(); ++i)
      devices.Set(static_cast<std::uint32_t>(i), device_object(env, status.info[i]));
    out.Set("info", devices);
    return out;
  });
}

Napi::Value cuda_needs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object wanted = object(info[1], "options");
    const int tokens = small(wanted.Get("maxStepTokens"), "maxStepTokens"),
              blocks = small(wanted.Get("kvBlocks"), "kvBlocks");
    if (tokens < 1) bad_argument("maxStepTokens", "1 or more");
    if (blocks < 0) bad_argument("kvBlocks", "0 or more");
    const DeviceNeeds needs =
        device_needs(model_desc(object(info[0], "desc")), kv_dtype(wanted.Get("kvDtype")), tokens, blocks);
    Napi::Object buffers = Napi::Object::New(env);
    for (const auto& [name, bytes] : needs.buffers) buffers.Set(name, static_cast<double>(bytes));
    Napi::Object out = Napi::Object::New(env);
    out.Set("weightBytes", static_cast<double>(needs.weights));
    out.Set("blockBytes", static_cast<double>(needs.kv_block));
    out.Set("buffers", buffers);
    out.Set("bufferBytes", static_cast<double>(needs.buffer_bytes));
    out.Set("pinnedBytes", static_cast<double>(needs.pinned));
    return out;
  });
}

}  // namespace octavo::addon

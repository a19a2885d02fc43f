// What lib/base/native.ts asks of CUDA besides a model that computes there: where the plugin is, which devices there are,
// and what a model would take of one.
#pragma once
#include <napi.h>

namespace octavo::addon {

Napi::Value cuda_plugin(const Napi::CallbackInfo& info);
Napi::Value cuda_info(const Napi::CallbackInfo& info);
Napi::Value cuda_needs(const Napi::CallbackInfo& info);

}  // namespace octavo::addon

// Plain objects of lib/native.ts as the structs they describe.
#pragma once
#include "model/model.h"
#include "values.h"

namespace octavo::addon {

ModelDesc model_desc(const Napi::Object& o);
SamplerParams sampler_params(const Napi::Object& o);
KvDtype kv_dtype(const Napi::Value& name);

}  // namespace octavo::addon

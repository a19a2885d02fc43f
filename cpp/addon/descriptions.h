// Plain objects of lib/native.ts as the structs they describe.
#pragma once
#include "model/model.h"
#include "step.h"
#include "values.h"

namespace octavo::addon {

ModelDesc model_desc(const Napi::Object& o);
SamplerParams sampler_params(const Napi::Object& o);
// segmentStride numbers: sequence, count, rows, mode, next.
Segment segment_of(const std::int32_t* s);
KvDtype kv_dtype(const Napi::Value& name);

}  // namespace octavo::addon

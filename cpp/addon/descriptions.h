// Plain objects of lib/base/native.ts as the structs they describe.
#pragma once
#include "grammar/matcher.h"
#include "model/model.h"
#include "step.h"
#include "values.h"

namespace octavo::addon {

ModelDesc model_desc(const Napi::Object& o);
SamplerParams sampler_params(const Napi::Object& o);
// segmentStride numbers: sequence, count, rows, mode, next.
Segment segment_of(const std::int32_t* s);
std::shared_ptr<const grammar::TokenTrie> token_trie(const Napi::Object& o);
std::shared_ptr<const grammar::Source> grammar_source(const Napi::Object& o);
KvDtype kv_dtype(const Napi::Value& name);

}  // namespace octavo::addon

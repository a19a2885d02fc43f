// native.ggufRead and native.ggufSynthesize.
#pragma once
#include <napi.h>

namespace octavo::addon {

// (path) -> GgufFile
Napi::Value gguf_read(const Napi::CallbackInfo& info);
// (path, metadata, tensors, seed, onTensor?)
Napi::Value gguf_synthesize(const Napi::CallbackInfo& info);

}  // namespace octavo::addon

// native.BytePairs: a vocabulary's merges (cpp/text/byte_pairs.h).
#pragma once
#include <napi.h>

namespace octavo::addon {

Napi::Function define_byte_pairs(Napi::Env env);

}  // namespace octavo::addon

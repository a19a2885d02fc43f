// native.BytePairs: a vocabulary's merges (cpp/text/byte_pairs.h); and what is asked of all its tokens (spelling.h, tokens.h).
#pragma once
#include <napi.h>

namespace octavo::addon {

Napi::Function define_byte_pairs(Napi::Env env);
// (tokens, types, spelling) -> {bytes, offsets, longest}
Napi::Value spell_tokens(const Napi::CallbackInfo& info);
// (given, types) -> the first that is no type, or -1
Napi::Value token_types(const Napi::CallbackInfo& info);
// (tokens, types) -> 1 for each that text may become
Napi::Value usable_tokens(const Napi::CallbackInfo& info);
// (texts, names) -> numbers of those that are one of the names
Napi::Value texts_among(const Napi::CallbackInfo& info);

}  // namespace octavo::addon

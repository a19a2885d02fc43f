// native.BytePairs: a vocabulary's merges (cpp/text/byte_pairs.h); native.spellTokens: the bytes of its tokens.
#pragma once
#include <napi.h>

namespace octavo::addon {

Napi::Function define_byte_pairs(Napi::Env env);
// (tokens, types, spelling) -> {bytes, offsets}
Napi::Value spell_tokens(const Napi::CallbackInfo& info);

}  // namespace octavo::addon

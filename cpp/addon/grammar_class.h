// A grammar by itself, without an engine: for tests, benchmarks and tools.
#pragma once
#include <napi.h>

namespace octavo::addon {

Napi::Function define_grammar(Napi::Env env);

}  // namespace octavo::addon

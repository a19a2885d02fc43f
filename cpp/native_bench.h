// The steps a host would submit for one request, driven from C++: what the engine costs without the API around it.
#pragma once
#include <cstdint>
#include <vector>

#include "engine.h"

namespace octavo {

struct BenchTimes {
  double prefill_seconds, decode_seconds;
};

// Prefills `prompt` (in chunks of max_step_tokens), then decodes `tokens` tokens one step at a time; frees the
// sequence. Throws out_of_memory when the pool is too small.
BenchTimes bench_decode(Engine& engine, const std::vector<std::int32_t>& prompt, int tokens, SamplerParams params);

}  // namespace octavo

// A recorded run of the engine, done again from C++: the same sequences, reservations and steps, without a scheduler,
// messages or text around them. What it takes is what the hardware and the kernels allow for these steps.
#pragma once
#include <cstdint>
#include <vector>

#include "engine.h"

namespace octavo {

// A record is a stream of int32: an operation's code and its numbers (lib/host/record/step-recorder.ts writes it).
//   create  [recorded id]                    match   [id, n, n tokens]      reserve [id, tokens]    truncate [id, length]
//   fork    [id, recorded id of the copy]    free    [id]                   sampler [id, index into samplers]
//   accept  [id, n, n tokens]
//   step    [segments, tokens, segments x (id, count, rows, score, next), tokens]
// Guesses that native drafters made stand in it as tokens of their step and in an `accept` after it.
enum class ReplayOp : std::int32_t { create, match, reserve, truncate, fork, free, sampler, step, accept };

struct ReplayTimes {
  double seconds;         // of everything
  double step_seconds;    // inside Engine::submit and Engine::wait
  std::int64_t steps, tokens;
};

// Throws invalid_argument for a stream that is no record, out_of_memory when a reservation fails that did not fail when
// recorded. Frees every sequence that the record leaves open.
ReplayTimes replay_steps(Engine& engine, const std::vector<std::int32_t>& record,
                         const std::vector<SamplerParams>& samplers);

}  // namespace octavo

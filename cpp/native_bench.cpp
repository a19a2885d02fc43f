#include "native_bench.h"

#include <algorithm>
#include <chrono>

#include "error.h"

namespace octavo {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// One step of one segment; the token drawn after it.
std::int32_t run_step(Engine& engine, int sequence, std::vector<std::int32_t> tokens, int rows) {
  const int count = static_cast<int>(tokens.size());
  if (!engine.kv().reserve(sequence, count))
    throw Error(Code::out_of_memory, "the KV pool is too small for the benchmark", {{"tokens", std::to_string(count)}});
  engine.submit({{{sequence, count, rows, false, -1}}, std::move(tokens)});
  if (!engine.wait()) throw Error(Code::interrupted, "the benchmark was interrupted");
  return rows > 0 ? engine.result().rows[0].token : -1;
}

struct SequenceGuard {
  Engine& engine;
  const int sequence;
  ~SequenceGuard() { engine.release(sequence); }
};

}  // namespace

BenchTimes bench_decode(Engine& engine, const std::vector<std::int32_t>& prompt, int tokens, SamplerParams params) {
  if (prompt.empty()) throw Error(Code::invalid_argument, "an empty prompt", {{"expected", "at least one token"}});
  params.prompt_length = static_cast<int>(prompt.size());
  const SequenceGuard guard{engine, engine.kv().create("")};
  engine.set_sampler(guard.sequence, params);
  const std::size_t chunk = static_cast<std::size_t>(engine.options().max_step_tokens);
  const double start = now();
  std::int32_t token = -1;
  for (std::size_t from = 0; from < prompt.size(); from += chunk) {
    const std::size_t end = std::min(prompt.size(), from + chunk);
    token = run_step(
        engine, guard.sequence,
        {prompt.begin() + static_cast<std::ptrdiff_t>(from), prompt.begin() + static_cast<std::ptrdiff_t>(end)},
        end == prompt.size() ? 1 : 0);
  }
  const double prefilled = now();
  for (int i = 1; i < tokens; ++i) token = run_step(engine, guard.sequence, {token}, 1);
  return {prefilled - start, now() - prefilled};
}

}  // namespace octavo

// A whole model of an 8B shape (Llama 3.1, q4_0, random weights) through the engine: its greedy tokens are those of the CPU,
// then what a step takes for 1, 16 and 64 sequences, in runs as the host asks for them, beside the bytes that it has to read.
#include <chrono>
#include <thread>

#include "commands.h"
#include "cuda/cuda_backend.h"
#include "engine.h"
#include "model/rope.h"
#include "report.h"

namespace octavo::bench {

namespace {

ModelDesc shape() {
  const bool tiny = options.tiny;
  ModelDesc d{};
  d.architecture = "llama";
  d.layers = tiny ? 2 : 32, d.width = tiny ? 64 : 4096, d.heads = tiny ? 4 : 32, d.kv_heads = tiny ? 1 : 8;
  d.head_size = tiny ? 16 : 128, d.feed_forward = tiny ? 96 : 14336, d.vocabulary = tiny ? 320 : 128256;
  d.norm_eps = 1e-5f, d.activation = Activation::silu, d.rope_style = RopeStyle::interleaved;
  d.rope_dims = d.head_size, d.rope_frequencies = rope_frequencies(d.head_size, 500000.0);
  d.rope_magnitude = 1, d.seed = 1;
  std::uint64_t number = 0;
  const auto add = [&](const std::string& role, std::int64_t rows, std::int64_t width, Format format) {
    d.tensors[role] = {-1, number++, 0, format, rows, width};
  };
  const int attended = d.heads * d.head_size, keys = d.kv_heads * d.head_size;
  add("embed", d.vocabulary, d.width, Format::q4_0), add("output", d.vocabulary, d.width, Format::q4_0);
  add("outputNorm", 1, d.width, Format::f32);
  for (int i = 0; i < d.layers; ++i) {
    const std::string layer = "layer." + std::to_string(i) + ".";
    for (const char* norm : {"attnNorm", "ffnNorm"}) add(layer + norm, 1, d.width, Format::f32);
    add(layer + "q", attended, d.width, Format::q4_0), add(layer + "attnOut", d.width, attended, Format::q4_0);
    for (const char* half : {"k", "v"}) add(layer + half, keys, d.width, Format::q4_0);
    for (const char* half : {"gate", "up"}) add(layer + half, d.feed_forward, d.width, Format::q4_0);
    add(layer + "down", d.width, d.feed_forward, Format::q4_0);
  }
  return d;
}

int cpus() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::shared_ptr<Model> load(std::unique_ptr<Backend> backend, const char* name) {
  const double start = now();
  auto model = std::make_shared<Model>(shape(), std::move(backend));
  for (int i = 0; i < model->tensor_count(); ++i) model->load_tensor(i);
  model->finish_load();
  figure(std::string("model.load.") + name, now() - start, "s, random weights are made meanwhile");
  return model;
}

// Sequences of `context` tokens each, which draw greedily.
class Batch {
 public:
  Batch(Engine& engine, int sequences, int context, int room) : engine_(engine) {
    const int step = engine.options().max_step_tokens, vocabulary = engine.model().desc().vocabulary;
    for (int s = 0; s < sequences; ++s) {
      const int sequence = engine.create("");
      SamplerParams params;
      params.temperature = 0;
      engine.set_sampler(sequence, params);
      if (!engine.kv().reserve(sequence, context + room)) fail("the pool is too small for this benchmark");
      for (int at = 0; at < context; at += step) {
        const int count = std::min(step, context - at);
        Step prompt{{{sequence, count, at + count == context ? 1 : 0, false, -1}}, {}};
        for (int i = 0; i < count; ++i) prompt.tokens.push_back(((at + i) * 7919 + 31 * s) % vocabulary);
        engine.submit(std::move(prompt));
        if (!engine.wait()) fail("a step was interrupted");
      }
      step_.segments.push_back({sequence, 1, 1, false, -1});
      step_.tokens.push_back(engine.result().rows[0].token);
    }
  }
  ~Batch() {
    for (const Segment& segment : step_.segments) engine_.release(segment.sequence);
  }
  const std::vector<std::int32_t>& tokens() const { return step_.tokens; }
  // A run of steps; the tokens of each, one behind the other.
  std::vector<std::int32_t> run(int steps) {
    engine_.submit(step_);
    if (!engine_.wait({steps, 1e9})) fail("a run was interrupted");
    std::vector<std::int32_t> drawn;
    for (const SampleRow& row : engine_.result().rows) drawn.push_back(row.token);
    if (drawn.size() != step_.tokens.size() * static_cast<std::size_t>(steps)) fail("a run ended early");
    std::copy(drawn.end() - static_cast<std::ptrdiff_t>(step_.tokens.size()), drawn.end(), step_.tokens.begin());
    return drawn;
  }
  // Steps one by one; in_flight: so many are submitted before the first has come back. Their tokens.
  std::vector<std::int32_t> one_by_one(int steps, int in_flight) {
    std::vector<std::int32_t> drawn;
    for (int submitted = 0, waited = 0; waited < steps; ++waited) {
      for (; submitted < std::min(steps, waited + in_flight); ++submitted) {
        Step step = step_;
        for (std::size_t i = 0; submitted > waited && i < step.tokens.size(); ++i)
          step.tokens[i] = -1 - static_cast<std::int32_t>(i);
        engine_.submit(std::move(step));
      }
      if (!engine_.wait()) fail("a step was interrupted");
      for (std::size_t i = 0; i < step_.tokens.size(); ++i) step_.tokens[i] = engine_.result().rows[i].token;
      drawn.insert(drawn.end(), step_.tokens.begin(), step_.tokens.end());
    }
    return drawn;
  }
  // A step of `rows` guesses a sequence, none of which is kept.
  void verify(int rows) {
    Step step;
    for (std::size_t s = 0; s < step_.segments.size(); ++s) {
      step.segments.push_back({step_.segments[s].sequence, rows, rows, false, -1});
      for (int i = 0; i < rows; ++i) step.tokens.push_back(step_.tokens[s]);
    }
    engine_.submit(std::move(step));
    if (!engine_.wait()) fail("a step was interrupted");
  }

 private:
  Engine& engine_;
  Step step_;
};

EngineOptions engine_options(int blocks, KvDtype dtype) {
  return {cpus(), blocks, options.tiny ? 16 : 1024, false, dtype};
}

void compare_tokens(const std::shared_ptr<Model>& gpu) {
  const int wanted = options.tiny ? 4 : 128, prompt = options.tiny ? 5 : 37;
  const auto answer = [&](std::shared_ptr<const Model> model, KvDtype dtype) {
    Engine engine(std::move(model), engine_options(64, dtype));
    Batch batch(engine, 1, prompt, wanted + 16);
    std::vector<std::int32_t> tokens = batch.tokens();
    while (static_cast<int>(tokens.size()) < wanted)
      for (const std::int32_t token : batch.run(std::min(16, wanted - static_cast<int>(tokens.size()))))
        tokens.push_back(token);
    return tokens;
  };
  const std::shared_ptr<Model> cpu = load(make_cpu_backend(nullptr), "cpu");
  for (const KvDtype dtype : {KvDtype::int8, KvDtype::f16}) {
    const auto expected = answer(cpu, dtype), found = answer(gpu, dtype);
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (expected[i] != found[i])
        fail("token " + std::to_string(i) + " of a greedy answer (" + traits(dtype).name + ") is " +
             std::to_string(found[i]) + ", on the CPU " + std::to_string(expected[i]));
    say("equal: " + std::to_string(expected.size()) + " greedy tokens, " + traits(dtype).name);
  }
  figure("model.tokens", wanted * 2, "greedy tokens, the CPU's");
}

double step_seconds(Batch& batch, int steps) {
  return median_seconds([&] { batch.run(steps); }) / steps;
}

void time_batch(Engine& engine, int sequences, int context, double read) {
  const int steps = options.tiny ? 2 : 16;
  Batch batch(engine, sequences, context, 20 * steps);
  const double seconds = step_seconds(batch, steps);
  const double kv = static_cast<double>(engine.block_bytes()) / 16 * context * sequences;
  const double bytes = static_cast<double>(engine.model().resident_bytes()) + kv;
  const std::string name = "model." + std::to_string(sequences);
  figure(name + ".us", seconds * 1e6, "us a step");
  figure(name + ".tokensPerSecond", sequences / seconds, "tokens/s");
  figure(name + ".share", bytes / read / seconds, "of R");
  if (sequences != 1) return;
  figure("model.verify8.us", median_seconds([&] { batch.verify(8); }) * 1e6, "us a step of 8 rows");
  figure("model.verify1.us", median_seconds([&] { batch.verify(1); }) * 1e6, "us a step that is not part of a run");
}

// Steps that are no run, with one and with two in flight.
void time_in_flight(Engine& engine, int sequences, int context) {
  const int steps = options.tiny ? 2 : 16;
  std::vector<std::int32_t> drawn[2];
  for (const int in_flight : {1, 2}) {
    Batch batch(engine, sequences, context, 20 * steps);
    drawn[in_flight - 1] = batch.one_by_one(steps, in_flight);
    const double seconds = median_seconds([&] { batch.one_by_one(steps, in_flight); }) / steps;
    figure("model." + std::to_string(sequences) + ".inFlight" + std::to_string(in_flight) + ".us", seconds * 1e6,
           "us a step that is not part of a run");
  }
  if (drawn[0] != drawn[1]) fail("two steps in flight draw other tokens than one by one");
}

}  // namespace

int run_model() {
  const double read = known_figure("limit.read") * 1e9;
  if (read == 0) fail("limit.read is not in figures.tsv: run `limits` first");
  const std::shared_ptr<Model> gpu = load(make_cuda_backend(0), "cuda");
  compare_tokens(gpu);
  const int context = options.tiny ? 17 : 1024;
  Engine engine(gpu, engine_options(options.tiny ? 40 : 64 * (context + 400) / 16, KvDtype::int8));
  for (const int sequences : options.tiny ? std::vector<int>{1, 3} : std::vector<int>{1, 16, 64})
    time_batch(engine, sequences, context, read);
  for (const int sequences : options.tiny ? std::vector<int>{2} : std::vector<int>{1, 16})
    time_in_flight(engine, sequences, context);
  return 0;
}

}  // namespace octavo::bench

// Where a step's time goes: whole steps of a model shape with random weights, every operation timed. Prints one JSON
// line per operation and one per step, with the step's share of what this machine's limits allow (bytes streamed once a
// step / read bandwidth, integer operations / (0.8 x int8 peak, or half of the peak of matrix registers), whichever
// takes longer).
//
//   octavo_forward [--shape 135m|1.1b] [--sequences N] [--context C] [--tokens T] [--threads N]
//                  [--steps N] [--isa NAME] [--kv TYPE] [--paced]
//
// N sequences with C tokens in the cache each compute T more; the last token of each is drawn (every other one
// sampled). --paced: for each line of the standard input computes the steps and prints their median and best in us, so
// that two builds can be run in turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "cpu/limits.h"
#include "engine.h"
#include "model/rope.h"
#include "tests/forwarding_backend.h"

namespace {

using namespace octavo;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Shape {
  const char* name;
  int layers, width, heads, kv_heads, feed_forward, vocabulary;
  bool tied;
};
constexpr Shape shapes[] = {{"135m", 30, 576, 9, 3, 1536, 49152, true}, {"1.1b", 22, 2048, 32, 4, 5632, 32000, false}};
constexpr int head_size = 64;

ModelDesc describe(const Shape& s, Format format) {
  ModelDesc d{};
  d.architecture = "llama";
  d.layers = s.layers, d.width = s.width, d.heads = s.heads, d.kv_heads = s.kv_heads, d.head_size = head_size;
  d.feed_forward = s.feed_forward, d.vocabulary = s.vocabulary;
  d.norm_eps = 1e-5f, d.activation = Activation::silu, d.rope_style = RopeStyle::interleaved, d.rope_dims = head_size;
  d.rope_frequencies = rope_frequencies(head_size, 10000.0);
  d.rope_magnitude = 1, d.seed = 1;
  std::uint64_t number = 0;
  const auto add = [&](const std::string& role, std::int64_t rows, std::int64_t width, Format f) {
    d.tensors[role] = {-1, number++, 0, f, rows, width};
  };
  add("embed", s.vocabulary, s.width, format);
  if (!s.tied) add("output", s.vocabulary, s.width, format);
  add("outputNorm", 1, s.width, Format::f32);
  for (int i = 0; i < s.layers; ++i) {
    const std::string p = "layer." + std::to_string(i) + ".";
    add(p + "attnNorm", 1, s.width, Format::f32), add(p + "ffnNorm", 1, s.width, Format::f32);
    add(p + "q", s.heads * head_size, s.width, format), add(p + "attnOut", s.width, s.heads * head_size, format);
    add(p + "k", s.kv_heads * head_size, s.width, format), add(p + "v", s.kv_heads * head_size, s.width, format);
    add(p + "gate", s.feed_forward, s.width, format), add(p + "up", s.feed_forward, s.width, format);
    add(p + "down", s.width, s.feed_forward, format);
  }
  return d;
}

class TimedBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  std::map<std::string, double>* seconds = nullptr;

  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    timed("embed", [&] { ForwardingBackend::embed(out, table, ids, T); });
  }
  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int h, int n) override {
    timed("norm", [&] { ForwardingBackend::norm(out, out_ld, x, x_ld, w, eps, T, h, n); });
  }
  void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
              Epilogue e) override {
    timed("linear " + std::to_string(w.n) + "x" + std::to_string(w.k),
          [&] { ForwardingBackend::linear(out, out_ld, in, w, bias, T, e); });
  }
  void feed_forward(float* out, const LinearInput& in, const FeedForward& w, float* between, int T) override {
    timed("feed_forward", [&] { ForwardingBackend::feed_forward(out, in, w, between, T); });
  }
  void rope(float* x, int ld, int h, int size, const float* cos_sin, int dims, RopeStyle style, int T) override {
    timed("rope", [&] { ForwardingBackend::rope(x, ld, h, size, cos_sin, dims, style, T); });
  }
  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    timed("kv_write", [&] { ForwardingBackend::kv_write(kv, layer, q, heads, k, v, ld, slots, T); });
  }
  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    timed("attention", [&] { ForwardingBackend::attention(out, q, q_ld, kv, layer, plan, params); });
  }
  void attend(float* out, const NewRows& rows, KvStore& kv, int layer, const AttentionPlan& plan,
              const AttentionParams& params) override {
    timed("attend", [&] { ForwardingBackend::attend(out, rows, kv, layer, plan, params); });
  }
  void gate(float* out, const float* gate_up, int F, Activation act, int T) override {
    timed("gate", [&] { ForwardingBackend::gate(out, gate_up, F, act, T); });
  }
  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    timed("gather", [&] { ForwardingBackend::gather(out, x, rows, R, width); });
  }
  void sample(float* logits, int V, SampleRow* rows, int B) override {
    timed("sample", [&] { ForwardingBackend::sample(logits, V, rows, B); });
  }

 private:
  template <class F>
  void timed(const std::string& name, F&& f) {
    if (seconds == nullptr) return f();
    const double start = now();
    f();
    (*seconds)[name] += now() - start;
  }
};

struct Options {
  std::string shape = "135m", isa;
  int sequences = 1, context = 128, tokens = 1, threads = 2, steps = 40;
  KvDtype kv = KvDtype::f16;
  bool paced = false;
};

KvDtype kv_dtype(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kv_table); ++i)
    if (name == kv_table[i].name) return static_cast<KvDtype>(i);
  std::fprintf(stderr, "--kv: expected f16, bf16, fp8 or int8, got %s\n", name.c_str());
  std::exit(2);
}

int whole_number(const std::string& flag, const char* text, int least) {
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (end != text && *end == 0 && n >= least && n <= 1 << 20) return static_cast<int>(n);
  std::fprintf(stderr, "%s: expected a whole number from %d to %d, got %s\n", flag.c_str(), least, 1 << 20, text);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options o;
  const std::map<std::string, std::pair<int*, int>> numbers{
      {"--sequences", {&o.sequences, 1}}, {"--context", {&o.context, 0}}, {"--tokens", {&o.tokens, 1}},
      {"--threads", {&o.threads, 1}},     {"--steps", {&o.steps, 1}},
  };
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--paced") {
      o.paced = true;
      continue;
    }
    const auto number = numbers.find(flag);
    const bool known = number != numbers.end() || flag == "--shape" || flag == "--isa" || flag == "--kv";
    if (!known || i + 1 == argc) {
      std::fprintf(stderr,
                   known ? "%s: expected a value after it\n"
                         : "%s: expected --shape 135m|1.1b, --isa, --kv, --sequences, --context, --tokens, --threads, "
                           "--steps, each with a value, or --paced\n",
                   flag.c_str());
      std::exit(2);
    }
    const char* const value = argv[++i];
    if (number != numbers.end()) *number->second.first = whole_number(flag, value, number->second.second);
    else if (flag == "--shape") o.shape = value;
    else if (flag == "--isa") o.isa = value;
    else o.kv = kv_dtype(value);
  }
  if (o.shape != "135m" && o.shape != "1.1b") {
    std::fprintf(stderr, "--shape: expected 135m or 1.1b, got %s\n", o.shape.c_str());
    std::exit(2);
  }
  return o;
}

struct Steps {
  Engine& engine;
  std::vector<int> sequences;

  // `count` tokens of every sequence; rows: of the last one.
  void run(int count, int rows) {
    Step step;
    for (const int s : sequences) {
      if (!engine.kv().reserve(s, count)) std::abort();
      step.segments.push_back({s, count, rows, false, -1});
      for (int i = 0; i < count; ++i)
        step.tokens.push_back((s * 977 + (engine.kv().length(s) + i) * 131) % engine.model().desc().vocabulary);
    }
    engine.submit(std::move(step));
    engine.wait();
  }
};

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  const Shape& shape = o.shape == "1.1b" ? shapes[1] : shapes[0];
  auto backend = std::make_unique<TimedBackend>(make_cpu_backend(o.isa.empty() ? nullptr : o.isa.c_str()));
  TimedBackend& timed = *backend;
  auto model = std::make_shared<Model>(describe(shape, Format::q4_0), std::move(backend));
  for (int i = 0; i < model->tensor_count(); ++i) model->load_tensor(i);
  model->finish_load();
  const int blocks = o.sequences * ((o.context + o.tokens) / kv_block_tokens + 2);
  Engine engine(model, {o.threads, blocks, std::max(512, o.sequences * o.tokens), false, o.kv});
  Steps steps{engine, {}};
  for (int i = 0; i < o.sequences; ++i) {
    steps.sequences.push_back(engine.kv().create(""));
    SamplerParams params;
    params.temperature = i % 2 ? 0.8f : 0.0f;
    params.top_k = 40, params.top_p = 0.95f;
    engine.set_sampler(steps.sequences.back(), params);
  }
  const auto rewind = [&] {
    for (const int s : steps.sequences) engine.kv().truncate(s, o.context);
  };
  for (int done = 0; done < o.context; done += 16) steps.run(std::min(16, o.context - done), 0);
  steps.run(o.tokens, 1), rewind();

  if (o.paced) {
    for (int c = std::getchar(); c != EOF; c = std::getchar()) {
      if (c != '\n') continue;
      std::vector<double> times;
      for (int i = 0; i < o.steps; ++i) {
        const double start = now();
        steps.run(o.tokens, 1);
        times.push_back(now() - start);
        rewind();
      }
      std::sort(times.begin(), times.end());
      std::printf("%.1f %.1f\n", times[times.size() / 2] * 1e6, times[0] * 1e6);
      std::fflush(stdout);
    }
    return 0;
  }

  MachineLimits limits = measure_limits(o.threads);
  std::vector<double> times;
  std::map<std::string, double> seconds;
  for (int i = 0; i < 2 * o.steps; ++i) {
    timed.seconds = i % 2 ? &seconds : nullptr;  // the step itself is timed without clocks inside
    const double start = now();
    steps.run(o.tokens, 1);
    if (i % 2 == 0) times.push_back(now() - start);
    rewind();
  }
  const MachineLimits after = measure_limits(o.threads);
  limits.read_bytes_per_second = std::max(limits.read_bytes_per_second, after.read_bytes_per_second);
  limits.int8_ops_per_second = std::max(limits.int8_ops_per_second, after.int8_ops_per_second);
  const bool matrix = std::strcmp(model->backend().isa(), cpu_isas()[0]) == 0;  // a chosen set may leave them alone
  limits.matrix_ops_per_second = matrix ? std::max(limits.matrix_ops_per_second, after.matrix_ops_per_second) : 0;
  std::sort(times.begin(), times.end());
  const double step = times[times.size() / 2];

  double layer_params = 0, head_params = static_cast<double>(shape.vocabulary) * shape.width;
  for (const auto& [role, t] : model->desc().tensors)
    if (role.starts_with("layer.") && t.rows > 1) layer_params += static_cast<double>(t.rows) * t.width;
  const double rows = static_cast<double>(o.sequences) * o.tokens;
  const double ops = 2 * (layer_params * rows + head_params * o.sequences);
  const double kv_bytes = 2.0 * (head_size * traits(o.kv).value_bytes + (traits(o.kv).scaled ? 2 : 0)) * shape.layers *
                          shape.kv_heads * o.sequences * (o.context + o.tokens);
  const double bytes = (layer_params + head_params) * 18 / 32 + kv_bytes;
  const double reachable = std::max(0.8 * limits.int8_ops_per_second, 0.5 * limits.matrix_ops_per_second);
  const double bound = std::max(bytes / limits.read_bytes_per_second, ops / reachable);
  for (const auto& [name, s] : seconds)
    std::printf("{\"op\":\"%s\",\"us\":%.1f,\"percent\":%.1f}\n", name.c_str(), s / o.steps * 1e6,
                100 * s / o.steps / step);
  std::printf(
      "{\"step\":true,\"shape\":\"%s\",\"sequences\":%d,\"tokens\":%d,\"context\":%d,\"us\":%.1f,\"bestUs\":%.1f,"
      "\"tokensPerSecond\":%.0f,\"percentPeak\":%.1f,\"percentBound\":%.1f,\"readGbPerSecond\":%.1f,"
      "\"int8GopPerSecond\":%.0f,\"matrixGopPerSecond\":%.0f,"
      "\"barrierNs\":%.0f}\n",
      shape.name, o.sequences, o.tokens, o.context, step * 1e6, times[0] * 1e6, rows / step,
      100 * ops / step / limits.int8_ops_per_second, 100 * bound / step, limits.read_bytes_per_second / 1e9,
      limits.int8_ops_per_second / 1e9, limits.matrix_ops_per_second / 1e9, limits.barrier_seconds * 1e9);
  return 0;
}

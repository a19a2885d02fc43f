// The forward pass and the engine on a small model of seeded random weights: the invariance contract (a request's
// results depend on nothing but itself) and equality of the CPU backend with the reference, compared bit for bit.
#include <doctest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <thread>

#include "compare.h"
#include "engine.h"
#include "error.h"
#include "forwarding_backend.h"
#include "model/rope.h"

using namespace octavo;

namespace {

struct Shape {
  Format format;
  bool bias, qk_norm, tied;
  RopeStyle style;
  int window;
};

ModelDesc small_model(const Shape& shape) {
  ModelDesc d{};
  d.architecture = "llama";
  d.layers = 3, d.width = 64, d.heads = 6, d.kv_heads = 2, d.head_size = 16, d.feed_forward = 96, d.vocabulary = 301;
  d.norm_eps = 1e-5f, d.activation = Activation::silu, d.rope_style = shape.style, d.rope_dims = 16;
  d.rope_frequencies = rope_frequencies(16, 10000.0);
  d.rope_magnitude = 1, d.sliding_window = shape.window, d.seed = 7;
  if (shape.window > 0) d.attention_sinks = 3, d.attention_soft_cap = 5;
  std::uint64_t number = 0;
  const auto add = [&](const std::string& role, std::int64_t rows, std::int64_t width, Format format) {
    d.tensors[role] = {-1, number++, 0, format, rows, width};
  };
  add("embed", 301, 64, shape.format);
  if (!shape.tied) add("output", 301, 64, Format::q8_0);
  add("outputNorm", 1, 64, Format::f32);
  for (int i = 0; i < d.layers; ++i) {
    const std::string p = "layer." + std::to_string(i) + ".";
    add(p + "attnNorm", 1, 64, Format::f32), add(p + "ffnNorm", 1, 64, Format::f32);
    if (shape.window > 0) add(p + "attnSinks", 1, 6, Format::f32);
    add(p + "q", 96, 64, shape.format), add(p + "k", 32, 64, shape.format);
    add(p + "v", 32, 64, i == 1 ? Format::q8_0 : shape.format);  // a mixed layer cannot merge q, k, v
    add(p + "attnOut", 64, 96, shape.format);
    add(p + "gate", 96, 64, shape.format), add(p + "up", 96, 64, shape.format), add(p + "down", 64, 96, shape.format);
    if (shape.bias)
      add(p + "qBias", 1, 96, Format::f32), add(p + "kBias", 1, 32, Format::f32), add(p + "vBias", 1, 32, Format::f32);
    if (shape.qk_norm) add(p + "qNorm", 1, 16, Format::f32), add(p + "kNorm", 1, 16, Format::f32);
  }
  return d;
}

// A change of widths: the same model with 3 heads of 16, 48 wide together, and other sizes that are no multiple of 32.
struct Narrow {
  int width, feed_forward;
  Format across, attn_out, down;  // of what reduces the width, the heads, the feed-forward width
};

ModelDesc narrow_model(const Narrow& shape) {
  ModelDesc d = small_model({shape.across, true, false, true, RopeStyle::half, 0});
  d.heads = 3, d.kv_heads = 1, d.width = shape.width, d.feed_forward = shape.feed_forward;
  const auto resize = [&](const std::string& role, std::int64_t rows, std::int64_t width) {
    d.tensors[role].rows = rows, d.tensors[role].width = width;
  };
  const int E = shape.width, F = shape.feed_forward;
  resize("embed", 301, E), resize("outputNorm", 1, E);
  for (int i = 0; i < d.layers; ++i) {
    const std::string p = "layer." + std::to_string(i) + ".";
    resize(p + "attnNorm", 1, E), resize(p + "ffnNorm", 1, E);
    resize(p + "q", 48, E), resize(p + "k", 16, E), resize(p + "v", 16, E), resize(p + "attnOut", E, 48);
    resize(p + "gate", F, E), resize(p + "up", F, E), resize(p + "down", E, F);
    resize(p + "qBias", 1, 48), resize(p + "kBias", 1, 16), resize(p + "vBias", 1, 16);
    d.tensors[p + "v"].format = shape.across;
    d.tensors[p + "attnOut"].format = shape.attn_out;
    d.tensors[p + "down"].format = shape.down;
  }
  return d;
}

std::shared_ptr<Model> load(const ModelDesc& desc, const char* isa) {
  auto model = std::make_shared<Model>(desc, isa ? make_cpu_backend(isa) : make_reference_backend());
  for (int i = 0; i < model->tensor_count(); ++i) model->load_tensor(i);
  model->finish_load();
  return model;
}

std::shared_ptr<Model> load(const Shape& shape, const char* isa) { return load(small_model(shape), isa); }

constexpr Shape plain{Format::q4_0, false, false, true, RopeStyle::interleaved, 0};

std::vector<std::int32_t> prompt_of(int seed, int length) {
  std::vector<std::int32_t> tokens;
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u + 1;
  for (int i = 0; i < length; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<std::int32_t>((state >> 8) % 301));
  }
  return tokens;
}

SamplerParams sampler_of(int seed, int prompt_length) {
  SamplerParams p;
  p.seed = static_cast<std::uint64_t>(seed);
  p.temperature = seed % 2 ? 0.8f : 0.0f;
  p.repetition_penalty = seed % 3 ? 1.0f : 1.2f;
  p.logprobs = 0;
  p.prompt_length = prompt_length;
  return p;
}

struct Drawn {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint32_t> logprob_bits;
  bool operator==(const Drawn&) const = default;
};

// One request being computed: `fed` tokens are in the sequence.
struct Request {
  std::vector<std::int32_t> tokens;  // prompt and output
  int prompt, sequence, fed = 0;
  Drawn drawn;
};

Request begin(Engine& engine, int seed, int length) {
  Request r{prompt_of(seed, length), length, engine.kv().create(""), 0, {}};
  engine.set_sampler(r.sequence, sampler_of(seed, length));
  return r;
}

// One step: each request gets at most `chunk` tokens.
void step(Engine& engine, std::vector<Request*> requests, int chunk) {
  Step s;
  std::vector<Request*> drawing;
  for (Request* r : requests) {
    const int count = std::min(chunk, static_cast<int>(r->tokens.size()) - r->fed);
    const bool last = r->fed + count == static_cast<int>(r->tokens.size());
    REQUIRE(engine.kv().reserve(r->sequence, count));
    s.segments.push_back({r->sequence, count, last ? 1 : 0, false, -1});
    s.tokens.insert(s.tokens.end(), r->tokens.begin() + r->fed, r->tokens.begin() + r->fed + count);
    r->fed += count;
    if (last) drawing.push_back(r);
  }
  engine.submit(std::move(s));
  REQUIRE(engine.wait());
  REQUIRE(engine.result().rows.size() == drawing.size());
  for (std::size_t i = 0; i < drawing.size(); ++i) {
    const SampleRow& row = engine.result().rows[i];
    REQUIRE(row.token >= 0);
    drawing[i]->tokens.push_back(row.token);
    drawing[i]->drawn.tokens.push_back(row.token);
    drawing[i]->drawn.logprob_bits.push_back(std::bit_cast<std::uint32_t>(row.logprob));
  }
}

constexpr int output_tokens = 12;

Drawn solo(Engine& engine, int seed, int length, int chunk) {
  Request r = begin(engine, seed, length);
  while (r.drawn.tokens.size() < output_tokens) step(engine, {&r}, chunk);
  engine.release(r.sequence);
  return r.drawn;
}

EngineOptions options(int threads, KvDtype dtype = KvDtype::f16) { return {threads, 400, 512, true, dtype}; }

constexpr KvDtype kv_dtypes[] = {KvDtype::f16, KvDtype::bf16, KvDtype::fp8, KvDtype::int8};

}  // namespace

TEST_CASE("the CPU backend's tokens and log-probabilities equal the reference's on every instruction set") {
  const Shape shapes[] = {plain,
                          {Format::q4_1, true, false, true, RopeStyle::half, 0},
                          {Format::q8_0, false, true, false, RopeStyle::half, 20},
                          {Format::f16, false, false, true, RopeStyle::interleaved, 0},
                          {Format::bf16, true, true, true, RopeStyle::half, 0},
                          {Format::f32, false, false, false, RopeStyle::interleaved, 33}};
  int number = 0;
  for (const Shape& shape : shapes) {
    const KvDtype dtype = kv_dtypes[++number % 4];  // the shapes with a window get fp8 and int8
    CAPTURE(traits(dtype).name);
    Engine reference(load(shape, nullptr), options(1, dtype));
    const Drawn expected[] = {solo(reference, 1, 5, 512), solo(reference, 2, 90, 512), solo(reference, 3, 300, 512)};
    for (const char* const isa : octavo::testing::tested_isas()) {
      CAPTURE(isa);
      CAPTURE(traits(shape.format).name);
      Engine engine(load(shape, isa), options(2, dtype));
      CHECK(solo(engine, 1, 5, 512) == expected[0]);
      CHECK(solo(engine, 2, 90, 512) == expected[1]);
      CHECK(solo(engine, 3, 300, 512) == expected[2]);
    }
  }
}

TEST_CASE("widths that are no multiple of 32 run where the weights concerned are floats, as on the reference") {
  const Narrow shapes[] = {{80, 112, Format::f16, Format::f16, Format::f16},
                           {48, 80, Format::f32, Format::bf16, Format::f32},
                           {64, 96, Format::q8_0, Format::f16, Format::q4_0},
                           {64, 80, Format::q4_0, Format::f32, Format::bf16},
                           {80, 64, Format::bf16, Format::f16, Format::q8_0}};
  for (const Narrow& shape : shapes) {
    CAPTURE(shape.width);
    CAPTURE(traits(shape.across).name);
    Engine reference(load(narrow_model(shape), nullptr), options(1));
    const Drawn expected[] = {solo(reference, 1, 5, 512), solo(reference, 2, 90, 512)};
    for (const char* const isa : octavo::testing::tested_isas()) {
      CAPTURE(isa);
      Engine engine(load(narrow_model(shape), isa), options(2));
      CHECK(solo(engine, 1, 5, 512) == expected[0]);
      CHECK(solo(engine, 2, 90, 512) == expected[1]);
      CHECK(solo(engine, 2, 90, 7) == expected[1]);
    }
  }
  for (const Narrow& shape : {Narrow{64, 96, Format::f16, Format::q8_0, Format::f16},
                              Narrow{80, 96, Format::q4_0, Format::f16, Format::f16},
                              Narrow{64, 80, Format::f16, Format::f16, Format::q5_0},
                              Narrow{72, 96, Format::f16, Format::f16, Format::f16}})
    CHECK_THROWS_AS(Model(narrow_model(shape), make_reference_backend()), Error);
}

TEST_CASE("chunk size, threads, batch and prefix hits do not change a request's results") {
  const auto model = load(plain, cpu_isas()[0]);
  std::vector<Drawn> expected;
  {
    Engine engine(model, {1, 400, 512, false});
    for (int seed = 0; seed < 6; ++seed) expected.push_back(solo(engine, seed, 1 + seed * 47, 512));
  }
  for (int threads = 1; threads <= 3; ++threads) {
    Engine engine(model, options(threads));
    for (const int chunk : {1, 7, 16, 100}) {
      std::vector<Request> requests;
      for (int seed = 0; seed < 6; ++seed) requests.push_back(begin(engine, seed, 1 + seed * 47));
      for (Request& r : requests)  // from the second round on, prompts are found in the prefix index
        r.fed = engine.kv().match(r.sequence, r.tokens.data(), static_cast<int>(r.tokens.size()));
      for (bool busy = true; busy;) {
        std::vector<Request*> running;
        for (Request& r : requests)
          if (r.drawn.tokens.size() < output_tokens) running.push_back(&r);
        busy = !running.empty();
        if (busy) step(engine, running, chunk);
      }
      for (int seed = 0; seed < 6; ++seed) {
        CAPTURE(threads);
        CAPTURE(chunk);
        CAPTURE(seed);
        CHECK(requests[static_cast<std::size_t>(seed)].drawn == expected[static_cast<std::size_t>(seed)]);
        engine.release(requests[static_cast<std::size_t>(seed)].sequence);
      }
      CHECK(engine.kv().check() == "");
    }
  }
}

namespace {

// A planted fault: with several tokens in a step, the norm of a linear's input adds its squares in descending order.
// Right to within rounding, wrong under the contract: what a request computes would depend on its neighbours.
class BatchDependentNorm : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
              Epilogue epilogue) override {
    if (T == 1 || in.kind != InputKind::normed) return ForwardingBackend::linear(out, out_ld, in, w, bias, T, epilogue);
    const int width = static_cast<int>(w.k);
    std::vector<float> made;
    for (int t = 0; t < T; ++t) {
      const float* x = in.x + std::ptrdiff_t{t} * width;
      float sum = 0;
      for (int i = width; i-- > 0;) sum = std::fma(x[i], x[i], sum);
      const float r = 1 / std::sqrt(sum / static_cast<float>(width) + in.eps);
      for (int i = 0; i < width; ++i) made.push_back(x[i] * r * in.norm_weight[i]);
    }
    ForwardingBackend::linear(out, out_ld, made.data(), w, bias, T, epilogue);
  }
};

}  // namespace

TEST_CASE("the comparison catches a planted fault in the order of additions") {
  auto model =
      std::make_shared<Model>(small_model(plain), std::make_unique<BatchDependentNorm>(make_cpu_backend(nullptr)));
  for (int i = 0; i < model->tensor_count(); ++i) model->load_tensor(i);
  model->finish_load();
  Engine engine(model, {1, 400, 512, false});
  CHECK_FALSE(solo(engine, 4, 100, 1) == solo(engine, 4, 100, 512));
}

TEST_CASE("every type of the KV cache keeps the contract") {
  constexpr Shape windowed{Format::q8_0, false, false, true, RopeStyle::half, 70};
  for (const Shape& shape : {plain, windowed}) {
    const auto model = load(shape, cpu_isas()[0]);
    for (const KvDtype dtype : kv_dtypes) {
      CAPTURE(traits(dtype).name);
      CAPTURE(shape.window);
      std::vector<Drawn> expected;
      for (int seed = 0; seed < 4; ++seed) {
        Engine engine(model, {1, 400, 512, false, dtype});
        expected.push_back(solo(engine, seed, 1 + seed * 97, 512));
      }
      Engine engine(model, options(2, dtype));
      for (const int chunk : {7, 100}) {  // the second time, prompts are found in the prefix index
        std::vector<Request> requests;
        std::vector<Request*> running;
        for (int seed = 0; seed < 4; ++seed) requests.push_back(begin(engine, seed, 1 + seed * 97));
        for (Request& r : requests) {
          r.fed = engine.kv().match(r.sequence, r.tokens.data(), static_cast<int>(r.tokens.size()));
          CHECK((r.fed > 0) == (chunk == 100 && r.prompt > 16));
        }
        do {
          running.clear();
          for (Request& r : requests)
            if (r.drawn.tokens.size() < output_tokens) running.push_back(&r);
          if (!running.empty()) step(engine, running, chunk);
        } while (!running.empty());
        for (std::size_t seed = 0; seed < requests.size(); ++seed) {
          CHECK(requests[seed].drawn == expected[seed]);
          engine.release(requests[seed].sequence);
        }
      }
    }
  }
}

TEST_CASE("a fork continues as its parent would, and neither disturbs the other") {
  for (const KvDtype dtype : kv_dtypes) {
    Engine engine(load(plain, cpu_isas()[0]), options(2, dtype));
    const Drawn expected = solo(engine, 4, 75, 512);
    Request parent = begin(engine, 4, 75);
    step(engine, {&parent}, 512);
    step(engine, {&parent}, 512);
    Request child = parent;
    child.sequence = engine.kv().fork(parent.sequence);
    engine.set_sampler(child.sequence, sampler_of(4, 75));
    while (child.drawn.tokens.size() < output_tokens) step(engine, {&child, &parent}, 512);
    CHECK(parent.drawn == expected);
    CHECK(child.drawn == expected);
  }
}

TEST_CASE("drafts, right and wrong, change nothing but the number of steps; wrong ones never enter the cache") {
  Engine engine(load(plain, cpu_isas()[0]), options(2));
  const Drawn expected = solo(engine, 6, 60, 512);
  for (const int wrong_from : {0, 1, 3, 4}) {  // of 4 drafts a step; 4: none is wrong
    engine.kv().clear_index();
    Request r = begin(engine, 6, 60);
    int steps = 0;
    while (r.drawn.tokens.size() < output_tokens) {
      const int have = static_cast<int>(r.drawn.tokens.size()), fed = r.fed;
      const int drafts = have == 0 ? 0 : std::min(4, output_tokens - have - 1);
      const int certain = static_cast<int>(r.tokens.size()) - fed;
      std::vector<std::int32_t> tokens(r.tokens.begin() + fed, r.tokens.end());
      for (int d = 0; d < drafts; ++d)
        tokens.push_back(expected.tokens[static_cast<std::size_t>(have + d)] ^ (d >= wrong_from));
      REQUIRE(engine.kv().reserve(r.sequence, certain + drafts));
      engine.submit({{{r.sequence, certain + drafts, 1 + drafts, false, -1}}, tokens});
      REQUIRE(engine.wait());
      CHECK(engine.kv().length(r.sequence) == fed + certain);
      REQUIRE(engine.result().rows.size() == static_cast<std::size_t>(1 + drafts));
      const int right = std::min(drafts, wrong_from);
      for (int i = 0; i <= right; ++i) {
        const SampleRow& row = engine.result().rows[static_cast<std::size_t>(i)];
        r.tokens.push_back(row.token);
        r.drawn.tokens.push_back(row.token);
        r.drawn.logprob_bits.push_back(std::bit_cast<std::uint32_t>(row.logprob));
      }
      engine.accept(r.sequence, tokens.data() + certain, right);
      r.fed += certain + right;
      CHECK(engine.kv().check() == "");
      ++steps;
    }
    CHECK(r.drawn == expected);
    CHECK(steps == (wrong_from == 0 ? 12 : wrong_from == 1 ? 7 : 4));
    const std::vector<std::int32_t>& held = engine.kv().tokens(r.sequence);
    CHECK(std::equal(held.begin(), held.end(), r.tokens.begin()));
    CHECK_THROWS_AS(engine.accept(r.sequence, r.tokens.data(), 64), Error);  // more than there is room for
    engine.release(r.sequence);
  }
}

TEST_CASE("an interrupted step commits nothing and can be repeated") {
  Engine engine(load(plain, cpu_isas()[0]), options(2));
  const Drawn expected = solo(engine, 5, 200, 512);
  engine.kv().clear_index();
  Request r = begin(engine, 5, 200);
  REQUIRE(engine.kv().reserve(r.sequence, 200));
  interrupt_engine(engine.id());
  engine.submit({{{r.sequence, 200, 1, false, -1}}, r.tokens});
  CHECK_FALSE(engine.wait());
  CHECK(engine.kv().length(r.sequence) == 0);
  while (r.drawn.tokens.size() < output_tokens) step(engine, {&r}, 512);
  CHECK(r.drawn == expected);
}

TEST_CASE("interrupt from another thread discards a long step") {
  Engine engine(load(plain, cpu_isas()[0]), options(2));
  Request r = begin(engine, 5, 512);
  REQUIRE(engine.kv().reserve(r.sequence, 512));
  int discarded = 0;
  for (int i = 0; i < 20; ++i) {
    engine.submit({{{r.sequence, 512, 1, false, -1}}, r.tokens});
    std::thread other([&] { interrupt_engine(engine.id()); });
    const bool done = engine.wait();
    other.join();
    if (!done) {
      ++discarded;
      continue;
    }
    engine.kv().truncate(r.sequence, 0);
    REQUIRE(engine.kv().reserve(r.sequence, 512));
    interrupt_engine(engine.id());  // the flag may still be up from this round: the next step takes it
  }
  CHECK(discarded > 0);
  CHECK(engine.kv().check() == "");
}

TEST_CASE("a thousand requests given up at random moments, in steps that are interrupted too, leave every block free") {
  Engine engine(load(plain, cpu_isas()[0]), options(2));
  std::uint32_t state = 5;
  const auto below = [&](std::uint32_t n) { return (state = state * 1664525u + 1013904223u, (state >> 8) % n); };
  std::vector<Request> open;
  int begun = 0, discarded = 0;
  while (begun < 1000 || !open.empty()) {
    while (begun < 1000 && open.size() < 8) {
      ++begun;
      open.push_back(begin(engine, begun % 50, 1 + static_cast<int>(below(40))));
    }
    Step s;
    for (const Request& r : open) {
      const int fed = engine.kv().length(r.sequence), count = std::min(16, static_cast<int>(r.tokens.size()) - fed);
      REQUIRE(engine.kv().reserve(r.sequence, count));
      s.segments.push_back({r.sequence, count, fed + count == static_cast<int>(r.tokens.size()) ? 1 : 0, false, -1});
      s.tokens.insert(s.tokens.end(), r.tokens.begin() + fed, r.tokens.begin() + fed + count);
    }
    if (below(10) == 0) interrupt_engine(engine.id());
    engine.submit(Step(s));
    const bool done = engine.wait();
    discarded += !done;
    std::size_t row = 0;
    for (std::size_t i = 0; done && i < open.size(); ++i)
      if (s.segments[i].rows > 0) open[i].tokens.push_back(engine.result().rows[row++].token);
    for (std::size_t i = open.size(); i-- > 0;) {
      if (below(6) != 0) continue;
      engine.release(open[i].sequence);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  CHECK(discarded > 10);
  CHECK(engine.kv().check() == "");
  CHECK(engine.kv().stats().owned == 0);
}

TEST_CASE("scoring gives the log-probability of every next token, in any chunking") {
  Engine engine(load(plain, cpu_isas()[0]), options(2));
  const std::vector<std::int32_t> text = prompt_of(9, 130);
  std::vector<std::uint32_t> whole;
  for (const int chunk : {130, 64, 1, 37}) {
    const int sequence = engine.kv().create("");
    std::vector<std::uint32_t> bits;
    for (int from = 0; from < 130; from += chunk) {
      const int count = std::min(chunk, 130 - from);
      REQUIRE(engine.kv().reserve(sequence, count));
      engine.submit(
          {{{sequence, count, count, true, from + count < 130 ? text[static_cast<std::size_t>(from + count)] : -1}},
           {text.begin() + from, text.begin() + from + count}});
      REQUIRE(engine.wait());
      for (const SampleRow& row : engine.result().rows) bits.push_back(std::bit_cast<std::uint32_t>(row.logprob));
    }
    CHECK(bits.size() == 129);
    if (whole.empty()) whole = bits;
    CHECK(bits == whole);
    engine.release(sequence);
  }
}

TEST_CASE("room that a table happens to have is not room reserved") {
  Engine engine(load(plain, cpu_isas()[0]), options(1));
  Request r = begin(engine, 4, 20);
  step(engine, {&r}, 512);
  const int fork = engine.kv().fork(r.sequence);  // shares the last block, 12 positions of it free
  CHECK_THROWS_AS(engine.submit({{{fork, 1, 0, false, -1}}, {5}}), Error);
  engine.kv().truncate(r.sequence, 10);
  CHECK_THROWS_AS(engine.submit({{{r.sequence, 1, 0, false, -1}}, {5}}), Error);
}

TEST_CASE("a step whose sequence lost its room after submit is refused, and the next one runs") {
  Engine engine(load(plain, cpu_isas()[0]), options(1));
  const std::vector<std::int32_t> text = prompt_of(9, 200);
  for (const bool release : {false, true}) {
    const int sequence = engine.kv().create("");
    REQUIRE(engine.kv().reserve(sequence, 200));
    engine.submit({{{sequence, 200, 0, false, -1}}, text});
    if (release) engine.release(sequence);
    else engine.kv().truncate(sequence, 0);
    CHECK_THROWS_AS(engine.wait(), Error);
  }
  CHECK(engine.kv().check() == "");
  Request r = begin(engine, 4, 20);
  step(engine, {&r}, 512);
  CHECK(r.drawn.tokens.size() == 1);
}

TEST_CASE("a bias that no logit can take is refused when it is set") {
  Engine engine(load(plain, cpu_isas()[0]), options(1));
  const int sequence = engine.kv().create("");
  SamplerParams p = sampler_of(4, 1);
  for (const float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    p.bias = {{3, value}};
    CHECK_THROWS_AS(engine.set_sampler(sequence, p), Error);
  }
  p.bias = {{3, -std::numeric_limits<float>::infinity()}};
  engine.set_sampler(sequence, p);
}

TEST_CASE("a description with more layers than tensors is refused before anything is allocated") {
  ModelDesc d = small_model(plain);
  d.layers = 1 << 28;
  CHECK_THROWS_AS(Model(d, make_reference_backend()), Error);
}

TEST_CASE("a step that is wrong is refused with the segment named") {
  Engine engine(load(plain, cpu_isas()[0]), options(1));
  const int sequence = engine.kv().create("");
  const auto refused = [&](Step s) {
    try {
      engine.submit(std::move(s));
    } catch (const Error& e) {
      return std::string(code_name(e.code()));
    }
    return std::string("accepted");
  };
  CHECK(refused({{{sequence, 1, 0, false, -1}}, {5}}) == "INVALID_ARGUMENT");  // nothing reserved
  REQUIRE(engine.kv().reserve(sequence, 4));
  CHECK(refused({{{sequence, 2, 3, false, -1}}, {5, 6}}) == "INVALID_ARGUMENT");   // more rows than tokens
  CHECK(refused({{{sequence, 1, 1, false, -1}}, {5}}) == "INVALID_ARGUMENT");      // no sampler
  CHECK(refused({{{sequence, 1, 0, false, -1}}, {301}}) == "INVALID_ARGUMENT");    // outside the vocabulary
  CHECK(refused({{{sequence, 2, 0, false, -1}}, {5}}) == "INVALID_ARGUMENT");      // token count
  CHECK(refused({{{99, 1, 0, false, -1}}, {5}}) == "INVALID_ARGUMENT");            // no such sequence
  CHECK(refused({{{sequence, 1, 0, false, -1}}, {5}}) == "accepted");
}

namespace {

std::vector<std::uint8_t> export_blocks(Engine& engine, int sequence) {
  const int full = engine.kv().length(sequence) / kv_block_tokens;
  std::vector<std::uint8_t> bytes(engine.block_bytes() * static_cast<std::size_t>(full));
  engine.kv_export(sequence, 0, full, bytes.data());
  return bytes;
}

}  // namespace

TEST_CASE("blocks that one backend exported another goes on with, as if it had computed them") {
  std::vector<std::shared_ptr<Model>> models = {load(plain, nullptr)};
  for (const char* const isa : octavo::testing::tested_isas()) models.push_back(load(plain, isa));
  for (const KvDtype dtype : kv_dtypes) {
    CAPTURE(traits(dtype).name);
    std::vector<std::uint8_t> first;
    Drawn expected;
    for (const auto& model : models) {
      CAPTURE(model->backend().isa());
      Engine source(model, options(1, dtype));
      Request r = begin(source, 3, 40);
      while (r.drawn.tokens.size() < 20) step(source, {&r}, 16);
      const std::vector<std::uint8_t> bytes = export_blocks(source, r.sequence);
      REQUIRE(bytes.size() == 3 * source.block_bytes());
      if (first.empty()) first = bytes, expected = r.drawn;
      CHECK(bytes == first);
      Engine target(model, options(1, dtype));
      const int sequence = target.kv().create("");
      CHECK(target.kv_import(sequence, r.tokens.data(), 48, first.data()));
      CHECK(export_blocks(target, sequence) == first);
      target.release(sequence);
      CHECK(target.kv().stats().cached == 3);
      Request again = begin(target, 3, 40);
      CHECK(target.kv().match(again.sequence, again.tokens.data(), 40) == 32);
      again.fed = 32;
      while (again.drawn.tokens.size() < 20) step(target, {&again}, 16);
      CHECK(again.drawn == expected);
      CHECK(target.kv().check() == "");
    }
  }
}

TEST_CASE("imported blocks that are wrong change the results, and no bits of them do more than that") {
  const auto reference = load(plain, nullptr), cpu = load(plain, *cpu_isas());
  for (const KvDtype dtype : kv_dtypes) {
    Engine source(cpu, options(1, dtype));
    Request r = begin(source, 4, 40);
    while (r.drawn.tokens.size() < 1) step(source, {&r}, 40);
    for (const int fill : {0x00, 0x7C, 0x80, 0xFF}) {  // f16: zeros, large numbers, tiny ones, NaN
      for (const auto& model : {reference, cpu}) {
        Engine target(model, options(1, dtype));
        const std::vector<std::uint8_t> bytes(2 * target.block_bytes(), static_cast<std::uint8_t>(fill));
        Request again = begin(target, 4, 40);
        REQUIRE(target.kv_import(again.sequence, again.tokens.data(), 32, bytes.data()));
        REQUIRE(target.kv().reserve(again.sequence, 8));
        target.submit({{{again.sequence, 8, 1, false, -1}}, {again.tokens.begin() + 32, again.tokens.end()}});
        REQUIRE(target.wait());
        const SampleRow& row = target.result().rows[0];
        CHECK((row.token == -1 || std::bit_cast<std::uint32_t>(row.logprob) != r.drawn.logprob_bits[0]));
        CHECK(target.kv().check() == "");
      }
    }
  }
}

TEST_CASE(
    "an import takes no block that a queued copy still concerns, and is refused or has no effect when it cannot be") {
  Engine engine(load(plain, nullptr), {1, 4, 32, true});
  Request r = begin(engine, 5, 20);
  step(engine, {&r}, 20);
  std::vector<std::uint8_t> block(engine.block_bytes());
  engine.kv_export(r.sequence, 0, 1, block.data());
  const auto original = block;
  const int fork = engine.kv().fork(r.sequence);
  REQUIRE(engine.kv().reserve(fork, 1));  // queues a copy into a block that is given back at once
  engine.release(fork);
  const int sequence = engine.kv().create("other");
  const auto tokens = prompt_of(6, 64);
  // Finite numbers: the reference keeps values, not the bits of a NaN.
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::uint8_t>(i * 7 & 0x3B);
  REQUIRE(engine.kv_import(sequence, tokens.data(), 16, block.data()));
  step(engine, {&r}, 1);
  std::vector<std::uint8_t> back(block.size());
  engine.kv_export(sequence, 0, 1, back.data());
  CHECK(back == block);
  CHECK_FALSE(engine.kv_import(sequence, tokens.data(), 32, block.data()));  // four blocks: three are taken
  CHECK_THROWS_AS(engine.kv_import(sequence, tokens.data(), 15, block.data()), Error);
  CHECK_THROWS_AS(engine.kv_import(r.sequence, tokens.data(), 16, block.data()), Error);  // it ends within a block
  CHECK_THROWS_AS(engine.kv_export(sequence, 0, 2, back.data()), Error);
  CHECK_THROWS_AS(engine.kv_export(sequence, -1, 1, back.data()), Error);
  engine.kv_export(r.sequence, 0, 1, back.data());
  CHECK(back == original);
  CHECK(engine.kv().check() == "");
}

TEST_CASE("the content hash tells weights apart, whatever computes with them") {
  const auto hash = [](Shape shape, std::uint64_t seed, const char* isa) {
    ModelDesc desc = small_model(shape);
    desc.seed = seed;
    Model model(desc, isa ? make_cpu_backend(isa) : make_reference_backend());
    for (int i = model.tensor_count(); i-- > 0;) model.load_tensor(i);
    CHECK(model.content_hash() == 0);
    model.finish_load();
    return model.content_hash();
  };
  CHECK(hash(plain, 7, nullptr) == hash(plain, 7, *cpu_isas()));
  CHECK(hash(plain, 7, nullptr) != hash(plain, 8, nullptr));
  CHECK(hash(plain, 7, nullptr) != 0);
}

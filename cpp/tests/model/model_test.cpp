// The forward pass and the engine on a small model of seeded random weights: the invariance contract (a request's
// results depend on nothing but itself) and equality of the CPU backend with the reference, compared bit for bit.
#include <doctest.h>

#include <cmath>

#include "error.h"
#include "tests/forwarding_backend.h"
#include "tests/model/small_model.h"

using namespace octavo;
using namespace octavo::testing;

TEST_CASE("the CPU backend's tokens and log-probabilities equal the reference's on every instruction set") {
  const Shape shapes[] = {plain,
                          {Format::q4_1, true, false, true, RopeStyle::half, 0},
                          {Format::q8_0, false, true, false, RopeStyle::half, 20},
                          {Format::f16, false, false, true, RopeStyle::interleaved, 0},
                          {Format::bf16, true, true, true, RopeStyle::half, 0},
                          {Format::f32, false, false, false, RopeStyle::interleaved, 33}};
  int number = 0;
  Rng rng(30);
  for (const Shape& shape : shapes) {
    const KvDtype dtype = kv_dtypes[++number % 4];  // the shapes with a window get fp8 and int8
    CAPTURE(traits(dtype).name);
    Engine reference(load(shape, nullptr), options(1, dtype));
    const Drawn expected[] = {solo(reference, 1, 5, 512), solo(reference, 2, 90, 512), solo(reference, 3, 300, 512)};
    for (const char* const isa : tested_isas()) {
      CAPTURE(isa);
      CAPTURE(traits(shape.format).name);
      Engine engine(load(shape, isa), options(2, dtype));
      CHECK(solo(engine, 1, 5, 512) == expected[0]);
      const bool longer = rng.chance(2);  // over shapes and instruction sets both are met
      if (deep() || !longer) CHECK(solo(engine, 2, 90, 512) == expected[1]);
      if (deep() || longer) CHECK(solo(engine, 3, 300, 512) == expected[2]);
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
    for (const char* const isa : tested_isas()) {
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
  const auto model = loaded(small_model(plain), std::make_unique<BatchDependentNorm>(make_cpu_backend(nullptr)));
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

// The other operations against the reference backend, on every instruction set with 1 to 3 threads, equal bit for bit
// (docs/numerics.md); that a CPU is measured once; and that every operation can be interrupted. linear and its weights:
// linear_test.cpp.
#include <doctest.h>

#include <functional>

#include "error.h"
#include "tests/compare.h"

using namespace octavo;
using namespace octavo::testing;

TEST_CASE("a CPU is measured once for its instruction set, threads and weights, and not on weights that caches hold") {
  // Measuring takes sanitized kernels seconds, and is the same work for every instruction set: the sample takes a quick one.
  const char* isa = nullptr;
  for (const char* const* one = cpu_isas(); *one != nullptr && !deep(); ++one)
    if (std::string(*one) == "avx2") isa = *one;
  const std::unique_ptr<Backend> backend = make_cpu_backend(isa);
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<const Weight*> pointers;
  const auto add = [&](Format format, int n, int k) {
    weights.push_back(backend->weight_create(format, n, k));
    pointers.push_back(weights.back().get());
  };
  add(Format::q4_0, 2048, 2048);
  add(Format::f32, 4096, 2048);  // no quantised weight
  const auto measured = [&](Backend& b, int threads) {
    const auto turn = b.begin_step(threads, nullptr);
    b.tune(pointers);
    return b.tuning();
  };
  CHECK(measured(*backend, 1).seconds == 0);
  for (int i = 0; i < 10; ++i) add(Format::q4_0, 2048, 2048);
  add(Format::q4_0, 20000, 64);  // wider than what is measured
  const Tuning first = measured(*backend, 1);
  CHECK(first.seconds > 0);
  CHECK(measured(*backend, 1).seconds == first.seconds);
  CHECK(measured(*make_cpu_backend(isa), 1).seconds == first.seconds);
  CHECK(measured(*backend, 2).seconds != first.seconds);
  CHECK(make_reference_backend()->tuning().seconds == 0);
}

TEST_CASE("this machine runs at least one instruction set, and an unknown one is refused") {
  REQUIRE(cpus().size() > 0);
  for (std::size_t i = 0; i < cpus().size(); ++i) {
    CHECK(std::string(cpus()[i]->isa()) == tested_isas()[i]);
    CHECK(std::string(cpus()[i]->name()) == "cpu");
  }
  CHECK(std::string(make_cpu_backend(nullptr)->isa()) == cpu_isas()[0]);
  try {
    make_cpu_backend("sse9");
    FAIL_CHECK("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == Code::invalid_argument);
  }
}

TEST_CASE("embed equals the reference") {
  Rng rng(300);
  for (const Format format : all_formats) {
    for (const int wanted : {32, 96, 576, 2048}) {
      const int K = fitting(format, wanted);
      const int N = 77, T = rng.pick(table_M);
      const std::vector<std::uint8_t> rows = random_rows(format, N, K, rng);
      std::vector<std::int32_t> ids;
      for (int t = 0; t < T; ++t) ids.push_back(t == 0 ? N - 1 : rng.below(N));
      const Rows start(T, K, K, rng);
      Rows expected = start;
      reference().embed(expected.data(), *make_weight(reference(), format, N, K, rows), ids.data(), T);
      on_every_cpu([&](Backend& backend, const std::string& label) {
        Rows found = start;
        backend.embed(found.data(), *make_weight(backend, format, N, K, rows), ids.data(), T);
        const std::string difference = expected.difference(found);
        CHECK_MESSAGE(difference.empty(), std::string(traits(format).name), " K ", K, " T ", T, ", ", label, ": ",
                      difference);
      });
    }
  }
}

TEST_CASE("norm equals the reference, in place too") {
  Rng rng(400);
  for (const int width : {16, 32, 48, 64, 80, 96, 128, 576, 1536, 2048}) {
    for (const int heads : width <= 128 ? std::vector<int>{1, 3, 9} : std::vector<int>{1}) {
      for (const int T : {1, 2, rng.pick(table_M), 33}) {
        const int gap = rng.chance(2) ? rng.between(1, 50) : 0;
        const float eps = rng.chance(2) ? 1e-5f : 1e-6f;
        const Input w(random_activations(static_cast<std::size_t>(width), rng), rng);
        Rows x(T, heads * width + gap, heads * width, rng);
        const std::vector<float> values = random_activations(static_cast<std::size_t>(T * heads * width), rng);
        for (int t = 0; t < T; ++t)
          std::copy_n(&values[static_cast<std::size_t>(t * heads * width)], heads * width, x.data() + t * x.ld());
        const Rows start(T, heads * width + rng.below(20), heads * width, rng);
        Rows expected = start;
        reference().norm(expected.data(), start.ld(), x.data(), x.ld(), w, eps, T, heads, width);
        Rows expected_in_place = x;
        reference().norm(expected_in_place.data(), x.ld(), expected_in_place.data(), x.ld(), w, eps, T, heads, width);
        on_every_cpu([&](Backend& backend, const std::string& label) {
          Rows found = start, in_place = x;
          backend.norm(found.data(), start.ld(), x.data(), x.ld(), w, eps, T, heads, width);
          backend.norm(in_place.data(), x.ld(), in_place.data(), x.ld(), w, eps, T, heads, width);
          const std::string difference = expected.difference(found) + expected_in_place.difference(in_place);
          CHECK_MESSAGE(difference.empty(), "width ", width, " heads ", heads, " T ", T, ", ", label, ": ", difference);
        });
      }
    }
  }
}

TEST_CASE("rope equals the reference") {
  Rng rng(500);
  for (const int D : {16, 32, 64, 80, 96, 128}) {
    for (const int dims : {D, D / 2, 2, 6, D - 2}) {
      for (const RopeStyle style : {RopeStyle::interleaved, RopeStyle::half}) {
        const int T = rng.pick(table_M), heads = rng.between(1, 5);
        const Rows start(T, heads * D + rng.below(40), heads * D, rng);
        std::vector<float> angles(static_cast<std::size_t>(T * dims));
        for (float& a : angles) a = rng.chance(20) ? 0.0f : static_cast<float>(rng.uniform() * 2 - 1);
        const Input table(angles, rng);
        Rows expected = start;
        reference().rope(expected.data(), start.ld(), heads, D, table, dims, style, T);
        on_every_cpu([&](Backend& backend, const std::string& label) {
          Rows found = start;
          backend.rope(found.data(), start.ld(), heads, D, table, dims, style, T);
          const std::string difference = expected.difference(found);
          CHECK_MESSAGE(difference.empty(), "D ", D, " dims ", dims,
                        std::string(style == RopeStyle::half ? " half" : " interleaved"), " T ", T, ", ", label, ": ",
                        difference);
        });
      }
    }
  }
}

TEST_CASE("gate equals the reference") {
  Rng rng(600);
  static const std::vector<float> corners = {0.0f,   -0.0f, 87,     -87,    88,      -88,        88.5f,
                                             -88.5f, 1e30f, -1e30f, 1e-40f, -1e-40f, 0.34657359f};
  for (const int F : {16, 32, 96, 1536, 5632}) {
    for (const int T : {1, 3, F > 1000 ? 5 : rng.pick(table_M)}) {
      std::vector<float> values =
          random_normals(static_cast<std::size_t>(T) * F * 2, rng, rng.chance(2) ? 4.0f : 40.0f);
      for (float& v : values)
        if (rng.chance(30)) v = rng.pick(corners);
      const Input gate_up(values, rng);
      const Rows start(T, F, F, rng);
      Rows expected = start;
      reference().gate(expected.data(), gate_up, F, Activation::silu, T);
      on_every_cpu([&](Backend& backend, const std::string& label) {
        Rows found = start;
        backend.gate(found.data(), gate_up, F, Activation::silu, T);
        const std::string difference = expected.difference(found);
        CHECK_MESSAGE(difference.empty(), "F ", F, " T ", T, ", ", label, ": ", difference);
      });
    }
  }
}

TEST_CASE("gather equals the reference") {
  Rng rng(700);
  for (const int width : {1, 33, 576}) {
    const int T = 40, R = rng.between(1, 20);
    const Input x(random_activations(static_cast<std::size_t>(T) * width, rng), rng);
    std::vector<std::int32_t> rows;
    for (int r = 0; r < R; ++r) rows.push_back(r == 0 ? T - 1 : rng.below(T));
    const Rows start(R, width, width, rng);
    Rows expected = start;
    reference().gather(expected.data(), x, rows.data(), R, width);
    on_every_cpu([&](Backend& backend, const std::string& label) {
      Rows found = start;
      backend.gather(found.data(), x, rows.data(), R, width);
      const std::string difference = expected.difference(found);
      CHECK_MESSAGE(difference.empty(), "width ", width, ", ", label, ": ", difference);
    });
  }
}

static SampleRow row_of(const SamplerParams& params, const std::vector<std::int32_t>& history) {
  SampleRow row{};
  row.params = &params;
  row.history = history.data();
  row.history_length = static_cast<int>(history.size());
  return row;
}

TEST_CASE("sample draws the same tokens as the reference, whatever the batch and threads") {
  Rng rng(800);
  const int V = 997, B = 9;
  const std::vector<float> logits = random_normals(static_cast<std::size_t>(V * B), rng, 3);
  std::vector<SamplerParams> params(B);
  std::vector<std::vector<std::int32_t>> histories(B);
  for (int b = 0; b < B; ++b) {
    SamplerParams& p = params[static_cast<std::size_t>(b)];
    p.temperature = b % 3 == 0 ? 0.0f : 0.8f;
    p.top_k = b % 2 == 0 ? 0 : 40;
    p.top_p = b % 4 == 1 ? 0.9f : 1.0f;
    p.repetition_penalty = b % 5 == 2 ? 1.2f : 1.0f;
    p.seed = rng.next() >> 11;
    p.logprobs = b % 3;
    for (int i = 0; i < 5 + b; ++i) histories[static_cast<std::size_t>(b)].push_back(rng.below(V));
    p.prompt_length = 3;
  }
  const auto draw = [&](Backend& backend, int piece) {
    std::vector<float> work = logits;
    std::vector<SampleRow> rows;
    for (std::size_t b = 0; b < B; ++b) rows.push_back(row_of(params[b], histories[b]));
    for (int b = 0; b < B; b += piece) backend.sample(work.data() + b * V, V, rows.data() + b, std::min(piece, B - b));
    std::vector<float> result;
    for (const SampleRow& row : rows) {
      result.insert(result.end(), {static_cast<float>(row.token), row.logprob});
      for (const TokenLogprob& top : row.top) result.insert(result.end(), {static_cast<float>(top.token), top.logprob});
    }
    return result;
  };
  const std::vector<float> expected = draw(reference(), B);
  on_every_cpu([&](Backend& backend, const std::string& label) {
    for (const int piece : {B, 1, 4}) CHECK_MESSAGE(draw(backend, piece) == expected, label, ", pieces of ", piece);
  });
}

TEST_CASE("every operation stops at an interrupt and works again after it") {
  Rng rng(900);
  const auto check = [&](Backend& backend, const std::string& label) {
    CAPTURE(label);
    std::atomic<bool> flag = false;
    backend.set_interrupt(&flag);
    const int T = 5, W = 64, V = 100;
    std::vector<float> x = random_normals(T * W * 2, rng), out(T * W * 2), table(T * W, 0.5f),
                       logits = random_normals(V, rng);
    const auto w = make_weight(backend, Format::q8_0, W, W, random_rows(Format::q8_0, W, W, rng));
    const auto kv = backend.kv_create({1, 1, 1, W, KvDtype::f16});
    const std::vector<std::int32_t> ids = {0, 1, 2, 3, 4}, block = {0};
    const AttentionSegment segment{0, T, 0, block.data()};
    const SamplerParams params;
    std::vector<SampleRow> rows = {row_of(params, ids)};
    const std::pair<const char*, std::function<void()>> operations[] = {
        {"embed", [&] { backend.embed(out.data(), *w, ids.data(), T); }},
        {"norm", [&] { backend.norm(out.data(), W, x.data(), W, x.data(), 1e-5f, T, 1, W); }},
        {"linear", [&] { backend.linear(out.data(), W, x.data(), *w, nullptr, T, Epilogue::store); }},
        {"rope", [&] { backend.rope(out.data(), W, 1, W, table.data(), W, RopeStyle::half, T); }},
        {"kv_write", [&] { backend.kv_write(*kv, 0, nullptr, 0, x.data(), x.data(), W, ids.data(), T); }},
        {"attention", [&] { backend.attention(out.data(), x.data(), W, *kv, 0, {&segment, 1, T}, {1, 0.125f, 0}); }},
        {"gate", [&] { backend.gate(out.data(), x.data(), W, Activation::silu, T); }},
        {"gather", [&] { backend.gather(out.data(), x.data(), ids.data(), T, W); }},
        {"sample", [&] { backend.sample(logits.data(), V, rows.data(), 1); }},
    };
    for (const auto& [name, run] : operations) {
      CAPTURE(std::string(name));
      flag = false;
      run();
      flag = true;
      try {
        run();
        FAIL_CHECK("not interrupted");
      } catch (const Error& error) {
        CHECK(error.code() == Code::interrupted);
      }
      flag = false;
      run();
    }
    backend.set_interrupt(nullptr);
  };
  check(reference(), "reference");
  on_every_cpu(check);
}

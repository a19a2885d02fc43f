// Two steps on the device at once: the second is given before the first was waited for, its tokens are what the first
// draws. The same draws as one by one on the reference; and whatever goes wrong takes both.
#include <doctest.h>

#include <functional>

#include "cuda/cuda_backend.h"
#include "error.h"
#include "fake.h"
#include "step_engine.h"
#include "tests/compare.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

EngineOptions options(KvDtype dtype = KvDtype::f16, int max_tokens = 160) {
  EngineOptions o{1, 160, max_tokens, true};
  o.kv_dtype = dtype, o.queue_seconds = 1e9;
  return o;
}

// Sequences that draw beside a prompt that comes in chunks: the last chunk draws, too, and goes on. Steps are submitted as
// far ahead as the engine takes them.
class Flight {
 public:
  Flight(Engine& engine, int count, int chunks, int chunk) : engine_(engine), chunks_(chunks), chunk_(chunk) {
    drawing_ = std::make_unique<Sequences>(engine, count, 40);
    prompt_ = engine.create("");
    engine.set_sampler(prompt_, Sequences::sampler(1, chunks * chunk));
    if (!engine.kv().reserve(prompt_, chunks * chunk + 40)) throw std::runtime_error("no room");
    for (std::size_t i = 0; i < drawing_->segments.size(); ++i)
      rows_.push_back({drawing_->segments[i].sequence, drawing_->next[i], -1});
  }
  ~Flight() { engine_.release(prompt_); }

  // Draws of `steps` steps. on_their_way: told before each wait.
  std::vector<Draw> run(int steps, const std::function<void(int)>& on_their_way = {}) {
    std::vector<Draw> all;
    int submitted = 0, waited = 0;
    while (waited < steps) {
      while (submitted < steps && submitted - waited < engine_.steps_ahead()) {
        engine_.submit(next(submitted > waited));
        ++submitted;
      }
      if (on_their_way) on_their_way(submitted - waited);
      if (!engine_.wait()) throw std::runtime_error("interrupted");
      ++waited;
      // With another step on its way tokens are named by their rows there.
      for (Row& row : rows_)
        if (submitted == waited) row.token = engine_.result().rows[static_cast<std::size_t>(row.row)].token;
      for (Draw& draw : draws_of(engine_)) all.push_back(std::move(draw));
    }
    return all;
  }

 private:
  struct Row {
    int sequence;
    std::int32_t token;
    int row;  // in the step submitted last
  };
  // fed: a step that is on its way draws the tokens.
  Step next(bool fed) {
    Step step;
    std::int32_t row = 0;
    for (Row& r : rows_) {
      step.segments.push_back({r.sequence, 1, 1, false, -1});
      step.tokens.push_back(fed ? -1 - r.row : r.token);
      r.row = row++;
    }
    if (given_ == chunks_) return step;
    const bool last = ++given_ == chunks_;
    step.segments.push_back({prompt_, chunk_, last ? 1 : 0, false, -1});
    for (int t = 0; t < chunk_; ++t) step.tokens.push_back(((given_ - 1) * chunk_ + 5 * t) % small_vocabulary);
    if (last) rows_.insert(rows_.begin(), {prompt_, 0, row});
    return step;
  }

  Engine& engine_;
  const int chunks_, chunk_;
  int prompt_, given_ = 0;
  std::unique_ptr<Sequences> drawing_;
  std::vector<Row> rows_;
};

std::vector<Draw> flown(Engine& engine, int count, int chunk) {
  std::vector<Draw> draws = Flight(engine, count, 3, chunk).run(8);
  CHECK(engine.kv().check() == "");
  return draws;
}

}  // namespace

TEST_CASE("flight: a step is given behind another one, and draws what it draws alone") {
  fake();
  for (const KvDtype dtype : {KvDtype::f16, KvDtype::int8}) {
    CAPTURE(static_cast<int>(dtype));
    Engine plain(small_model(make_reference_backend()), options(dtype));
    Engine device(small_model(make_cuda_backend(0)), options(dtype));
    CHECK(plain.steps_ahead() == 1);
    REQUIRE(device.steps_ahead() == 2);
    // Chunks that are given at once, and in pieces; every kind of sampling, histories among them.
    for (const auto& [count, chunk] : {std::pair{1, 90}, {9, 5}})
      CHECK(flown(device, count, chunk) == flown(plain, count, chunk));
  }
}

TEST_CASE("flight: the second step waits in the device's stream while the first is waited for") {
  fake();
  Engine device(small_model(make_cuda_backend(0)), options());
  for (const int chunk : {5, 90}) {
    CAPTURE(chunk);
    Flight flight(device, 2, 3, chunk);
    int steps = 0;
    std::uint64_t launches = report().launches;
    flight.run(6, [&](int on_their_way) {
      CHECK(on_their_way == (steps == 5 ? 1 : 2));
      // What the step before left behind when it had come: all but the first begin there.
      CHECK(report().waiting > 0);
      if (steps++ > 0) CHECK(report().launches > launches);
      launches = report().launches;
    });
    CHECK(report().waiting == 0);
  }
}

TEST_CASE("flight: no memory is taken in steps, whatever they consist of") {
  fake();
  Engine device(small_model(make_cuda_backend(0)), options());
  Engine plain(small_model(make_reference_backend()), options());
  const std::uint64_t before = report().allocations;
  for (const int count : {1, 33})
    for (const int chunk : {7, 120}) CHECK(flown(device, count, chunk) == flown(plain, count, chunk));
  Sequences running(device, 9);
  running.wait({16, 1e9});
  running.one_by_one(3);
  CHECK(report().allocations == before);
}

TEST_CASE("flight: an interrupt discards both, and they can be given again") {
  fake();
  Engine plain(small_model(make_reference_backend()), options());
  Engine device(small_model(make_cuda_backend(0)), options());
  const std::vector<Draw> expected = Sequences(plain, 2).one_by_one(3);
  Sequences drawing(device, 2);
  const int lengths[] = {device.kv().length(drawing.segments[0].sequence),
                         device.kv().length(drawing.segments[1].sequence)};
  const Step second{{drawing.segments[1], drawing.segments[0]}, {-2, -1}};
  for (int tries = 0; tries < 3; ++tries) {
    device.submit({drawing.segments, drawing.next});
    device.submit(second);
    interrupt_engine(device.id());
    CHECK(!device.wait());
    CHECK_THROWS_AS(device.wait(), Error);
    for (std::size_t i = 0; i < 2; ++i) CHECK(device.kv().length(drawing.segments[i].sequence) == lengths[i]);
  }
  // The second one alone: the first stands.
  device.submit({drawing.segments, drawing.next});
  device.submit(second);
  REQUIRE(device.wait());
  const std::vector<Draw> first = draws_of(device);
  interrupt_engine(device.id());
  CHECK(!device.wait());
  device.submit({{drawing.segments[1], drawing.segments[0]}, {first[1].token, first[0].token}});
  REQUIRE(device.wait());
  const std::vector<Draw> again = draws_of(device);
  CHECK(std::vector<Draw>{first[0], first[1], again[1], again[0]} ==
        std::vector<Draw>(expected.begin(), expected.begin() + 4));
}

TEST_CASE("flight: what cannot follow is refused, and the step before stands") {
  fake();
  Engine plain(small_model(make_reference_backend()), options());
  Engine device(small_model(make_cuda_backend(0)), options());
  {
    Sequences drawing(plain, 2);
    CHECK_THROWS_AS(plain.submit({drawing.segments, {-1, -2}}), Error);
    plain.submit({drawing.segments, drawing.next});
    CHECK_THROWS_AS(plain.submit({drawing.segments, {-1, -2}}), Error);
    CHECK(plain.wait());
  }
  Sequences drawing(device, 2);
  CHECK_THROWS_AS(device.submit({drawing.segments, {-1, -2}}), Error);
  const Segment a = drawing.segments[0], b = drawing.segments[1];
  Segment scored = a, two = a, guessing = a;
  scored.score = true, two.count = 2, guessing.drafting = Drafting::unpack(0x44);
  device.submit({{a, b}, drawing.next});
  CHECK_THROWS_AS(device.submit({{a, b}, {-2, -1}}), Error);  // rows of the other one
  CHECK_THROWS_AS(device.submit({{a}, {-3}}), Error);
  CHECK_THROWS_AS(device.submit({{scored}, {-1}}), Error);
  CHECK_THROWS_AS(device.submit({{two}, {-1, 5}}), Error);
  CHECK_THROWS_AS(device.submit({{guessing}, {5}}), Error);
  device.submit({{a, b}, {-1, -2}});
  CHECK_THROWS_AS(device.submit({{a, b}, {-1, -2}}), Error);
  REQUIRE(device.wait());
  REQUIRE(device.wait());
  CHECK(device.kv().check() == "");
}

TEST_CASE("flight: what follows a row without a token is nobody's") {
  fake();
  Engine device(small_model(make_cuda_backend(0)), options());
  Sequences drawing(device, 2);
  SamplerParams nothing = Sequences::sampler(1, 4);
  for (int token = 0; token < small_vocabulary; ++token)
    nothing.bias.push_back({token, -std::numeric_limits<float>::infinity()});
  device.set_sampler(drawing.segments[0].sequence, nothing);
  device.submit({drawing.segments, drawing.next});
  device.submit({drawing.segments, {-1, -2}});
  REQUIRE(device.wait());
  REQUIRE(device.result().rows[0].token == -1);
  const int lengths[] = {device.kv().length(drawing.segments[0].sequence),
                         device.kv().length(drawing.segments[1].sequence)};
  REQUIRE(device.wait());
  CHECK(device.kv().length(drawing.segments[0].sequence) == lengths[0]);
  CHECK(device.kv().length(drawing.segments[1].sequence) == lengths[1] + 1);
}

TEST_CASE("flight: each call of the driver fails once in turn with two steps on their way") {
  fake();
  const auto work = [](Engine& engine) { return Flight(engine, 2, 2, 70).run(5); };
  Engine plain(small_model(make_reference_backend()), options());
  const std::vector<Draw> expected = work(plain);
  const auto on_device = [&](bool again, int* repeated) {
    Engine engine(small_model(make_cuda_backend(0)), options());
    try {
      return work(engine);
    } catch (const Error&) {
      if (!again) throw;
      ++*repeated;
      CHECK(engine.kv().check() == "");
      return work(engine);
    }
  };
  std::uint64_t before = report().calls;
  int repeated = 0, failed = 0;
  CHECK(on_device(false, nullptr) == expected);
  const std::uint64_t calls = report().calls - before;
  const std::uint64_t stride = deep() ? 1 : calls / 30;
  for (std::uint64_t k = 1; k <= calls; k += stride) {
    const int error = k / stride % 2 == 0 ? 719 : 2;
    CAPTURE(k);
    CAPTURE(error);
    const Left left;
    const Played played(("rules=record fail=" + std::to_string(k) + ":" + std::to_string(error)).c_str());
    try {
      const bool same = on_device(true, &repeated) == expected;
      CHECK(same);
    } catch (const Error& e) {
      ++failed;
      CHECK((e.code() == Code::out_of_memory || e.code() == Code::engine_failed));
    }
    CHECK_MESSAGE(left.nothing(), report().message);
    CHECK_MESSAGE(report().broken_rules == 0, report().message);
  }
  CHECK(repeated > 5);  // with nothing but the step lost
  CHECK(failed > 5);
}

TEST_CASE("flight: rows that name more than was thought of get room once, or fail alone where there is none") {
  fake();
  // One sequence fills the cache, and each of twelve rows looks back at all of it.
  const auto guessed = [](Engine& engine, int steps) {
    const int sequence = engine.create("");
    engine.set_sampler(sequence, Sequences::sampler(1, 300));
    if (!engine.kv().reserve(sequence, 300 + 12 + steps)) throw std::runtime_error("no room");
    for (int chunk = 0; chunk < 5; ++chunk) {
      engine.submit({{{sequence, 60, 0, false, -1}}, std::vector<std::int32_t>(60, chunk)});
      if (!engine.wait()) throw std::runtime_error("interrupted");
    }
    std::vector<Draw> draws;
    for (int step = 0; step < steps; ++step) {
      engine.submit({{{sequence, 12, 12, false, -1}}, std::vector<std::int32_t>(12, 40 + step)});
      if (!engine.wait()) throw std::runtime_error("interrupted");
      for (Draw& draw : draws_of(engine)) draws.push_back(std::move(draw));
    }
    engine.release(sequence);
    return draws;
  };
  EngineOptions narrow = options(KvDtype::f16, 64);
  narrow.kv_blocks = 24;
  Engine plain(small_model(make_reference_backend()), narrow), device(small_model(make_cuda_backend(0)), narrow);
  const std::vector<Draw> expected = guessed(plain, 6);
  std::uint64_t before = report().allocations;
  CHECK(guessed(device, 1) == std::vector<Draw>(expected.begin(), expected.begin() + 12));
  CHECK(report().allocations > before);
  before = report().allocations;
  CHECK(guessed(device, 6) == expected);
  CHECK(report().allocations == before);

  const Played played(("memory=" + std::to_string(report().device_bytes)).c_str());
  {
    Sequences drawing(device, 1, 4);
    SamplerParams params = Sequences::sampler(1, 4);
    for (int i = 0; i < 4000000; ++i) params.bias.push_back({i % small_vocabulary, 1.0f});
    device.set_sampler(drawing.segments[0].sequence, params);
    try {
      drawing.one_by_one(1);
      CHECK_MESSAGE(false, "there was room");
    } catch (const Error& e) {
      CHECK(e.code() == Code::out_of_memory);
    }
  }
  CHECK(guessed(device, 6) == expected);
}

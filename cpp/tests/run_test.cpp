// Runs: steps that follow each other inside Engine::wait. They draw what the same steps draw one by one, and end when
// they must.
#include <doctest.h>

#include <functional>

#include "engine.h"
#include "tests/draws.h"
#include "tests/forwarding_backend.h"
#include "tests/one_layer_model.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

constexpr double no_limit = 1e9;

std::shared_ptr<Model> load(std::function<void()>& before_step) {
  return seeded_one_layer_model(std::make_unique<WatchedBackend>(before_step));
}

SamplerParams sampler_of(int seed) {
  SamplerParams p;
  p.seed = static_cast<std::uint64_t>(seed);
  p.temperature = seed % 2 ? 0.8f : 0.0f;
  p.repetition_penalty = seed % 3 ? 1.0f : 1.2f;
  p.logprobs = 0;
  p.prompt_length = 5;
  return p;
}

// Sequences that each hold a prompt of 4 tokens and are about to compute the fifth.
struct Decoding {
  explicit Decoding(Engine& e, int count = 1, int room = 64) : engine(e) {
    for (int i = 0; i < count; ++i) {
      const int sequence = engine.kv().create("");
      engine.set_sampler(sequence, sampler_of(i));
      REQUIRE(engine.kv().reserve(sequence, 4));
      engine.submit({{{sequence, 4, 0, false, -1}}, {i, i + 1, 2 * i, 9}});
      REQUIRE(engine.wait());
      REQUIRE(engine.kv().reserve(sequence, room));
      segments.push_back({sequence, 1, 1, false, -1});
      next.push_back(17 + i);
    }
  }
  ~Decoding() {
    for (const Segment& s : segments) engine.release(s.sequence);
    CHECK(engine.kv().check() == "");
  }
  // Rows of all steps of one wait.
  std::vector<Draw> wait(const Run& run) {
    engine.submit({segments, next});
    REQUIRE(engine.wait(run));
    const std::vector<Draw> draws = draws_of(engine);
    for (std::size_t i = 0; i < next.size(); ++i) next[i] = draws[draws.size() - next.size() + i].token;
    return draws;
  }
  std::vector<Draw> one_by_one(int steps) {
    std::vector<Draw> draws;
    for (int i = 0; i < steps; ++i)
      for (const Draw& draw : wait({})) draws.push_back(draw);
    return draws;
  }
  int length() const { return engine.kv().length(segments[0].sequence); }

  Engine& engine;
  std::vector<Segment> segments;
  std::vector<std::int32_t> next;
};

struct Fixture {
  std::function<void()> before_step;
  Engine engine{load(before_step), {2, 64, 64, true}};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a run draws what its steps draw one by one") {
  std::vector<Draw> expected;
  std::vector<std::int32_t> tokens;
  {
    Decoding single(engine, 6);
    expected = single.one_by_one(40);
    tokens = engine.kv().tokens(single.segments[3].sequence);
  }
  engine.kv().clear_index();
  Decoding running(engine, 6);
  std::vector<Draw> draws;
  for (const int steps : {1, 7, 2, 30})
    for (const Draw& draw : running.wait({steps, no_limit})) draws.push_back(draw);
  CHECK(draws == expected);
  CHECK(engine.kv().tokens(running.segments[3].sequence) == tokens);
  CHECK(engine.result().seconds > 0);
}

TEST_CASE_FIXTURE(Fixture,
                  "a run ends with an end token, with the room of a sequence, with its time, and when it is nudged") {
  const std::vector<Draw> expected = Decoding(engine).one_by_one(40);
  SUBCASE("end token") {
    const std::int32_t end = expected[11].token;
    std::size_t first = 0;
    while (expected[first].token != end) ++first;
    engine.set_end_tokens({300, end});
    CHECK(Decoding(engine).wait({40, no_limit}).size() == first + 1);
  }
  SUBCASE("room") {
    Decoding running(engine, 2, 9);
    REQUIRE(engine.kv().reserve(running.segments[0].sequence, 40));
    CHECK(running.wait({40, no_limit}).size() == 2 * 9);
    CHECK(running.length() == 4 + 9);
  }
  SUBCASE("time") {
    Decoding running(engine);
    CHECK(running.wait({40, 0}).size() == 1);
    CHECK(running.wait({40, no_limit}).size() == 40);
  }
  SUBCASE("nudged before: one step, once") {
    Decoding running(engine);
    nudge_engine(engine.id());
    CHECK(running.wait({10, no_limit}).size() == 1);
    CHECK(running.wait({10, no_limit}).size() == 10);
  }
  SUBCASE("nudged in its third step") {
    Decoding running(engine);
    before_step = [&, step = 0]() mutable {
      if (++step == 3) nudge_engine(engine.id());
    };
    CHECK(running.wait({10, no_limit}) == std::vector<Draw>(expected.begin(), expected.begin() + 3));
    CHECK(running.wait({10, no_limit}).size() == 10);
  }
  SUBCASE("a segment with more than a token, or with a score, has no run") {
    Decoding running(engine);
    running.next = {5, 6};
    running.segments[0].count = 2;
    engine.submit({running.segments, running.next});
    REQUIRE(engine.wait({10, no_limit}));
    CHECK(engine.result().rows.size() == 1);
    engine.submit({{{running.segments[0].sequence, 1, 1, true, 8}}, {3}});
    REQUIRE(engine.wait({10, no_limit}));
    CHECK(engine.result().rows.size() == 1);
  }
}

TEST_CASE_FIXTURE(
    Fixture, "an interrupt discards the step of a run that it hits: those before it stand, and it can be repeated") {
  const std::vector<Draw> expected = Decoding(engine).one_by_one(10);
  Decoding running(engine);
  before_step = [&, step = 0]() mutable {
    if (++step == 4) interrupt_engine(engine.id());
  };
  std::vector<Draw> draws = running.wait({10, no_limit});
  CHECK(draws == std::vector<Draw>(expected.begin(), expected.begin() + 3));
  CHECK(running.length() == 4 + 3);
  for (const Draw& draw : running.wait({7, no_limit})) draws.push_back(draw);
  CHECK(draws == expected);
  before_step = [&] { interrupt_engine(engine.id()); };
  engine.submit({running.segments, running.next});
  CHECK_FALSE(engine.wait({10, no_limit}));
  CHECK(running.length() == 4 + 10);
}

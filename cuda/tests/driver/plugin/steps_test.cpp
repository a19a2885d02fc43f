// Engines on the device against engines on the reference: the same draws, whatever a step consists of, however many
// rows it is rounded up to, one step after another or many on their way at once.
#include <doctest.h>

#include <thread>

#include "cuda/cuda_backend.h"
#include "cuda/steps/staging_ring.h"
#include "fake.h"
#include "step_engine.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

EngineOptions options(KvDtype dtype, int max_tokens = 96) {
  EngineOptions o{1, 160, max_tokens, true};
  o.kv_dtype = dtype, o.queue_seconds = no_limit;
  return o;
}

struct Pair {
  explicit Pair(KvDtype dtype = KvDtype::f16, int max_tokens = 96, Format format = Format::q4_0)
      : plain(small_model(make_reference_backend(), format), options(dtype, max_tokens)),
        device(small_model((fake(), make_cuda_backend(0)), format), options(dtype, max_tokens)) {}
  Engine plain, device;
  // What `act` makes of each must be the same.
  template <class Act>
  void same(const Act& act) {
    const auto expected = act(plain);
    CHECK(act(device) == expected);
  }
};

// Prompts in chunks beside sequences that draw, rows in the midst of a segment, scores; all in a few steps.
std::vector<Draw> mixed(Engine& engine) {
  std::vector<Draw> all;
  const auto keep = [&] {
    for (Draw& draw : draws_of(engine)) all.push_back(std::move(draw));
  };
  Sequences drawing(engine, 3);
  const int long_one = engine.create(""), scored = engine.create("");
  engine.set_sampler(long_one, Sequences::sampler(5, 70));
  REQUIRE(engine.kv().reserve(long_one, 80));
  REQUIRE(engine.kv().reserve(scored, 40));
  for (int step = 0; step < 3; ++step) {
    Step s;
    s.segments = drawing.segments;
    s.tokens = drawing.next;
    s.segments.push_back({long_one, 23, step == 2 ? 3 : 0, false, -1});
    for (int t = 0; t < 23; ++t) s.tokens.push_back((step * 23 + t * t) % small_vocabulary);
    s.segments.push_back({scored, 12, 12, true, step == 2 ? -1 : 40});
    for (int t = 0; t < 12; ++t) s.tokens.push_back((step * 12 + 3 * t) % small_vocabulary);
    engine.submit(std::move(s));
    REQUIRE(engine.wait());
    keep();
    for (std::size_t i = 0; i < drawing.next.size(); ++i) drawing.next[i] = engine.result().rows[i].token;
  }
  engine.release(long_one), engine.release(scored);
  CHECK(engine.kv().check() == "");
  return all;
}

}  // namespace

TEST_CASE("steps: pieces of pinned memory lie behind one another, and begin again where the oldest were") {
  cuda::StagingRing ring(100);
  CHECK(ring.take(40) == 0);
  CHECK(ring.take(40) == 40);
  CHECK(!ring.take(30));
  ring.give_back_oldest();
  CHECK(!ring.take(41));
  CHECK(ring.take(30) == 0);
  CHECK(!ring.take(11));
  CHECK(ring.take(10) == 30);
  CHECK(!ring.take(1));
  ring.give_back_newest();
  ring.give_back_oldest();
  CHECK(ring.take(70) == 30);
  for (int i = 0; i < 2; ++i) ring.give_back_oldest();
  CHECK(ring.take(100) == 0);
}

TEST_CASE("steps: prompts, draws and scores in one step, with every type of the cache") {
  for (const KvDtype dtype : {KvDtype::f16, KvDtype::bf16, KvDtype::fp8, KvDtype::int8}) {
    CAPTURE(static_cast<int>(dtype));
    Pair(dtype).same(mixed);
  }
}

TEST_CASE("steps: rows are rounded up, and nothing of it shows") {
  Pair engines(KvDtype::int8);
  for (const int count : {1, 2, 3, 5, 9, 17}) {
    CAPTURE(count);
    engines.same([&](Engine& e) { return Sequences(e, count).one_by_one(3); });
  }
}

TEST_CASE("steps: more rows than are rounded up, and fewer tokens a step than a round number") {
  Pair(KvDtype::f16).same([](Engine& e) { return Sequences(e, 70, 8).one_by_one(2); });
  Pair(KvDtype::f16, 19).same([](Engine& e) { return Sequences(e, 19, 8).one_by_one(2); });
}

TEST_CASE("steps: a graph is made once for each size") {
  fake();
  Engine engine(small_model(make_cuda_backend(0)), options(KvDtype::f16));
  const std::uint64_t before = report().live_objects;
  Sequences drawing(engine, 3);
  drawing.one_by_one(4);
  const std::uint64_t after = report().live_objects;
  CHECK(after == before + 1);
  drawing.one_by_one(4);
  CHECK(report().live_objects == after);
}

TEST_CASE("runs: many steps on their way draw what they draw one by one") {
  for (const KvDtype dtype : {KvDtype::f16, KvDtype::int8}) {
    Pair engines(dtype);
    std::vector<Draw> expected = Sequences(engines.plain, 6).one_by_one(24);
    Sequences running(engines.device, 6);
    std::vector<Draw> draws;
    for (const int steps : {1, 7, 16})
      for (Draw& draw : running.wait({steps, no_limit})) draws.push_back(std::move(draw));
    CHECK(draws == expected);
    // Longer than what may be on its way at once.
    Sequences longer(engines.device, 2);
    CHECK(longer.wait({40, no_limit}) == Sequences(engines.plain, 2).one_by_one(40));
  }
}

TEST_CASE(
    "runs: an end token, the room of a sequence and a nudge cut what is on its way; it goes on as if it never was") {
  Pair engines;
  const std::vector<Draw> expected = Sequences(engines.plain, 2).one_by_one(30);
  SUBCASE("end token") {
    const std::int32_t end = expected[9].token;
    std::size_t first = 0;
    while (expected[first].token != end) ++first;
    engines.device.set_end_tokens({end});
    Sequences running(engines.device, 2);
    std::vector<Draw> draws = running.wait({16, no_limit});
    CHECK(draws.size() == first / 2 * 2 + 2);
    while (draws.size() < expected.size())
      for (Draw& draw : running.wait({16, no_limit})) draws.push_back(std::move(draw));
    draws.resize(expected.size());
    CHECK(draws == expected);
  }
  SUBCASE("room") {
    Sequences running(engines.device, 2, 9);
    REQUIRE(engines.device.kv().reserve(running.segments[0].sequence, 40));
    const std::vector<Draw> draws = running.wait({16, no_limit});
    CHECK(draws == std::vector<Draw>(expected.begin(), expected.begin() + 18));
  }
  SUBCASE("nudge, time, a limit of draws") {
    Sequences running(engines.device, 2);
    nudge_engine(engines.device.id());
    std::vector<Draw> draws = running.wait({16, no_limit});
    CHECK(draws.size() == 2);
    for (Draw& draw : running.wait({16, 0})) draws.push_back(std::move(draw));
    CHECK(draws.size() == 4);
    for (Draw& draw : running.wait({16, no_limit, 5})) draws.push_back(std::move(draw));
    CHECK(draws.size() == 14);
    for (Draw& draw : running.wait({8, no_limit})) draws.push_back(std::move(draw));
    CHECK(draws == std::vector<Draw>(expected.begin(), expected.begin() + 30));
  }
}

TEST_CASE("runs: what a cut run left on its way harms nobody who comes after") {
  Pair engines;
  engines.same([](Engine& e) {
    std::vector<Draw> all;
    e.set_end_tokens({});
    for (int round = 0; round < 4; ++round) {
      Sequences first(e, 3);
      // Ends after one step; blocks of the steps behind it are given back and taken by others at once.
      nudge_engine(e.id());
      first.wait({16, no_limit});
      Sequences second(e, 4);
      for (Draw& draw : second.one_by_one(3)) all.push_back(std::move(draw));
    }
    return all;
  });
}

TEST_CASE("interrupt: before a step, between its pieces, in a run; it can be repeated") {
  Pair engines(KvDtype::f16, 256);
  Engine& engine = engines.device;
  const std::vector<Draw> expected = Sequences(engines.plain, 2).one_by_one(12);
  SUBCASE("before") {
    Sequences running(engine, 2);
    interrupt_engine(engine.id());
    CHECK(running.wait({8, no_limit}).empty());
    CHECK(running.wait({12, no_limit}) == expected);
  }
  SUBCASE("in a run") {
    Sequences running(engine, 2);
    std::vector<Draw> draws;
    for (int tries = 0; draws.size() < expected.size(); ++tries) {
      std::thread other([&, tries] {
        std::this_thread::sleep_for(std::chrono::milliseconds(8 * tries));
        if (tries < 12) interrupt_engine(engine.id());
      });
      for (Draw& draw : running.wait({16, no_limit})) draws.push_back(std::move(draw));
      other.join();
    }
    draws.resize(expected.size());
    CHECK(draws == expected);
    CHECK(engine.kv().check() == "");
  }
  SUBCASE("a long prompt") {
    const auto prompt = [](Engine& e) {
      const int sequence = e.create("");
      e.set_sampler(sequence, Sequences::sampler(1, 200));
      REQUIRE(e.kv().reserve(sequence, 200));
      Step step{{{sequence, 200, 1, false, -1}}, {}};
      for (int t = 0; t < 200; ++t) step.tokens.push_back(3 * t % small_vocabulary);
      bool done = false;
      for (int tries = 0; !done; ++tries) {
        e.submit(step);
        std::thread other([&] {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          if (tries < 3) interrupt_engine(e.id());
        });
        done = e.wait();
        other.join();
      }
      return draws_of(e);
    };
    engines.same(prompt);
  }
}

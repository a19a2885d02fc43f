// What goes wrong at the driver while an engine is made, gives steps, captures graphs, waits, and is closed: an error
// with a code, nothing left behind, and where the device lives on the same step again brings what it should have.
#include <doctest.h>

#include <map>

#include "cuda/cuda_backend.h"
#include "error.h"
#include "fake.h"
#include "step_engine.h"
#include "tests/compare.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

EngineOptions options() {
  EngineOptions o{1, 40, 96, true};
  o.queue_seconds = no_limit;
  return o;
}

// Prompts, one of them in pieces; steps of two sizes; a run that is cut; a close. `again`: a step that failed is given
// once more.
std::vector<Draw> work(std::unique_ptr<Backend> backend, bool again, int* repeated = nullptr) {
  Engine engine(small_model(std::move(backend)), options());
  std::vector<Draw> all;
  const auto wait = [&](const auto& act) {
    for (int tries = 0;; ++tries) {
      try {
        return act();
      } catch (const Error&) {
        if (!again || tries > 0) throw;
        ++*repeated;
      }
    }
  };
  const auto keep = [&](std::vector<Draw> draws) {
    for (Draw& draw : draws) all.push_back(std::move(draw));
  };
  const int prompt = engine.create("");
  engine.set_sampler(prompt, Sequences::sampler(1, 71));
  if (!engine.kv().reserve(prompt, 71)) throw std::runtime_error("no room");
  Step step{{{prompt, 70, 2, false, -1}}, {}};
  for (int t = 0; t < 70; ++t) step.tokens.push_back(3 * t % small_vocabulary);
  keep(wait([&] {
    engine.submit(step);
    engine.wait();
    return draws_of(engine);
  }));
  engine.release(prompt);
  for (const int count : {1, 3}) {
    const std::vector<Draw> drawn = wait([&] {
      Sequences drawing(engine, count, 24);
      std::vector<Draw> draws = drawing.one_by_one(2);
      for (Draw& draw : drawing.wait({4, no_limit})) draws.push_back(std::move(draw));
      nudge_engine(engine.id());
      for (Draw& draw : drawing.wait({4, no_limit})) draws.push_back(std::move(draw));
      return draws;
    });
    keep(drawn);
  }
  return all;
}

std::uint64_t calls_of_work() {
  const std::uint64_t before = report().calls;
  work(make_cuda_backend(0), false);
  return report().calls - before;
}

}  // namespace

TEST_CASE("steps: each call of the driver fails once in turn, in making an engine, its steps, graphs and closing") {
  fake();
  const std::vector<Draw> expected = work(make_reference_backend(), false);
  CHECK(expected.size() > 20);
  const std::uint64_t calls = calls_of_work();
  CHECK(calls > 500);
  std::map<Code, int> codes;
  int repeated = 0;
  const int errors[] = {2, 719, 999};
  // Some of the calls, each with one of the errors; all where every case is asked for.
  const std::uint64_t stride = deep() ? 1 : calls / 31;
  for (std::uint64_t k = 1; k <= calls; k += stride) {
    const int error = errors[k / stride % 3];
    CAPTURE(k);
    CAPTURE(error);
    const Left left;
    const Played played(("rules=record fail=" + std::to_string(k) + ":" + std::to_string(error)).c_str());
    try {
      const bool same = work(make_cuda_backend(0), true, &repeated) == expected;
      CHECK(same);
    } catch (const Error& e) {
      ++codes[e.code()];
      CHECK((e.code() == Code::out_of_memory || e.code() == Code::engine_failed));
    }
    CHECK_MESSAGE(left.nothing(), report().message);
    CHECK_MESSAGE(report().broken_rules == 0, report().message);
  }
  CHECK(work(make_cuda_backend(0), false) == expected);
  CHECK(codes[Code::engine_failed] > 4);
  CHECK(repeated > 4);
}

TEST_CASE("steps: a device lost in the midst of them") {
  fake();
  const std::uint64_t calls = calls_of_work();
  for (std::uint64_t k = 1; k <= calls; k += calls / 8) {
    CAPTURE(k);
    const Left left;
    const Played played(("rules=record lost=" + std::to_string(k)).c_str());
    int repeated = 0;
    try {
      work(make_cuda_backend(0), true, &repeated);
    } catch (const Error& e) {
      CHECK(e.code() == Code::engine_failed);
    }
    CHECK_MESSAGE(left.nothing(), report().message);
  }
  CHECK(!work(make_cuda_backend(0), false).empty());
}

// Engines that guess, in every way and with every accident, against engines that do not: draw for draw the same, and no
// wrong token kept.
#include <doctest.h>

#include <algorithm>
#include <functional>

#include "draft_model.h"
#include "engine.h"
#include "error.h"
#include "tests/compare.h"
#include "tests/drafts/guesses.h"
#include "tests/draws.h"
#include "tests/forwarding_backend.h"
#include "tests/one_layer_model.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

constexpr int vocabulary = 301;

std::shared_ptr<Model> load(std::function<void()>& before_step, int seed = 7, int size = vocabulary) {
  return seeded_one_layer_model(std::make_unique<WatchedBackend>(before_step), size, seed);
}

// A prompt that repeats itself, and a way to draw.
struct Ask {
  Tokens prompt;
  SamplerParams params;
  std::string salt;
};
Ask random_ask(Rng& rng) {
  Ask ask;
  ask.prompt = random_text(rng, rng.between(2, 70), 30);
  SamplerParams& p = ask.params;
  p.seed = rng.next() % 1000;
  p.temperature = rng.pick<float>({0, 0, 0.05f, 0.7f, 1});
  if (rng.chance(3)) p.top_p = 0.9f, p.top_k = 3;
  if (rng.chance(4)) p.min_p = 0.3f;
  if (rng.chance(4)) p.repetition_penalty = 1.3f, p.frequency_penalty = 0.2f, p.presence_penalty = 0.1f;
  if (rng.chance(4)) p.bias = {{3, 2.0f}, {300, -5.0f}};
  p.logprobs = rng.pick<int>({-1, 0, 3});
  p.prompt_length = static_cast<int>(ask.prompt.size());
  ask.salt = rng.chance(2) ? "a" : "b";
  return ask;
}

constexpr EngineOptions roomy{2, 160, 256, true};

// A sequence that has computed its prompt but for the last token.
int begin(Engine& engine, const Ask& ask) {
  const int sequence = engine.create(ask.salt);
  engine.set_sampler(sequence, ask.params);
  const int count = static_cast<int>(ask.prompt.size());
  int at = engine.match(sequence, ask.prompt.data(), count);
  REQUIRE(engine.kv().reserve(sequence, count - at));
  while (at < count - 1) {
    const int n = std::min(count - 1 - at, engine.options().max_step_tokens);
    engine.submit({{{sequence, n, 0, false, -1}}, {ask.prompt.begin() + at, ask.prompt.begin() + at + n}});
    REQUIRE(engine.wait());
    at += n;
  }
  return sequence;
}

std::vector<Draw> plain(const Ask& ask, int count, EngineOptions options = roomy) {
  std::function<void()> nothing;
  Engine engine(load(nothing), options);
  const int sequence = begin(engine, ask);
  std::vector<Draw> draws;
  std::int32_t next = ask.prompt.back();
  while (static_cast<int>(draws.size()) < count) {
    REQUIRE(engine.kv().reserve(sequence, 1));
    engine.submit({{{sequence, 1, 1, false, -1}}, {next}});
    REQUIRE(engine.wait());
    draws.push_back(draw_of(engine.result().rows[0]));
    next = draws.back().token;
  }
  return draws;
}

struct Counts {
  int steps = 0, proposed = 0, right = 0, by_model = 0, discarded = 0;
};

// Requests that an engine decodes together, each in its own way of guessing.
struct Decoding {
  Decoding(Engine& e, std::vector<Ask> a) : engine(e), asks(std::move(a)), draws(asks.size()) {
    for (const Ask& ask : asks) sequences.push_back(begin(engine, ask)), next.push_back(ask.prompt.back());
  }
  ~Decoding() {
    for (const int s : sequences) engine.release(s);
    CHECK(engine.kv().check() == "");
    CHECK(engine.kv().stats().owned == 0);
  }
  // One wait for those that have fewer than `count` draws; false when there are none.
  bool advance(int count, const std::function<Drafting(std::size_t)>& drafting, const Run& run, int room) {
    Step step;
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < asks.size(); ++i) {
      if (static_cast<int>(draws[i].size()) >= count) continue;
      who.push_back(i);
      if (engine.kv().room(sequences[i]) < room) REQUIRE(engine.kv().reserve(sequences[i], room));
      step.segments.push_back({sequences[i], 1, 1, false, -1, drafting(i)});
      step.tokens.push_back(next[i]);
    }
    if (who.empty()) return false;
    engine.submit(std::move(step));
    const std::size_t most_rows = engine.result_rows();
    if (!engine.wait(run)) {
      ++counts.discarded;
      return true;
    }
    const StepResult& result = engine.result();
    REQUIRE(result.rows.size() <= most_rows * static_cast<std::size_t>(run.steps));
    std::size_t row = 0, report = 0;
    while (row < result.rows.size()) {
      for (const std::size_t i : who) {
        const DraftReport r = result.drafts.empty() ? DraftReport{1} : result.drafts[report++];
        REQUIRE(r.draws >= 1);
        REQUIRE(r.draws <= 1 + r.proposed);
        for (int d = 0; d < r.draws; ++d) draws[i].push_back(draw_of(result.rows[row++]));
        counts.proposed += r.proposed, counts.right += r.draws - 1;
        counts.by_model += r.source == DraftSource::model ? r.proposed : 0;
      }
      ++counts.steps;
    }
    CHECK(result.drafts.size() == report);
    for (const std::size_t i : who) {
      next[i] = draws[i].back().token;
      const Tokens& held = engine.kv().tokens(sequences[i]);
      REQUIRE(held.size() == asks[i].prompt.size() + draws[i].size() - 1);
      for (std::size_t d = 0; d + 1 < draws[i].size(); ++d)
        REQUIRE(held[asks[i].prompt.size() + d] == draws[i][d].token);
    }
    REQUIRE(engine.kv().check() == "");
    return true;
  }
  void check(const std::vector<std::vector<Draw>>& expected) const {
    for (std::size_t i = 0; i < asks.size(); ++i) {
      CAPTURE(i);
      REQUIRE(draws[i].size() >= expected[i].size());
      CHECK(std::equal(expected[i].begin(), expected[i].end(), draws[i].begin()));
    }
  }

  Engine& engine;
  const std::vector<Ask> asks;
  std::vector<int> sequences;
  std::vector<std::vector<Draw>> draws;
  Tokens next;
  Counts counts;
};

constexpr double no_limit = 1e9;
constexpr int outputs = 60;

Drafting random_drafting(Rng& rng) {
  if (rng.chance(5)) return {};
  Drafting d;
  d.on = true;
  for (int& n : d.own) n = rng.below(max_drafts + 1);
  for (int& n : d.shared) n = rng.below(max_drafts + 1);
  d.model = rng.chance(3) ? 0 : rng.below(max_drafts + 1);
  d.once = rng.chance(4);
  return d;
}

struct Hooks {
  std::function<void()> before_step, before_draft;
};

}  // namespace

TEST_CASE("drafting engines draw what engines draw that do not guess") {
  Counts sum;
  for (int seed = 0; seed < (deep() ? 120 : 7); ++seed) {
    CAPTURE(seed);
    Rng rng(static_cast<std::uint64_t>(seed));
    Hooks hooks;
    Engine engine(load(hooks.before_step), roomy);
    // The target itself, another model, another size of vocabulary, a pool that is too small, none.
    const int kind = seed % 5;
    constexpr EngineOptions small_pool{2, 6, 256, true};
    if (kind < 4)
      engine.set_draft_model(load(hooks.before_draft, kind == 1 ? 8 : 7, kind == 2 ? rng.pick<int>({250, 301, 330}) : 301),
                             kind == 3 ? small_pool : roomy);
    std::vector<Ask> asks;
    std::vector<std::vector<Draw>> expected;
    for (int i = rng.between(1, 9); i > 0; --i) {
      asks.push_back(random_ask(rng));
      expected.push_back(plain(asks.back(), outputs));
    }
    const auto anywhere = [&](int one_in) {
      return [&, one_in] {
        if (rng.chance(one_in)) interrupt_engine(engine.id());
        if (rng.chance(one_in)) nudge_engine(engine.id());
      };
    };
    // Twice: the second time out of the prefix index, with what the tenants said.
    for (int round = 0; round < 2; ++round) {
      Decoding decoding(engine, asks);
      if (seed % 2 == 1) hooks.before_step = anywhere(8), hooks.before_draft = anywhere(20);
      engine.set_end_tokens({asks[0].prompt[0], expected[0][20].token, 17});
      const auto drafting = [&](std::size_t) { return random_drafting(rng); };
      while (decoding.advance(outputs, drafting, {rng.between(1, 12), rng.chance(4) ? 0 : no_limit}, rng.between(1, 40)));
      hooks.before_step = nullptr, hooks.before_draft = nullptr;
      decoding.check(expected);
      const Counts& c = decoding.counts;
      sum.steps += c.steps, sum.proposed += c.proposed, sum.right += c.right;
      sum.by_model += c.by_model, sum.discarded += c.discarded;
    }
    if (engine.draft_model() != nullptr) {
      CHECK(engine.draft_model()->kv().check() == "");
      CHECK(engine.draft_model()->kv().stats().owned == 0);
      CHECK(engine.draft_model()->kv().sequences() == 0);
    }
    // What the index holds is what was said, and computed of it.
    for (std::size_t i = 0; i < asks.size(); ++i) {
      Ask again = asks[i];
      const std::size_t said = 40;
      for (std::size_t d = 0; d < said; ++d) again.prompt.push_back(expected[i][d].token);
      Decoding decoding(engine, {again});
      const int whole = (static_cast<int>(again.prompt.size()) - 1) / kv_block_tokens * kv_block_tokens;
      CHECK(engine.kv().length(decoding.sequences[0]) >= whole);
      while (decoding.advance(outputs - static_cast<int>(said), [](std::size_t) { return Drafting{}; }, {8, no_limit}, 32));
      decoding.check({{expected[i].begin() + static_cast<std::ptrdiff_t>(said), expected[i].end()}});
    }
  }
  // Something happened.
  CHECK(sum.proposed > 1000);
  CHECK(sum.right > 500);
  CHECK(sum.right < sum.proposed);
  CHECK(sum.by_model > 300);
  CHECK(sum.discarded > 10);
}

namespace {

Drafting model_only(int most) {
  Drafting d;
  d.on = true, d.model = most;
  return d;
}

}  // namespace

TEST_CASE("draft model: the target itself is always right, at every temperature") {
  for (const float temperature : {0.0f, 0.8f, 1.5f}) {
    CAPTURE(temperature);
    Rng rng(5);
    Hooks hooks;
    Engine engine(load(hooks.before_step), roomy);
    engine.set_draft_model(load(hooks.before_draft), roomy);
    std::vector<Ask> asks{random_ask(rng), random_ask(rng), random_ask(rng)};
    for (Ask& ask : asks) ask.params.temperature = temperature, ask.params.logprobs = -1;
    Decoding decoding(engine, asks);
    while (decoding.advance(outputs, [](std::size_t) { return model_only(4); }, {1, 0}, 40));
    CHECK(decoding.counts.by_model > 100);
    CHECK(decoding.counts.right == decoding.counts.proposed);
    CHECK(decoding.counts.steps == outputs / 5);
    decoding.check({plain(asks[0], outputs), plain(asks[1], outputs), plain(asks[2], outputs)});
  }
}

TEST_CASE("guesses for the first step of a run only") {
  Rng rng(9);
  Hooks hooks;
  Engine engine(load(hooks.before_step), roomy);
  engine.set_draft_model(load(hooks.before_draft), roomy);
  const std::vector<Ask> asks{random_ask(rng), random_ask(rng)};
  const auto drafting = [](std::size_t i) {
    Drafting d = model_only(2);
    d.once = i == 0;
    return d;
  };
  Decoding decoding(engine, asks);
  for (int run = 0; run < 3; ++run) {
    REQUIRE(decoding.advance(outputs, drafting, {3, no_limit}, 40));
    std::vector<int> proposed;
    for (const DraftReport& r : engine.result().drafts) proposed.push_back(r.proposed);
    CHECK(proposed == std::vector<int>{2, 2, 0, 2, 0, 2});
  }
  for (std::size_t i = 0; i < asks.size(); ++i) {
    const std::vector<Draw> expected = plain(asks[i], static_cast<int>(decoding.draws[i].size()));
    CHECK(decoding.draws[i] == expected);
  }
}

TEST_CASE("draft model: another one is mostly wrong, and planted draws are what they are planted to be") {
  Rng rng(6);
  Hooks hooks;
  Engine engine(load(hooks.before_step), roomy);
  engine.set_draft_model(load(hooks.before_draft, 99), roomy);
  Ask ask = random_ask(rng);
  // Not what every model of random weights does: say the last token again, or follow the noise.
  ask.params.temperature = 0, ask.params.repetition_penalty = 3, ask.params.frequency_penalty = 5;
  const std::vector<Draw> expected = plain(ask, outputs);
  {
    Decoding decoding(engine, {ask});
    while (decoding.advance(outputs, [](std::size_t) { return model_only(3); }, {4, no_limit}, 40));
    decoding.check({expected});
    CHECK(decoding.counts.right < decoding.counts.proposed / 3);
  }
  const std::vector<Ask> asks{ask};
  Decoding decoding(engine, asks);
  Tokens draws = ask.prompt;
  for (const Draw& draw : expected) draws.push_back(draw.token);
  draws[ask.prompt.size() + 30] ^= 1, draws[ask.prompt.size() + 31] ^= 1;
  engine.draft_model()->plant(decoding.sequences[0], draws);
  while (decoding.advance(outputs, [](std::size_t) { return model_only(4); }, {1, 0}, 40));
  decoding.check({expected});
  // Of two wrong guesses that follow each other one is made at least, and each ends a chain of five draws early.
  CHECK(decoding.counts.steps <= outputs / 5 + 2);
  CHECK(decoding.counts.right < decoding.counts.proposed);
}

TEST_CASE("draft model: a long prompt is caught up with in several steps, and guesses come after that") {
  Rng rng(7);
  Hooks hooks;
  Engine engine(load(hooks.before_step), roomy);
  engine.set_draft_model(load(hooks.before_draft), roomy);
  Ask ask = random_ask(rng);
  ask.prompt = random_text(rng, 300, 200);
  ask.params.prompt_length = 300;
  const std::vector<Draw> expected = plain(ask, 20);
  const std::vector<Ask> asks{ask};
  Decoding decoding(engine, asks);
  std::vector<int> behind, proposed;
  while (decoding.advance(20, [](std::size_t) { return model_only(4); }, {1, 0}, 40)) {
    behind.push_back(engine.result().drafts[0].behind);
    proposed.push_back(engine.result().drafts[0].proposed);
  }
  decoding.check({expected});
  CHECK(behind == std::vector<int>{128, 128, 45, 0, 0, 0});
  CHECK(proposed == std::vector<int>{0, 0, 4, 4, 4, 4});
}

TEST_CASE("draft model: an interrupt while it computes discards the step, a nudge ends the run after it") {
  Rng rng(8);
  Hooks hooks;
  Engine engine(load(hooks.before_step), roomy);
  engine.set_draft_model(load(hooks.before_draft), roomy);
  Ask ask = random_ask(rng);
  const std::vector<Ask> asks{ask};
  const std::vector<Draw> expected = plain(ask, 40);
  const auto drafting = [](std::size_t) { return model_only(2); };
  Decoding decoding(engine, asks);
  const int length = engine.kv().length(decoding.sequences[0]);
  hooks.before_draft = [&] { interrupt_engine(engine.id()); };
  CHECK(decoding.advance(40, drafting, {8, no_limit}, 40));
  CHECK(decoding.counts.discarded == 1);
  CHECK(engine.kv().length(decoding.sequences[0]) == length);
  // In the third step of a run: the two before it stand.
  hooks.before_draft = [&, step = 0]() mutable {
    if (++step == 5) interrupt_engine(engine.id());
  };
  CHECK(decoding.advance(40, drafting, {8, no_limit}, 40));
  CHECK(decoding.counts.steps == 2);
  CHECK(decoding.draws[0].size() == 6);
  hooks.before_draft = [&, step = 0]() mutable {
    if (++step == 3) nudge_engine(engine.id());
  };
  CHECK(decoding.advance(40, drafting, {8, no_limit}, 40));
  CHECK(decoding.counts.steps == 4);
  hooks.before_draft = nullptr;
  CHECK(decoding.advance(40, drafting, {3, no_limit}, 40));
  CHECK(decoding.counts.steps == 7);
  while (decoding.advance(40, drafting, {8, no_limit}, 40));
  decoding.check({expected});
}

TEST_CASE("a run ends when a sequence has drawn what it may, and guesses no further") {
  Rng rng(9);
  Hooks hooks;
  Engine engine(load(hooks.before_step), roomy);
  engine.set_draft_model(load(hooks.before_draft), roomy);
  std::vector<Ask> asks{random_ask(rng), random_ask(rng)};
  for (Ask& ask : asks) ask.params.logprobs = -1;
  const std::vector<std::vector<Draw>> expected{plain(asks[0], outputs), plain(asks[1], outputs)};
  // The first is drafted for by the target itself: four draws a step. The second has one.
  const auto drafting = [](std::size_t i) { return i == 0 ? model_only(3) : Drafting{}; };
  Decoding decoding(engine, asks);
  int steps = 0, drawn = 0;
  const auto run = [&](int draws, int more, int more_steps) {
    CAPTURE(draws);
    CHECK(decoding.advance(outputs, drafting, {12, no_limit, draws}, 40));
    drawn += more, steps += more_steps;
    CHECK(static_cast<int>(decoding.draws[0].size()) == drawn);
    CHECK(static_cast<int>(decoding.draws[1].size()) == steps);
  };
  run(10, 10, 3);
  run(8, 8, 2);
  run(9, 9, 3);
  run(5, 5, 2);
  // The first step is the caller's to bound: it comes whole.
  run(4, 4, 1);
  run(1, 4, 1);
  decoding.check({{expected[0].begin(), expected[0].begin() + drawn}, {expected[1].begin(), expected[1].begin() + steps}});
}

TEST_CASE("drafting segments: what a step refuses, and a fork of a tenant's sequence guesses from that tenant's texts") {
  Hooks hooks;
  Engine engine(load(hooks.before_step), roomy);
  const int sequence = engine.create("a");
  engine.set_sampler(sequence, {});
  REQUIRE(engine.kv().reserve(sequence, 40));
  for (const Segment& bad : {Segment{sequence, 2, 1, false, -1, every}, Segment{sequence, 2, 2, false, -1, every},
                             Segment{sequence, 1, 0, false, -1, every}, Segment{sequence, 1, 1, true, 3, every}})
    CHECK_THROWS_AS(engine.submit({{bad}, Tokens(static_cast<std::size_t>(bad.count), 1)}), Error);
  engine.submit({{{sequence, 1, 1, false, -1, every}}, {1}});
  CHECK(engine.drafting());
  CHECK(engine.result_rows() == 1 + max_drafts);
  REQUIRE(engine.wait());
  engine.release(sequence);

  Drafters drafters;
  drafters.open(1, "a");
  propose(drafters, 1, {1}, 2);
  drafters.close(1, counting(100, 40));
  drafters.open(2, "a"), drafters.open(3, drafters.salt(2));
  CHECK(propose(drafters, 3, {110}, 111).guesses[0] == 112);
}

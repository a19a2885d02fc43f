// Steps of an engine: what an interrupt leaves, what is refused, and what the tokens of a prompt score.
#include <doctest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "error.h"
#include "tests/model/small_model.h"

using namespace octavo;
using namespace octavo::testing;

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

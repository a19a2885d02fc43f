// The sampler: hand-computed cases, the fast selection and the pruned draw against a naive form of the same definitions
// (full sort, noise of every token), and draws against exact probabilities by chi-square tests with fixed seeds.
#include "sampling/sampler.h"

#include <doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "error.h"
#include "exact_math.h"
#include "sampling/gumbel.h"
#include "sampling/logit_scan.h"
#include "tests/sampling/chi_square.h"

using octavo::SamplerParams;
using octavo::SampleRow;
using octavo::SamplerScratch;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan_logit = std::numeric_limits<float>::quiet_NaN();
using Logits = std::vector<float>;

SampleRow sampled(Logits logits, const SamplerParams& p, const std::vector<std::int32_t>& history = {},
                  int target = -1) {
  static SamplerScratch scratch;
  SampleRow row{};
  row.params = &p;
  row.history = history.data();
  row.history_length = static_cast<int>(history.size());
  row.target = target;
  octavo::sample_row(logits.data(), static_cast<int>(logits.size()), row, scratch);
  return row;
}

// Only the position matters when there are no penalties.
int drawn(const Logits& logits, const SamplerParams& p, int position, SamplerScratch& scratch) {
  Logits copy = logits;
  SampleRow row{};
  row.params = &p;
  row.history = nullptr;
  row.history_length = position;
  octavo::sample_row(copy.data(), static_cast<int>(copy.size()), row, scratch);
  return row.token;
}

// The tokens that the filters keep, most likely first, by definition.
std::vector<int> naive_kept(const Logits& l, const SamplerParams& p) {
  std::vector<int> kept;
  for (std::size_t i = 0; i < l.size(); ++i) {
    if (l[i] > -inf) kept.push_back(static_cast<int>(i));
  }
  std::stable_sort(kept.begin(), kept.end(), [&](int a, int b) { return l[a] > l[b]; });
  if (kept.empty()) return kept;
  const float highest = l[kept[0]], temperature = std::max(p.temperature, 1e-30f);
  if (p.top_k > 0 && static_cast<std::size_t>(p.top_k) < kept.size()) kept.resize(static_cast<std::size_t>(p.top_k));
  if (p.top_p < 1) {
    std::int64_t total = 0, sum = 0;
    for (int i : kept) total += octavo::weight(l[i], highest, 1 / temperature);
    std::size_t n = 0;
    while (n < kept.size() && static_cast<double>(sum) < static_cast<double>(p.top_p) * static_cast<double>(total)) {
      sum += octavo::weight(l[kept[n++]], highest, 1 / temperature);
    }
    kept.resize(n);
  }
  if (p.min_p > 0) {
    std::erase_if(kept, [&](int i) {
      return (static_cast<double>(l[i]) - highest) / static_cast<double>(temperature) <
             octavo::exact_log(static_cast<double>(p.min_p));
    });
  }
  return kept;
}

int naive_draw(const Logits& l, const SamplerParams& p, int position) {
  double best = -std::numeric_limits<double>::infinity();
  int token = -1;
  const std::vector<int> kept = naive_kept(l, p);
  for (int i : kept) {
    const double z = (static_cast<double>(l[i]) - l[kept[0]]) / static_cast<double>(std::max(p.temperature, 1e-30f));
    const double score =
        z + octavo::gumbel_noise(p.seed, static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(i));
    if (score > best || (score == best && i < token)) {
      best = score;
      token = i;
    }
  }
  return token;
}

// Rows of many shapes: flat, peaked, few distinct values (ties), banned and broken logits.
Logits random_row(int vocab, std::mt19937_64& random) {
  std::normal_distribution<float> normal(0, 1);
  const int shape = static_cast<int>(random() % 6);
  const float scale = std::exp2(static_cast<float>(random() % 8) - 3);
  Logits l(static_cast<std::size_t>(vocab));
  for (float& x : l) {
    x = normal(random) * scale;
    if (shape == 1) x = std::round(x);
    if (shape == 2) x = random() % 50 == 0 ? x + 12 * scale : x;
    if (shape == 3) x = random() % 7 == 0 ? -inf : random() % 11 == 0 ? nan_logit : x;
    if (shape == 4) x = static_cast<float>(random() % 2);
  }
  if (shape == 5) std::fill(l.begin(), l.end(), 3.5f);
  return l;
}

// Draws with `p`, expectations of `truth`.
double fit(const Logits& l, const SamplerParams& p, const SamplerParams& truth, int draws) {
  std::vector<double> observed(l.size(), 0), expected(l.size(), 0);
  SamplerScratch scratch;
  for (int i = 0; i < draws; ++i) ++observed[static_cast<std::size_t>(drawn(l, p, i, scratch))];
  const std::vector<int> kept = naive_kept(l, truth);
  double sum = 0;
  for (int i : kept) sum += std::exp((static_cast<double>(l[i]) - l[kept[0]]) / truth.temperature);
  for (int i : kept) expected[i] = draws * std::exp((static_cast<double>(l[i]) - l[kept[0]]) / truth.temperature) / sum;
  return chi_square_p(observed, expected);
}

SamplerParams with(float temperature, int top_k = 0, float top_p = 1, float min_p = 0, std::uint64_t seed = 1) {
  SamplerParams p;
  p.temperature = temperature;
  p.top_k = top_k;
  p.top_p = top_p;
  p.min_p = min_p;
  p.seed = seed;
  return p;
}

}  // namespace

TEST_CASE("sampler: temperature 0 is argmax, the lowest id on a tie, at every place of a row") {
  for (int vocab : {1, 3, 63, 64, 65, 127, 200, 1000}) {
    for (int best = 0; best < vocab; ++best) {
      Logits l(static_cast<std::size_t>(vocab), -2.5f);
      l[static_cast<std::size_t>(best)] = 1;
      for (int tie = best; tie < vocab; tie += 17) l[static_cast<std::size_t>(tie)] = 1;
      CHECK(sampled(l, with(0)).token == best);
    }
  }
}

TEST_CASE("sampler: NaN counts as -infinity, +infinity as the largest float, a row without a finite logit gives -1") {
  for (const SamplerParams& p : {with(0), with(0.8f), with(0.8f, 2), with(0.8f, 0, 0.9f), with(0.8f, 0, 1, 0.1f)}) {
    CHECK(sampled({nan_logit, -inf, nan_logit}, p).token == -1);
    CHECK(sampled({inf, -inf, inf}, p).token == -1);
    CHECK(sampled(Logits(100, -inf), p).token == -1);
    CHECK(sampled({nan_logit, -3, nan_logit, -inf}, p).token == 1);
    CHECK(sampled({nan_logit, 3, inf, -inf}, p).token == 2);
    SamplerParams banned = p;
    banned.bias = {{0, -inf}, {1, -inf}};
    CHECK(sampled({1, 2}, banned).token == -1);
    CHECK(sampled({1, 2, -5}, banned).token == 2);
  }
}

TEST_CASE("sampler: a temperature too small for the quotient behaves as argmax") {
  for (float t : {1e-45f, 1e-38f, 1e-30f, 1e-20f}) {
    for (const SamplerParams& p :
         {with(t), with(t, 2), with(t, 0, 0.5f), with(t, 0, 1, 0.5f), with(t, 3, 0.9f, 0.1f)}) {
      CHECK(sampled({1, 5, 4.9999995f, -3e38f}, p).token == 1);
      CHECK(sampled({-3e38f, -3.1e38f}, p).token == 0);
    }
  }
  CHECK(sampled({1, 2}, with(3e38f)).token >= 0);
}

TEST_CASE("sampler: bias is added, -infinity bans, repeated entries add up") {
  SamplerParams p = with(0);
  p.bias = {{0, 2.5f}};
  CHECK(sampled({1, 3, 2}, p).token == 0);
  p.bias = {{1, -inf}};
  CHECK(sampled({1, 3, 2}, p).token == 2);
  p.bias = {{2, 0.75f}, {2, 0.75f}};
  CHECK(sampled({1, 3, 2}, p).token == 2);
}

TEST_CASE("sampler: repetition penalty divides positive and multiplies negative logits, once, over prompt and output") {
  SamplerParams p = with(0);
  p.repetition_penalty = 2;
  p.prompt_length = 2;
  CHECK(sampled({4, 3, 1}, p, {0, 0, 0}).token == 1);        // 4 / 2 < 3, not 4 / 8
  CHECK(sampled({4, 3, 1}, p, {0, 1, 2}).token == 0);        // 2, 1.5, 0.5
  CHECK(sampled({-1, -1.5f, -9}, p, {0}).token == 1);        // -2 < -1.5
  CHECK(sampled({4, 1.9f, 1}, p, {0, 0, 0, 0}).token == 0);  // 2 > 1.9
  p.repetition_penalty = 1e-38f;
  CHECK(sampled({4, 3e38f, 1}, p, {0, 1}).token == 0);       // both overflow to the largest float
}

TEST_CASE("sampler: presence and frequency penalties count the output only") {
  SamplerParams p = with(0);
  p.prompt_length = 3;
  p.presence_penalty = 1;
  CHECK(sampled({4, 3.5f}, p, {0, 0, 0}).token == 0);
  CHECK(sampled({4, 3.5f}, p, {0, 0, 0, 0}).token == 1);
  CHECK(sampled({4, 2.5f}, p, {0, 0, 0, 0, 0, 0}).token == 0);  // once, not per occurrence
  p.presence_penalty = 0;
  p.frequency_penalty = 0.5f;
  CHECK(sampled({4, 2.75f}, p, {0, 0, 0, 0, 0}).token == 0);    // 3
  CHECK(sampled({4, 2.75f}, p, {0, 0, 0, 0, 0, 0}).token == 1); // 2.5
  p.presence_penalty = -3;
  CHECK(sampled({4, 2.75f}, p, {0, 0, 0, 1}).token == 1);       // 2.75 - 0.5 + 3
  p.prompt_length = 99;                                         // all of the history is prompt
  CHECK(sampled({4, 2.75f}, p, {0, 0, 0, 1}).token == 0);
}

TEST_CASE("sampler: ids beyond the vocabulary are never drawn, and log-probabilities count them") {
  for (const int vocab : {7, 40, 300}) {
    std::mt19937 random(static_cast<unsigned>(vocab));
    Logits logits(static_cast<std::size_t>(vocab));
    for (float& l : logits) l = static_cast<float>(random() % 2000) / 500.0f;
    logits.back() = 50;  // all but certain, were it allowed
    for (const int tokens : {1, vocab / 2, vocab - 1, vocab, vocab + 5, 0}) {
      const Logits allowed(logits.begin(), logits.begin() + (tokens > 0 ? std::min(tokens, vocab) : vocab));
      for (const SamplerParams& base : {with(0), with(3), with(1, 2), with(1, 0, 0.9f), with(1, 0, 1, 0.1f)}) {
        SamplerParams limited = base;
        limited.vocabulary = tokens;
        SamplerScratch scratch;
        for (int position = 0; position < 50; ++position)
          CHECK(drawn(logits, limited, position, scratch) == drawn(allowed, base, position, scratch));
        limited.logprobs = 1;
        const SampleRow row = sampled(logits, limited);
        CHECK(row.top[0].token == vocab - 1);
        CHECK(row.token == sampled(allowed, base).token);
        limited.vocabulary = 0;
        limited.bias = {{row.token, 0.0f}};
        CHECK(row.logprob == sampled(logits, limited, {}, row.token).logprob);
      }
    }
  }
}

TEST_CASE("sampler: bias comes before penalties, repetition before presence and frequency") {
  SamplerParams p = with(0);
  p.bias = {{0, 4}};
  p.repetition_penalty = 2;
  p.frequency_penalty = 1;
  CHECK(sampled({2, 1.9f}, p, {0}).token == 0);  // (2 + 4) / 2 - 1 = 2, and not 2 / 2 + 4 - 1
  CHECK(sampled({2, 2.1f}, p, {0}).token == 1);
  SamplerParams q = p;
  q.logprobs = 0;
  CHECK(sampled({2, 1.9f}, q, {0}).logprob == doctest::Approx(-std::log(1 + std::exp(-0.1))).epsilon(1e-5));  // raw
}

TEST_CASE("sampler: scratch carries nothing from one row to the next") {
  SamplerScratch scratch;
  SamplerParams p = with(0);
  p.repetition_penalty = 3;
  p.frequency_penalty = 1;
  const std::vector<std::int32_t> history{1, 1, 2};
  for (int vocab : {300, 3, 1000, 64}) {
    Logits l(static_cast<std::size_t>(vocab), -50);
    l[0] = 1, l[1] = 9, l[2] = 3;
    SampleRow row{};
    row.params = &p;
    row.history = history.data();
    row.history_length = 3;
    octavo::sample_row(l.data(), vocab, row, scratch);
    CHECK(row.token == 0);
    CHECK(l[1] == 1.0f);
    CHECK(std::all_of(scratch.counts.begin(), scratch.counts.end(), [](int c) { return c == 0; }));
  }
}

TEST_CASE("sampler: log-probabilities equal the log-softmax of the raw logits in long double") {
  std::mt19937_64 random(5);
  double worst = 0;
  for (int round = 0; round < 300; ++round) {
    const int vocab = 1 + static_cast<int>(random() % 5000);
    const Logits l = random_row(vocab, random);
    long double highest = -INFINITY, sum = 0;
    for (float x : l) highest = x > highest ? x : highest;
    if (highest == -INFINITY) continue;
    for (float x : l) sum += std::isnan(x) ? 0 : std::exp(static_cast<long double>(x) - highest);
    const auto exact = [&](int i) {
      return std::isnan(l[i]) ? -INFINITY : static_cast<long double>(l[i]) - highest - std::log(sum);
    };
    SamplerParams p = with(round % 2 ? 0.9f : 0.0f);
    p.logprobs = static_cast<int>(random() % 9);
    p.bias = {{static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab)), 4.0f}};
    p.repetition_penalty = 1.3f;
    const int target = static_cast<int>(random() % static_cast<unsigned>(vocab));
    const SampleRow score = sampled(l, p, {}, target), row = sampled(l, p, {0, vocab - 1, 0});
    CHECK(score.token == target);
    std::vector<std::pair<float, int>> pairs{{score.logprob, target}, {row.logprob, row.token}};
    std::vector<int> order = naive_kept(l, with(1));
    REQUIRE(row.top.size() == std::min(order.size(), static_cast<std::size_t>(p.logprobs)));
    REQUIRE(score.top.size() == row.top.size());
    for (std::size_t i = 0; i < row.top.size(); ++i) {
      CHECK(row.top[i].token == order[i]);
      pairs.emplace_back(row.top[i].logprob, row.top[i].token);
    }
    for (const auto& [logprob, token] : pairs) {
      const long double expected = exact(token);
      if (expected == -INFINITY) CHECK(logprob == -inf);
      else worst = std::max(worst, static_cast<double>(std::abs(logprob - expected) / (1 + std::abs(expected))));
    }
  }
  MESSAGE("largest error ", worst, " x (1 + |logprob|)");
  CHECK(worst < 2.5e-7);  // two roundings to float and the f32 polynomial
}

TEST_CASE("sampler: weights are exp in units of 2^-40, the same alone and in groups") {
  std::mt19937_64 random(6);
  float previous = 0;
  for (int i = 0; i < 400000; ++i) {
    const float z = -static_cast<float>(i) * (33.0f / 400000);
    const double w = static_cast<double>(octavo::weight(z, 0, 1)) * 0x1p-40;
    const double exact = std::exp(static_cast<double>(z));
    REQUIRE(std::abs(w - exact) <= 2e-7 * exact + 0x1p-41);
    if (z < octavo::weightless) REQUIRE(w == 0);
    previous = z;
  }
  CHECK(previous < -32.9f);
  for (int count = 1; count <= 64; ++count) {
    Logits l = random_row(64, random);
    std::int64_t group[64], sum = 0;
    float highest = -100;
    for (float x : l) highest = x > highest ? x : highest;
    const std::int64_t total = octavo::group_weights(l.data(), count, highest, 1.5f, group);
    for (int i = 0; i < count; ++i) {
      CHECK(group[i] == octavo::weight(l[static_cast<std::size_t>(i)], highest, 1.5f));
      sum += group[i];
    }
    CHECK(total == sum);
  }
}

TEST_CASE("sampler: selection and pruned draw equal the naive form on random rows") {
  std::mt19937_64 random(7);
  SamplerScratch scratch;
  const int rounds = std::getenv("OCTAVO_DEEP") ? 200000 : 1500;
  const float top_ps[] = {1, 1, 1e-30f, 0.1f, 0.5f, 0.9f, 0.99f, 0.99999994f}, min_ps[] = {0, 0, 1e-9f, 0.05f, 0.5f, 1};
  long different = 0, several = 0;
  for (int round = 0; round < rounds; ++round) {
    const int vocab = round % 100 == 0 ? 20000 : 1 + static_cast<int>(random() % 700);
    const Logits l = random_row(vocab, random);
    SamplerParams p = with(std::exp2(static_cast<float>(random() % 9) - 5));
    p.top_k = random() % 2 ? 1 + static_cast<int>(random() % (random() % 2 ? 40 : 800)) : 0;
    p.top_p = top_ps[random() % 8];
    p.min_p = min_ps[random() % 6];
    p.seed = random();
    std::set<int> seen;
    for (int i = 0; i < 4; ++i) {
      const int position = static_cast<int>(random() % 100000), token = drawn(l, p, position, scratch);
      different += token != naive_draw(l, p, position);
      seen.insert(token);
    }
    several += seen.size() > 1;
  }
  CHECK(different == 0);
  CHECK(several > rounds / 4);  // the draws did choose among tokens
}

TEST_CASE("sampler: a mask is one more filter") {
  std::mt19937_64 random(11);
  SamplerScratch scratch;
  const int rounds = std::getenv("OCTAVO_DEEP") ? 100000 : 1000;
  std::map<int, int> seen;
  long different = 0, other_logprobs = 0;
  for (int round = 0; round < rounds; ++round) {
    const int vocab = round % 50 == 0 ? 20000 : 1 + static_cast<int>(random() % 700);
    Logits l = random_row(vocab, random);
    if (round % 9 == 0) l[random() % l.size()] = inf;
    if (round % 13 == 0) {  // few numbers or none
      for (float& x : l) x = random() % 2 ? nan_logit : random() % 3 ? -inf : inf;
      if (round % 2) l[random() % l.size()] = 1;
    }
    std::vector<std::uint32_t> mask(static_cast<std::size_t>(vocab + 31) / 32);
    const bool few = random() % 3 == 0;
    for (std::uint32_t& word : mask) {
      const std::uint64_t kind = random() % 5;
      word = kind < 2 || (few && random() % 8) ? 0 : kind == 2 ? 0xffffffffu : static_cast<std::uint32_t>(random());
    }
    std::vector<std::int32_t> history(10);
    for (std::int32_t& t : history) t = static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab));
    SamplerParams p = with(round % 4 == 0 ? 0.0f : 1.3f, round % 3 == 0 ? 7 : 0, round % 5 == 0 ? 0.8f : 1.0f);
    p.seed = random();
    p.vocabulary = round % 11 == 0 ? 1 + static_cast<int>(random() % static_cast<unsigned>(vocab)) : 0;
    if (random() % 2) p.logprobs = 3;
    if (random() % 2) {
      p.repetition_penalty = 1.2f;
      p.presence_penalty = 0.5f;
      p.bias = {{0, 1.5f}};
    }
    // The same as a bias of -infinity on everything else, which comes last.
    SamplerParams banned = p;
    for (int t = 0; t < vocab; ++t)
      if (((mask[static_cast<std::size_t>(t / 32)] >> (t % 32)) & 1) == 0) banned.bias.emplace_back(t, -inf);
    const auto draw = [&](const SamplerParams& params, const std::uint32_t* bits) {
      Logits copy = l;
      SampleRow row{};
      row.params = &params;
      row.history = history.data();
      row.history_length = static_cast<int>(history.size());
      row.mask = bits;
      octavo::sample_row(copy.data(), vocab, row, scratch);
      return row;
    };
    const SampleRow masked = draw(p, mask.data()), wanted = draw(banned, nullptr);
    // A row without a finite logit is broken, whatever the mask; one that has some, of which none is left, is not.
    const int seen_by_scan = p.logprobs < 0 && p.vocabulary > 0 ? std::min(p.vocabulary, vocab) : vocab;
    const bool broken = std::none_of(l.begin(), l.begin() + seen_by_scan, [](float x) { return std::isfinite(x); });
    different += masked.token != (wanted.token >= 0 ? wanted.token : broken ? -1 : -2);
    const auto same = [](float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); };
    other_logprobs += !same(masked.logprob, wanted.logprob) || masked.top.size() != wanted.top.size();
    for (std::size_t i = 0; i < std::min(masked.top.size(), wanted.top.size()); ++i)
      other_logprobs +=
          masked.top[i].token != wanted.top[i].token || !same(masked.top[i].logprob, wanted.top[i].logprob);
    ++seen[std::min(masked.token, 0)];
  }
  CHECK(different == 0);
  CHECK(other_logprobs == 0);
  for (const int outcome : {-2, -1, 0}) CHECK(seen[outcome] > rounds / 100);
}

TEST_CASE("sampler: the tokens that are ever drawn are exactly those that the filters keep") {
  Logits l(150);
  for (std::size_t i = 0; i < l.size(); ++i) l[i] = static_cast<float>((i * 37) % 150 / 3) * 0.04f;  // ties of three
  SamplerScratch scratch;
  for (const SamplerParams& p :
       {with(1, 1), with(1, 20), with(1, 0, 0.3f), with(1, 0, 1e-6f), with(1, 0, 1, 0.5f), with(1, 0, 1, 1),
        with(1, 50, 0.5f), with(1, 50, 0.5f, 0.9f), with(2, 0, 0.6f, 0.6f)}) {
    std::set<int> seen;
    for (int i = 0; i < 20000; ++i) seen.insert(drawn(l, p, i, scratch));
    const std::vector<int> kept = naive_kept(l, p);
    CHECK(seen == std::set<int>(kept.begin(), kept.end()));
  }
}

TEST_CASE("sampler: draws fit exact probabilities with each filter, alone and combined") {
  Logits l(130);
  std::mt19937_64 random(8);
  std::normal_distribution<float> normal(0, 1.5f);
  for (float& x : l) x = normal(random);
  const SamplerParams cases[] = {with(1),
                                 with(0.5f),
                                 with(1.7f),
                                 with(1, 10),
                                 with(0.7f, 40),
                                 with(1, 0, 0.9f),
                                 with(0.7f, 0, 0.5f),
                                 with(1, 0, 1, 0.1f),
                                 with(1.3f, 0, 1, 0.02f),
                                 with(0.8f, 40, 0.95f),
                                 with(1, 0, 0.95f, 0.05f),
                                 with(0.9f, 60, 0.9f, 0.02f)};
  for (const SamplerParams& p : cases) {
    CAPTURE(p.temperature);
    CAPTURE(p.top_k);
    CAPTURE(p.top_p);
    CAPTURE(p.min_p);
    CHECK(fit(l, p, p, draws()) > 1e-3);
    SamplerParams wrong = p;
    wrong.temperature *= 1.07f;
    if (wrong.top_k == 0 && wrong.top_p == 1 && wrong.min_p == 0) CHECK(fit(l, wrong, p, draws()) < 1e-6);
    if (p.top_k > 0) {
      wrong = p;
      --wrong.top_k;
      if (naive_kept(l, wrong) != naive_kept(l, p)) CHECK(fit(l, wrong, p, draws()) < 1e-6);
    }
  }
  CHECK(fit(l, with(1, 0, 0.85f), with(1, 0, 0.9f), draws()) < 1e-6);
  CHECK(fit(l, with(1, 0, 1, 0.15f), with(1, 0, 1, 0.1f), draws()) < 1e-6);
}

TEST_CASE("sampler: draws of a flat row of several groups fit, over positions and over seeds") {
  const Logits flat(200, 0.25f);
  CHECK(fit(flat, with(0.6f), with(0.6f), draws()) > 1e-3);
  std::vector<double> observed(200, 0);
  SamplerScratch scratch;
  for (int i = 0; i < draws(); ++i)
    ++observed[static_cast<std::size_t>(drawn(flat, with(1, 0, 1, 0, static_cast<std::uint64_t>(i)), 3, scratch))];
  CHECK(chi_square_p(observed, std::vector<double>(200, draws() / 200.0)) > 1e-3);
  observed[0] *= 1.8;
  CHECK(chi_square_p(observed, std::vector<double>(200, draws() / 200.0)) < 1e-6);
}

TEST_CASE("sampler: a draw is a function of row, parameters, seed and position, whatever was drawn before") {
  std::mt19937_64 random(9);
  const Logits l = random_row(5000, random), other = random_row(900, random);
  SamplerScratch first, second;
  std::vector<int> a, b;
  const SamplerParams p = with(1, 0, 0.95f, 0, 77), q = with(1, 0, 0.95f, 0, 78);
  for (int i = 0; i < 300; ++i) a.push_back(drawn(l, p, i, first));
  int same = 0;
  for (int i = 299; i >= 0; --i) {
    drawn(other, with(2, 5), i, second);
    b.insert(b.begin(), drawn(l, p, i, second));
    same += drawn(l, q, i, second) == a[static_cast<std::size_t>(i)];
  }
  CHECK(a == b);
  CHECK(same < 150);
  // Fixed for good: the noise is part of a generation's result. (Values computed apart, in Python.)
  CHECK(octavo::gumbel_noise(1, 2, 3) == doctest::Approx(0.414001510610475).epsilon(1e-14));
  CHECK(octavo::gumbel_noise(0, 0, 0) == doctest::Approx(-0.6822944459784904).epsilon(1e-14));
  CHECK(octavo::gumbel_noise((1ull << 53) - 1, 131072, 151935) == doctest::Approx(1.3279339863533328).epsilon(1e-14));
}

TEST_CASE("sampler: what a caller may not do is refused with expectation and value") {
  const auto refused = [](const SamplerParams& p, const std::vector<std::int32_t>& history = {}, int target = -1) {
    try {
      sampled({1, 2, 3}, p, history, target);
      FAIL("not refused");
    } catch (const octavo::Error& e) {
      CHECK(e.code() == octavo::Code::invalid_argument);
      CHECK(e.details().size() == 3);
    }
  };
  for (float t : {-1.0f, nan_logit, inf}) refused(with(t));
  for (float top_p : {0.0f, -1.0f, 1.5f, nan_logit}) refused(with(1, 0, top_p));
  for (float min_p : {-0.1f, 1.5f, nan_logit}) refused(with(1, 0, 1, min_p));
  SamplerParams p = with(0);
  p.repetition_penalty = 0;
  refused(p);
  p.repetition_penalty = 1.1f;
  refused(p, {3});
  refused(p, {-1});
  p = with(0);
  p.bias = {{3, 1.0f}};
  refused(p);
  p.bias = {{0, inf}};
  refused(p);
  p = with(0);
  p.frequency_penalty = nan_logit;
  refused(p);
  refused(with(0), {}, 3);
  SamplerScratch scratch;
  Logits l{1, 2};
  SampleRow row{};
  row.params = nullptr;
  row.target = -1;
  CHECK_THROWS_AS(octavo::sample_row(l.data(), 2, row, scratch), octavo::Error);
  row.target = 1;  // scoring needs no parameters
  octavo::sample_row(l.data(), 2, row, scratch);
  CHECK(row.logprob == doctest::Approx(-std::log(1 + std::exp(-1.0))));
}

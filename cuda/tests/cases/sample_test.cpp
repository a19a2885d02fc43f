// Draws on the emulated device against cpp/sampling: the same tokens, log-probabilities and changed rows, bit for
// bit, for rows of many shapes and every combination of parameters.
#include <doctest.h>

#include <limits>

#include "emulator/runtime.h"
#include "ops_backend.h"
#include "tests/compare.h"

namespace {

using namespace octavo;
using namespace octavo::testing;

constexpr float inf = std::numeric_limits<float>::infinity();

// Flat, peaked, few distinct values (ties), banned and broken logits.
std::vector<float> random_logits(int vocab, Rng& rng) {
  const int shape = rng.below(9);
  const float scale = std::exp2(static_cast<float>(rng.below(8)) - 3);
  std::vector<float> l(static_cast<std::size_t>(vocab));
  for (float& x : l) {
    x = rng.normal() * scale;
    if (shape == 1) x = std::round(x);
    if (shape == 2) x = rng.chance(50) ? x + 12 * scale : x;
    if (shape == 3) x = rng.chance(7) ? -inf : rng.chance(11) ? NAN : x;
    if (shape == 4) x = static_cast<float>(rng.below(2)) * (rng.chance(2) ? 0.0f : -1.0f);
    if (shape == 5) x = 3.5f;
    if (shape == 6) x = rng.chance(90) ? inf : x * 1e37f;
    if (shape == 7) x = rng.chance(30) ? -x : -inf;
    if (shape == 8) x = rng.chance(2) ? NAN : rng.chance(2) ? inf : -inf;
  }
  if (shape == 8 && rng.chance(2)) l[static_cast<std::size_t>(rng.below(vocab))] = 1;
  return l;
}

SamplerParams random_params(int vocab, Rng& rng) {
  SamplerParams p;
  // Mostly hot, and few tokens kept: then one too many, or too few, is soon drawn, or missed.
  static const std::vector<float> temperatures = {0, 0.7f, 1, 1, 2.5f, 50, 50, 50, 1e-3f, 1e-35f};
  p.temperature = rng.pick(temperatures);
  if (rng.chance(2)) p.top_k = rng.chance(4) ? rng.between(1, vocab + 3) : rng.between(1, rng.chance(3) ? 60 : 5);
  if (rng.chance(3)) p.top_p = static_cast<float>(rng.uniform()) * 0.999f + 1e-4f;
  if (rng.chance(3)) p.min_p = static_cast<float>(rng.uniform() * rng.uniform());
  if (rng.chance(3)) p.repetition_penalty = rng.chance(2) ? 1.3f : 0.7f;
  if (rng.chance(3)) p.presence_penalty = rng.normal();
  if (rng.chance(3)) p.frequency_penalty = rng.normal();
  if (rng.chance(3)) p.logprobs = rng.chance(2) ? 0 : rng.between(1, 100);
  if (rng.chance(3)) p.vocabulary = rng.between(1, vocab);
  for (int i = rng.chance(3) ? rng.between(1, 30) : 0; i > 0; --i)
    p.bias.emplace_back(rng.below(std::min(vocab, rng.chance(2) ? 10 : vocab)),
                        rng.chance(5) ? -inf : rng.normal() * 3);
  p.seed = rng.next();
  return p;
}

struct Wish {
  SamplerParams params;
  std::vector<std::int32_t> history;
  std::vector<std::uint32_t> mask;
  int target = -1;
  SampleRow row() const {
    SampleRow row{};
    row.params = &params;
    row.history = history.data(), row.history_length = static_cast<int>(history.size());
    row.mask = mask.empty() ? nullptr : mask.data();
    row.target = target;
    return row;
  }
};

Wish random_wish(int vocab, Rng& rng) {
  Wish wish{random_params(vocab, rng), {}, {}, -1};
  for (int i = rng.below(rng.chance(3) ? 1500 : 40); i > 0; --i)
    wish.history.push_back(rng.below(std::min(vocab, rng.chance(2) ? 12 : vocab)));
  wish.params.prompt_length = rng.between(-1, static_cast<int>(wish.history.size()) + 2);
  if (rng.chance(3)) {
    for (int i = 0; i < (vocab + 31) / 32; ++i)
      wish.mask.push_back(rng.chance(3) ? static_cast<std::uint32_t>(rng.next()) : rng.chance(2) ? 0 : 0xffffffffu);
    if (rng.chance(8)) std::fill(wish.mask.begin(), wish.mask.end(), 0u);
  }
  if (rng.chance(8)) wish.target = rng.below(vocab);
  return wish;
}

void check_rows(Backend& device, int vocab, int count, Rng& rng) {
  std::vector<Wish> wishes;
  std::vector<float> logits;
  for (int b = 0; b < count; ++b) {
    wishes.push_back(random_wish(vocab, rng));
    const std::vector<float> row = random_logits(vocab, rng);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  std::vector<SampleRow> expected, found;
  for (const Wish& wish : wishes) expected.push_back(wish.row());
  found = expected;
  std::vector<float> expected_logits = logits, found_logits = logits;
  reference().sample(expected_logits.data(), vocab, expected.data(), count);
  device.sample(found_logits.data(), vocab, found.data(), count);
  for (std::size_t b = 0; b < wishes.size(); ++b) {
    const SamplerParams& p = wishes[b].params;
    CAPTURE(vocab);
    CAPTURE(b);
    CAPTURE(p.temperature);
    CAPTURE(p.top_k);
    CAPTURE(p.top_p);
    CAPTURE(p.min_p);
    CAPTURE(p.logprobs);
    CAPTURE(p.vocabulary);
    CAPTURE(wishes[b].target);
    CHECK(found[b].token == expected[b].token);
    CHECK(std::bit_cast<std::uint32_t>(found[b].logprob) == std::bit_cast<std::uint32_t>(expected[b].logprob));
    REQUIRE(found[b].top.size() == expected[b].top.size());
    int wrong = 0;
    for (std::size_t i = 0; i < expected[b].top.size(); ++i)
      wrong += found[b].top[i].token != expected[b].top[i].token ||
               std::bit_cast<std::uint32_t>(found[b].top[i].logprob) !=
                   std::bit_cast<std::uint32_t>(expected[b].top[i].logprob);
    CHECK(wrong == 0);
  }
  int changed = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // Under a mask, what a row holds where nothing is allowed is nobody's business.
    if (!wishes[i / static_cast<std::size_t>(vocab)].mask.empty()) continue;
    const float a = expected_logits[i], b = found_logits[i];
    changed += std::isnan(a) ? !std::isnan(b) : std::bit_cast<std::uint32_t>(a) != std::bit_cast<std::uint32_t>(b);
  }
  CHECK(changed == 0);
}

}  // namespace

TEST_CASE("device: draws equal the sampler's, rows and parameters of every kind") {
  Rng rng(320);
  const auto device = make_ops_backend();
  static const std::vector<int> vocabs = {1, 2, 63, 64, 65, 130, 500, 1000, 2049};
  in_schedules([&](int schedule) {
    for (int round = 0; round < (schedule >= 0 ? 25 : deep() ? 300 : shim::checked() ? 25 : 40); ++round)
      check_rows(*device, rng.pick(vocabs), rng.between(1, 12), rng);
  });
}

TEST_CASE("device: draws from large vocabularies equal the sampler's") {
  Rng rng(321);
  const auto device = make_ops_backend();
  for (const int vocab : {32000, 49152, 70001}) check_rows(*device, vocab, deep() ? 12 : 3, rng);
}

// One row of logits -> one token. What each step means, exactly (l a logit after bias and penalties, h the highest l):
//
//   What a mask does not allow counts as -infinity from then on, whatever its bias.
//   NaN counts as -infinity, +infinity beside a finite logit as the largest float; -infinity is never drawn.
//   Order everywhere: higher l first, lower id first among equals. T below 1e-30 counts as 1e-30.
//   top-k keeps the first k.
//   top-p keeps the shortest beginning of what top-k kept whose weights sum to >= p * (their total), at least one token;
//   weights are exp((l - h) / T) as integers in units of 2^-40 (logit_scan.h), so sums are exact.
//   min-p keeps (l - h) / T >= ln(min_p), which is p_i >= min_p * p_max.
//   The token is argmax of (l - h) / T + Gumbel noise (gumbel.h) in double over what is kept, the lowest id on a tie.
//
// The one idea: every filter keeps a beginning of the same order, so a kept set is a list of candidates or a cut
// through the row, and nothing is sorted as a whole. Maxima of groups of 64 logits, made in the only full pass that
// every row needs, let top-k look at about k groups and the draw at the few groups whose noise could lift their
// highest token over the best so far.
#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "error.h"
#include "exact_math.h"
#include "sampling/gumbel.h"
#include "sampling/logit_scan.h"

namespace octavo {

namespace {

static_assert(noise_group == scan_group, "a group's highest logit and its smallest exponential bound the same tokens");

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float largest = std::numeric_limits<float>::max();
constexpr int no_token = std::numeric_limits<int>::max();

// Weights are looked at one by one down to this distance (in nats) from the highest, or up to so many tokens; more than
// that is a flat row, for which one pass of weights into buckets is faster.
constexpr float head_nats = 8;
constexpr std::size_t head_tokens = 4096;
// Buckets of 1/36 nat reach beyond the last token that has a weight.
constexpr float buckets_per_nat = 36;
constexpr int bucket_count = 1 + static_cast<int>(-weightless * buckets_per_nat);

struct Row {
  float* logits;           // [vocab]
  const float* group_max;  // [groups]
  int vocab, groups;
  float highest;  // -infinity: no finite logit
};

// The kept set of a whole row: everything before this place in the order, itself included.
struct Cut {
  float logit = -infinity;
  int token = no_token;
  bool keeps(float l, int i) const { return l > logit || (l == logit && i <= token); }
};

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

[[noreturn]] void refuse(const char* name, const std::string& value, const std::string& expected) {
  throw Error(Code::invalid_argument, std::string("sample: ") + name + " is " + value + ", expected " + expected,
              {{"name", name}, {"value", value}, {"expected", expected}});
}

void check_token(const char* name, std::int32_t token, int vocab) {
  if (token < 0 || token >= vocab) refuse(name, std::to_string(token), "a token below " + std::to_string(vocab));
}

}  // namespace

void check_sampler_params(const SamplerParams& p) {
  const auto need = [](bool good, const char* name, float value, const char* expected) {
    if (!good) refuse(name, std::to_string(value), expected);
  };
  need(p.temperature >= 0 && p.temperature <= largest, "temperature", p.temperature, "a number >= 0");
  need(p.top_p > 0 && p.top_p <= 1, "top_p", p.top_p, "above 0, up to 1");
  need(p.min_p >= 0 && p.min_p <= 1, "min_p", p.min_p, "0 to 1");
  need(p.repetition_penalty > 0 && p.repetition_penalty <= largest, "repetition_penalty", p.repetition_penalty,
       "a number > 0");
  need(std::isfinite(p.presence_penalty), "presence_penalty", p.presence_penalty, "a finite number");
  need(std::isfinite(p.frequency_penalty), "frequency_penalty", p.frequency_penalty, "a finite number");
  need(p.vocabulary >= 0, "vocabulary", static_cast<float>(p.vocabulary), "0 for all ids, or how many there are");
}

bool has_penalties(const SamplerParams& p) {
  return p.repetition_penalty != 1 || p.presence_penalty != 0 || p.frequency_penalty != 0;
}

namespace {

Row scan(float* logits, int vocab, SamplerScratch& scratch) {
  const int groups = (vocab + scan_group - 1) / scan_group;
  const std::size_t size = static_cast<std::size_t>(groups);
  if (scratch.group_max.size() < size) scratch.group_max.resize(size);
  Row row{logits, scratch.group_max.data(), vocab, groups, scan_maxima(logits, vocab, scratch.group_max.data())};
  if (row.highest < infinity) return row;
  if (std::none_of(logits, logits + vocab, [](float l) { return std::isfinite(l); })) {
    row.highest = -infinity;
    return row;
  }
  std::replace(logits, logits + vocab, infinity, largest);
  row.highest = scan_maxima(logits, vocab, scratch.group_max.data());
  return row;
}

// The same of what a mask allows; finite becomes true where the row has a finite logit at all.
Row scan_masked(float* logits, int vocab, const std::uint32_t* mask, SamplerScratch& scratch, bool& finite) {
  const int groups = (vocab + scan_group - 1) / scan_group;
  const std::size_t size = static_cast<std::size_t>(groups);
  if (scratch.group_max.size() < size) scratch.group_max.resize(size);
  const AllowedMaxima found = scan_allowed(logits, vocab, mask, scratch.group_max.data());
  Row row{logits, scratch.group_max.data(), vocab, groups, found.highest};
  finite = finite || std::isfinite(found.highest) || found.finite ||
           std::any_of(logits, logits + vocab, [](float l) { return std::isfinite(l); });
  if (!finite) {
    row.highest = -infinity;
  } else if (row.highest == infinity) {
    std::replace(logits, logits + vocab, infinity, largest);
    row.highest = scan_allowed(logits, vocab, mask, scratch.group_max.data()).highest;
  }
  return row;
}

// ---- bias and penalties --------------------------------------------------------------------------------------------

class Changes {
 public:
  Changes(float* logits, SamplerScratch& scratch, bool keep_raw)
      : logits_(logits), changed_(scratch.changed), keep_raw_(keep_raw) {}
  // Finite logits stay finite, except by a bias of -infinity.
  void set(std::int32_t token, float value) {
    if (keep_raw_) changed_.emplace_back(token, logits_[token]);
    logits_[token] = value > largest ? largest : value;
  }
  void lower(std::int32_t token, float value) {
    set(token, std::isfinite(logits_[token]) ? std::max(value, -largest) : logits_[token]);
  }

 private:
  float* logits_;
  std::vector<std::pair<std::int32_t, float>>& changed_;
  bool keep_raw_;
};

void check_tokens(const SamplerParams& p, const SampleRow& row, int vocab) {
  for (const auto& [token, value] : p.bias) {
    check_token("bias", token, vocab);
    if (!(value < infinity)) refuse("bias", std::to_string(value), "a number or -infinity");
  }
  if (!has_penalties(p)) return;
  for (int i = 0; i < row.history_length; ++i) check_token("history", row.history[i], vocab);
}

void apply_bias_and_penalties(float* logits, int vocab, const SampleRow& row, SamplerScratch& scratch) {
  const SamplerParams& p = *row.params;
  Changes changes(logits, scratch, p.logprobs >= 0);
  for (const auto& [token, value] : p.bias) changes.set(token, logits[token] + value);
  if (!has_penalties(p)) return;
  const std::size_t size = static_cast<std::size_t>(vocab);
  if (scratch.counts.size() < size) scratch.counts.resize(size, 0);
  std::int32_t* counts = scratch.counts.data();
  const std::int32_t* end = row.history + row.history_length;
  const std::int32_t* output = row.history + std::clamp(p.prompt_length, 0, row.history_length);
  if (p.repetition_penalty != 1) {
    for (const std::int32_t* t = row.history; t < end; ++t) {
      if (counts[*t]++ > 0) continue;
      const float l = logits[*t];
      changes.lower(*t, l > 0 ? l / p.repetition_penalty : l * p.repetition_penalty);
    }
    for (const std::int32_t* t = row.history; t < end; ++t) counts[*t] = 0;
  }
  if (p.presence_penalty != 0 || p.frequency_penalty != 0) {
    for (const std::int32_t* t = output; t < end; ++t) ++counts[*t];
    for (const std::int32_t* t = output; t < end; ++t) {
      if (counts[*t] == 0) continue;
      changes.lower(*t, (logits[*t] - p.presence_penalty) - p.frequency_penalty * static_cast<float>(counts[*t]));
      counts[*t] = 0;
    }
  }
}

// ---- selection -----------------------------------------------------------------------------------------------------

// kept = tokens with a finite logit >= threshold, by id. False: more than `limit` (kept is then incomplete).
bool collect(const Row& row, float threshold, std::size_t limit, std::vector<Candidate>& kept) {
  kept.clear();
  for (int g = 0; g < row.groups; ++g) {
    if (!(row.group_max[g] >= threshold) || row.group_max[g] == -infinity) continue;
    const int end = std::min(row.vocab, (g + 1) * scan_group);
    for (int i = g * scan_group; i < end; ++i) {
      const float l = row.logits[i];
      if (l >= threshold && l > -infinity) kept.push_back({l, i, 0});
    }
    if (kept.size() > limit) return false;
  }
  return true;
}

// kept = the first k tokens of the order, unsorted. The k-th highest group maximum is at most the k-th highest logit.
void select_top(const Row& row, int k, SamplerScratch& scratch) {
  float threshold = -infinity;
  if (k <= row.groups) {
    std::vector<float>& order = scratch.order;
    order.assign(row.group_max, row.group_max + row.groups);
    std::nth_element(order.begin(), order.begin() + (k - 1), order.end(), std::greater<float>());
    threshold = order[static_cast<std::size_t>(k - 1)];
  }
  std::vector<Candidate>& kept = scratch.kept;
  collect(row, threshold, static_cast<std::size_t>(row.vocab), kept);
  if (kept.size() <= static_cast<std::size_t>(k)) return;
  std::nth_element(kept.begin(), kept.begin() + k, kept.end(), before);
  kept.resize(static_cast<std::size_t>(k));
}

std::int64_t weigh(std::vector<Candidate>& kept, float highest, float inverse_temperature) {
  std::int64_t sum = 0;
  for (Candidate& c : kept) sum += c.weight = weight(c.logit, highest, inverse_temperature);
  return sum;
}

bool reaches(std::int64_t sum, double target) { return static_cast<double>(sum) >= target; }

// Keeps the shortest beginning of the order whose weights and `base` reach the target; the last kept one is at the
// back.
void select_mass(std::vector<Candidate>& kept, std::int64_t base, double target) {
  std::size_t low = 0, high = kept.size();
  const auto at = [&](std::size_t i) { return kept.begin() + static_cast<std::ptrdiff_t>(i); };
  while (high - low > 32) {
    const std::size_t middle = low + (high - low) / 2;
    std::nth_element(at(low), at(middle), at(high), before);
    std::int64_t sum = base;
    for (std::size_t i = low; i < middle; ++i) sum += kept[i].weight;
    if (reaches(sum, target)) {
      high = middle;
    } else {
      base = sum;
      low = middle;
    }
  }
  std::sort(at(low), at(high), before);
  while (low < high && !reaches(base += kept[low].weight, target)) ++low;
  kept.resize(std::min(low + 1, high));
}

// The cut of top-p through a flat row: weights into buckets of equal width in nats, then the one bucket where p is
// reached.
Cut cut_by_buckets(const Row& row, float inverse_temperature, double target, SamplerScratch& scratch) {
  std::int64_t sums[bucket_count + 1] = {};
  const auto nats = [&](float l) { return (l - row.highest) * inverse_temperature; };
  const auto bucket = [&](float l) { return static_cast<int>(nats(l) * -buckets_per_nat); };
  for (int g = 0; g < row.groups; ++g) {
    if (nats(row.group_max[g]) < weightless) continue;
    std::int64_t weights[scan_group];
    const int first = g * scan_group, count = std::min(scan_group, row.vocab - first);
    group_weights(row.logits + first, count, row.highest, inverse_temperature, weights);
    for (int j = 0; j < count; ++j) {
      if (nats(row.logits[first + j]) >= weightless) sums[bucket(row.logits[first + j])] += weights[j];
    }
  }
  int crossing = 0;
  std::int64_t base = 0;
  while (crossing < bucket_count && !reaches(base + sums[crossing], target)) base += sums[crossing++];
  scratch.kept.clear();
  for (int g = 0; g < row.groups; ++g) {
    if (nats(row.group_max[g]) < weightless || bucket(row.group_max[g]) > crossing) continue;
    const int end = std::min(row.vocab, (g + 1) * scan_group);
    for (int i = g * scan_group; i < end; ++i) {
      const float l = row.logits[i];
      if (nats(l) >= weightless && bucket(l) == crossing) scratch.kept.push_back({l, i, 0});
    }
  }
  weigh(scratch.kept, row.highest, inverse_temperature);
  select_mass(scratch.kept, base, target);
  return {scratch.kept.back().logit, scratch.kept.back().token};
}

// ---- the draw ------------------------------------------------------------------------------------------------------

class Draw {
 public:
  Draw(const SamplerParams& p, std::uint32_t position, float highest, double temperature)
      : noise_(p.seed, position), highest_(highest), temperature_(temperature),
        floor_(p.min_p > 0 ? exact_log(static_cast<double>(p.min_p)) : -std::numeric_limits<double>::infinity()) {}

  int over_list(const std::vector<Candidate>& kept) {
    for (const Candidate& c : kept) {
      offer(c.logit, c.token, noise_.group_hash(static_cast<std::uint32_t>(c.token / noise_group)));
    }
    return token_;
  }

  int over_row(const Row& row, const Cut& cut) {
    for (int pass = 0; pass < 2; ++pass) {  // the group of the highest logit first: a good score prunes all others
      for (int g = 0; g < row.groups; ++g) {
        const float most = row.group_max[g];
        if ((most == row.highest) != (pass == 0) || most < cut.logit) continue;
        const std::uint64_t hash = noise_.group_hash(static_cast<std::uint32_t>(g));
        if (!noise_.can_reach(Noise::group_bound(hash), best_ - nats(most))) continue;
        const int end = std::min(row.vocab, (g + 1) * noise_group);
        for (int i = g * noise_group; i < end; ++i) {
          if (cut.keeps(row.logits[i], i)) offer(row.logits[i], i, hash);
        }
      }
    }
    return token_;
  }

 private:
  double nats(float l) const { return (static_cast<double>(l) - highest_) / temperature_; }

  void offer(float l, int i, std::uint64_t group_hash) {
    const double z = nats(l), deficit = best_ - z;
    const std::uint32_t token = static_cast<std::uint32_t>(i);
    if (z < floor_ || !Noise::can_reach(Noise::group_bound(group_hash), deficit) ||
        !Noise::can_reach(noise_.token_bound(token, group_hash), deficit)) {
      return;
    }
    const double score = z + noise_.gumbel(token, group_hash);
    if (score > best_ || (score == best_ && i < token_)) {
      best_ = score;
      token_ = i;
    }
  }

  const Noise noise_;
  const double highest_, temperature_, floor_;
  double best_ = -std::numeric_limits<double>::infinity();
  int token_ = no_token;
};

int argmax(const Row& row) {
  int g = 0;
  while (row.group_max[g] != row.highest) ++g;
  int i = g * scan_group;
  while (row.logits[i] != row.highest) ++i;
  return i;
}

int draw(const Row& row, const SamplerParams& p, std::uint32_t position, SamplerScratch& scratch) {
  if (p.temperature == 0) return argmax(row);
  const float temperature = std::max(p.temperature, 1e-30f), inverse = 1 / temperature;
  Draw drawing(p, position, row.highest, static_cast<double>(temperature));
  const bool top_k = p.top_k > 0 && p.top_k < row.vocab, top_p = p.top_p < 1;
  const double share = static_cast<double>(p.top_p);
  if (top_k) {
    select_top(row, p.top_k, scratch);
    if (top_p) select_mass(scratch.kept, 0, share * static_cast<double>(weigh(scratch.kept, row.highest, inverse)));
    return drawing.over_list(scratch.kept);
  }
  if (!top_p) return drawing.over_row(row, {});
  const std::int64_t total = scan_total(row.logits, row.vocab, row.group_max, row.highest, inverse);
  const double target = share * static_cast<double>(total);
  if (collect(row, row.highest - head_nats * temperature, head_tokens, scratch.kept) &&
      reaches(weigh(scratch.kept, row.highest, inverse), target)) {
    select_mass(scratch.kept, 0, target);
    return drawing.over_list(scratch.kept);
  }
  return drawing.over_row(row, cut_by_buckets(row, inverse, target, scratch));
}

}  // namespace

void sample_row(float* logits, int vocab, SampleRow& row, SamplerScratch& scratch) {
  row.token = -1;
  row.logprob = 0;
  row.top.clear();
  if (vocab < 1) refuse("vocab", std::to_string(vocab), "at least 1");
  if (row.target >= 0) check_token("target", row.target, vocab);
  else if (row.params == nullptr) refuse("params", "null", "parameters for a row to draw");
  if (row.params != nullptr) {
    check_sampler_params(*row.params);
    if (row.target < 0) check_tokens(*row.params, row, vocab);
  }
  const int n_top = row.params != nullptr ? std::min(row.params->logprobs, vocab) : -1;
  scratch.changed.clear();
  const bool raw_wanted = row.target >= 0 || n_top >= 0;
  const int drawable = row.target < 0 && row.params->vocabulary > 0 ? std::min(row.params->vocabulary, vocab) : vocab;

  const bool changes = row.target < 0 && (!row.params->bias.empty() || has_penalties(*row.params));
  // A row that has a mask and nothing else to be read for is read once, under its mask.
  const bool unmasked = row.mask == nullptr || raw_wanted || changes;

  Row scanned{};
  if (unmasked) {
    scanned = scan(logits, raw_wanted ? vocab : drawable, scratch);
    if (scanned.highest == -infinity) return;
  }
  double raw_highest = 0, log_total = 0;
  const auto logprob = [&](float raw) {
    return std::isnan(raw) ? -infinity : static_cast<float>((static_cast<double>(raw) - raw_highest) - log_total);
  };
  if (raw_wanted) {
    raw_highest = scanned.highest;
    const std::int64_t total = scan_total(logits, vocab, scanned.group_max, scanned.highest, 1);
    log_total = exact_log(static_cast<double>(total) * 0x1p-40);
  }
  if (n_top > 0) {
    select_top(scanned, n_top, scratch);
    std::sort(scratch.kept.begin(), scratch.kept.end(), before);
    for (const Candidate& c : scratch.kept) row.top.push_back({c.token, logprob(c.logit)});
  }
  if (row.target >= 0) {
    row.token = row.target;
    row.logprob = logprob(logits[row.target]);
    return;
  }
  if (changes) apply_bias_and_penalties(logits, vocab, row, scratch);
  if (row.mask != nullptr) {
    bool finite = unmasked;
    scanned = scan_masked(logits, drawable, row.mask, scratch, finite);
    if (scanned.highest == -infinity && finite) row.token = -2;
  } else if (changes || scanned.vocab != drawable) {
    scanned = scan(logits, drawable, scratch);
  }
  if (scanned.highest == -infinity) return;
  row.token = draw(scanned, *row.params, static_cast<std::uint32_t>(row.history_length), scratch);
  if (n_top < 0) return;
  const auto original = std::find_if(scratch.changed.begin(), scratch.changed.end(),
                                     [&](const auto& change) { return change.first == row.token; });
  row.logprob = logprob(original != scratch.changed.end() ? original->second : logits[row.token]);
}

double gumbel_noise(std::uint64_t seed, std::uint32_t position, std::uint32_t token) {
  const Noise noise(seed, position);
  return noise.gumbel(token, noise.group_hash(token / noise_group));
}

}  // namespace octavo

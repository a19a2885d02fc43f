// Drawing tokens (cpp/sampling/sampler.cpp): the same token and log-probabilities as the CPU, bit for bit. Weights are
// integers, so sums do not depend on the order of threads; noise is a hash of seed, position and token.
//   octavo_sample_scan  maxima of groups of 64 logits, half a warp a group: the only pass over a row that every draw
//                       needs. Bound by reading the logits.
//   octavo_sample       a block a row: log-probabilities, changes, filters (select.cuh), and the draw, which looks only
//                       at groups whose noise could lift their maximum over the best so far. Bound by latency: some
//                       thousand maxima without filters, up to five passes over the row for each filter.
#include "kernels/sampling/noise.cuh"
#include "kernels/sampling/sample_changes.cuh"

namespace octavo::gpu {
namespace {

constexpr int scan_threads = 256;

// ---- log-probabilities -------------------------------------------------------------------------------------------

struct LogTotal {
  double highest, log_total;
  DEVICE float logprob(float raw) const {
    if (raw != raw) return minus_infinity();
    return __double2float_rn(__dsub_rn(__dsub_rn(static_cast<double>(raw), highest), log_total));
  }
};

DEVICE LogTotal log_total(SampleShared& shared, const Row& row) {
  Sum sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < row.vocab; i += sample_threads)
    sum += weight_of(row.logits[i], row.highest, 1);
  sum = of_all_threads(sum, shared.sums, [](Sum a, Sum b) { return a + b; });
  return {static_cast<double>(row.highest), exact_log(__dmul_rn(static_cast<double>(sum), 0x1p-40))};
}

// The n most likely, descending: found by a cut, then each counts those before it.
DEVICE void most_likely(SampleShared& shared, const SampleParams& p, const Row& row, const LogTotal& total, int n) {
  const int thread = static_cast<int>(threadIdx.x);
  const Cut cut = select(
      shared.select, row, keep_all(), [](float) { return Sum{1}; },
      [n](Sum sum) { return sum >= static_cast<Sum>(n); });
  if (thread == 0) shared.found = 0;
  __syncthreads();
  for (int i = thread; i < row.vocab; i += sample_threads) {
    const float l = row.logits[i];
    if (!(l > minus_infinity()) || !cut.keeps(l, i)) continue;
    const int place = atomicAdd(&shared.found, 1);
    shared.top_logits[place] = l, shared.top_tokens[place] = i;
  }
  __syncthreads();
  const int found = shared.found;
  for (int i = thread; i < found; i += sample_threads) {
    const Cut own{shared.top_logits[i], shared.top_tokens[i]};
    int before = -1;  // itself
    for (int j = 0; j < found; ++j) before += own.keeps(shared.top_logits[j], shared.top_tokens[j]);
    const long long at = static_cast<long long>(blockIdx.x) * p.most_top + before;
    p.top_tokens[at] = own.token, p.top_logprobs[at] = total.logprob(own.logit);
  }
  if (thread == 0) p.top_counts[blockIdx.x] = found;
  __syncthreads();
}

// ---- the draw ----------------------------------------------------------------------------------------------------

DEVICE int argmax(const Row& row) {
  int group = row.groups, token = sample_group;
  // The first group of the highest, then the first token in it: by votes of each warp, all alike.
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int g = 0; g < row.groups && group == row.groups; g += 32) {
    const unsigned has = __ballot_sync(every_lane, g + lane < row.groups && row.group_max[g + lane] == row.highest);
    if (has != 0) group = g + __ffs(static_cast<int>(has)) - 1;
  }
  for (int i = 0; i < sample_group && token == sample_group; i += 32) {
    const int at = group * sample_group + i + lane;
    const unsigned has = __ballot_sync(every_lane, at < row.vocab && row.logits[at] == row.highest);
    if (has != 0) token = i + __ffs(static_cast<int>(has)) - 1;
  }
  return group * sample_group + token;
}

struct Draw {
  Noise noise;
  double highest, temperature, floor;
  Cut cut;
  Scored best;

  DEVICE double nats(float l) const { return __ddiv_rn(__dsub_rn(static_cast<double>(l), highest), temperature); }
  DEVICE void offer(float l, int i, unsigned long long group_hash) {
    const double z = nats(l), deficit = __dsub_rn(best.score, z);
    if (z < floor || !Noise::can_reach(Noise::group_bound(group_hash), deficit) ||
        !Noise::can_reach(noise.token_bound(i, group_hash), deficit))
      return;
    best.take({__dadd_rn(z, noise.gumbel(i, group_hash)), i});
  }
  // Each lane offers two tokens of a group.
  DEVICE void offer_group(const Row& row, int group) {
    const unsigned long long hash = noise.group_hash(group);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int i = group * sample_group + lane; i < (group + 1) * sample_group && i < row.vocab; i += 32)
      if (cut.keeps(row.logits[i], i)) offer(row.logits[i], i, hash);
  }
};

// of_all_threads for a pair, whose parts are exchanged one by one.
DEVICE Scored best_of_all(SampleShared& shared, Scored value) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int step = 16; step >= 1; step /= 2) {
    const Scored other{__shfl_xor_sync(every_lane, value.score, step), __shfl_xor_sync(every_lane, value.token, step)};
    value.take(other);
  }
  __syncthreads();
  if (thread % 32 == 0) shared.best[thread / 32] = value;
  __syncthreads();
  value = shared.best[0];
  for (int i = 1; i < sample_warps; ++i) value.take(shared.best[i]);
  return value;
}

// Groups of the highest logit first: a good score rules out most others.
DEVICE int draw_from(SampleShared& shared, const Row& row, Draw& draw) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int pass = 0; pass < 2; ++pass) {
    for (int first = warp * 32; first < row.groups; first += sample_threads) {
      const int group = first + lane;
      bool wanted = false;
      if (group < row.groups) {
        const float most = row.group_max[group];
        wanted = (most == row.highest) == (pass == 0) && !(most < draw.cut.logit) &&
                 Noise::can_reach(Noise::group_bound(draw.noise.group_hash(group)),
                                  __dsub_rn(draw.best.score, draw.nats(most)));
      }
      unsigned left = __ballot_sync(every_lane, wanted);
      for (; left != 0; left &= left - 1) draw.offer_group(row, first + __ffs(static_cast<int>(left)) - 1);
    }
    draw.best = best_of_all(shared, draw.best);
  }
  return draw.best.token;
}

DEVICE int draw(SampleShared& shared, const Row& row, const SampleRow& p) {
  if (p.temperature == 0) return argmax(row);
  const float temperature = p.temperature < 1e-30f ? 1e-30f : p.temperature, inverse = __fdiv_rn(1, temperature);
  Cut cut = keep_all();
  if (p.top_k > 0 && p.top_k < row.vocab) {
    const Sum k = static_cast<Sum>(p.top_k);
    cut = select(
        shared.select, row, cut, [](float) { return Sum{1}; }, [k](Sum sum) { return sum >= k; });
  }
  if (p.top_p < 1) {
    const float highest = row.highest;
    const auto weight = [highest, inverse](float l) { return weight_of(l, highest, inverse); };
    Sum total = 0;
    for (int i = static_cast<int>(threadIdx.x); i < row.vocab; i += sample_threads)
      if (cut.keeps(row.logits[i], i)) total += weight(row.logits[i]);
    total = of_all_threads(total, shared.sums, [](Sum a, Sum b) { return a + b; });
    const double target = __dmul_rn(static_cast<double>(p.top_p), static_cast<double>(total));
    cut = select(shared.select, row, cut, weight, [target](Sum sum) { return static_cast<double>(sum) >= target; });
  }
  const double nothing = -__longlong_as_double(0x7FF0000000000000ll);
  Draw drawing{Noise(p.seed, static_cast<unsigned>(p.position)),
               static_cast<double>(row.highest),
               static_cast<double>(temperature),
               p.min_p > 0 ? exact_log(static_cast<double>(p.min_p)) : nothing,
               cut,
               {nothing, no_token}};
  return draw_from(shared, row, drawing);
}

DEVICE Row row_of(const float* logits, const float* group_max, int vocab, float highest) {
  return {logits, group_max, vocab, (vocab + sample_group - 1) / sample_group, highest};
}

DEVICE void put(const SampleParams& p, int token, float logprob) {
  if (threadIdx.x != 0) return;
  p.tokens[blockIdx.x] = token, p.logprobs[blockIdx.x] = logprob;
  if (p.next_ids == nullptr) return;
  const SampleRow& row = p.rows[blockIdx.x];
  const int next = max(token, 0);  // what follows no token is nobody's, but is computed
  p.next_ids[blockIdx.x] = next;
  if (row.counts >= 0) p.history[row.history + row.history_length] = next;
}

}  // namespace

OCTAVO_KERNEL(octavo_sample_scan, SampleParams, scan_threads) {
  const int vocab = p.rows[blockIdx.y].scanned, groups = (vocab + sample_group - 1) / sample_group;
  const int group = static_cast<int>(blockIdx.x) * (scan_threads / 16) + static_cast<int>(threadIdx.x) / 16;
  const float m = group_maximum(p.logits + static_cast<long long>(blockIdx.y) * p.vocab, vocab, group, groups);
  const long long all = (p.vocab + sample_group - 1) / sample_group;
  if (group < groups && threadIdx.x % 16 == 0) p.group_max[blockIdx.y * all + group] = m;
}

OCTAVO_KERNEL(octavo_sample, SampleParams, sample_threads) {
  SHARED_ARRAY(SampleShared, in_one, 1);
  SampleShared& shared = in_one[0];
  const SampleRow given = p.rows[blockIdx.x];
  float* const logits = p.logits + static_cast<long long>(blockIdx.x) * p.vocab;
  float* const group_max =
      p.group_max + static_cast<long long>(blockIdx.x) * ((p.vocab + sample_group - 1) / sample_group);
  if (threadIdx.x == 0) p.top_counts[blockIdx.x] = 0;
  float highest = settle(shared, logits, given.scanned, group_max);
  if (highest == minus_infinity()) return put(p, -1, 0);
  LogTotal total{0, 0};
  if (given.target >= 0 || given.logprobs >= 0) {
    const Row raw = row_of(logits, group_max, given.scanned, highest);
    total = log_total(shared, raw);
    if (given.logprobs > 0) most_likely(shared, p, raw, total, min(given.logprobs, given.scanned));
    if (given.target >= 0) return put(p, given.target, total.logprob(logits[given.target]));
  }
  if (has_changes(given) || given.scanned != given.drawable) {
    if (has_changes(given)) change(p, given, logits);
    scan_groups(logits, given.drawable, group_max);
    highest = settle(shared, logits, given.drawable, group_max);
    if (highest == minus_infinity()) return put(p, given.mask >= 0 ? -2 : -1, 0);
  }
  const int token = draw(shared, row_of(logits, group_max, given.drawable, highest), given);
  if (given.logprobs < 0) return put(p, token, 0);
  put(p, token, total.logprob(has_changes(given) ? raw_logit(shared, p, given, logits, token) : logits[token]));
}

}  // namespace octavo::gpu

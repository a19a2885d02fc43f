#include "cpu/tuning.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/linear/linear.h"
#include "cpu/linear/packed.h"
#include "os/os.h"

namespace octavo::cpu {

namespace {

using Clock = std::chrono::steady_clock;

// A pass streams so much from memory; less than the smaller one stays in caches, where prefetching makes no difference.
constexpr std::size_t most_bytes = std::size_t{32} << 20, least_bytes = std::size_t{24} << 20;
// Matrix registers are better or worse with weights in a cache as well: less tells as much of them.
constexpr std::size_t matrix_bytes = std::size_t{8} << 20;
constexpr int widest = 16384;  // rows of a weight that is measured: bounds the output
// Steps of these many tokens are measured; what is decided holds up to the next one, or for all above.
constexpr std::array<int, 2> token_counts = {1, 8};
// Matrix registers are used from one of these numbers of tokens on: where vectors are faster with as many tokens as
// stand below, from the next one on, and where they are not, from that one or from one before.
constexpr std::array<int, 5> matrix_starts = {5, 9, 13, 28, 44};
constexpr std::array<int, 4> matrix_tokens = {5, 10, matrix_panel, 2 * matrix_panel};
// Where most weights are unpacked beside their products (linear_amx_ring.inc), matrix registers pay early: at 8 tokens
// they are as fast as vectors.
constexpr int usual_ring_start = 9;
constexpr int most_tokens = matrix_tokens.back();
constexpr int rounds = 4, never = std::numeric_limits<int>::max();
// What is usual gives way only to what was so much faster in every round: a machine that does other work meanwhile
// shall not decide.
constexpr double margin = 0.05;
// A caller that lost its CPU more often has measured the others on this machine.
constexpr std::uint64_t bearable_preemptions = 1;

struct Sample {
  const Kernels& kernels;
  const Team& team;
  std::vector<const CpuWeight*> weights;
  LinearScratch scratch;
  std::vector<float> in, out;

  double seconds(int tokens, const Tuning& tuning) {
    scratch.tuning = tuning;
    const Clock::time_point start = Clock::now();
    for (const CpuWeight* weight : weights)
      linear(kernels, team, scratch, *weight,
             {out.data(), static_cast<int>(weight->n), LinearInput{in.data()}, nullptr, tokens, false});
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  // Whether steps of `tokens` tokens are faster in another way than usual: in alternating passes.
  bool prefers(int tokens, const Tuning& other, const Tuning& usual) {
    for (int i = 0; i < rounds; ++i) {
      const double as_usual = seconds(tokens, usual);
      if (seconds(tokens, other) > as_usual * (1 - margin)) return false;
    }
    return true;
  }
  // Whether to prefetch in steps of `tokens` tokens.
  bool prefers_prefetch(int tokens, bool usual) {
    const Tuning all{.prefetch_from_tokens = 1}, none{.prefetch_from_tokens = never};
    return prefers(tokens, usual ? none : all, usual ? all : none) ? !usual : usual;
  }
  // From how many tokens on to use matrix registers. Keeps no more weights than that takes.
  int matrix_from(const Tuning& usual) {
    std::size_t bytes = 0;
    const auto last = std::find_if(weights.begin(), weights.end(),
                                   [&](const CpuWeight* w) { return (bytes += w->resident_bytes()) >= matrix_bytes; });
    if (last != weights.end()) weights.erase(last + 1, weights.end());
    const auto from = [&](int tokens) {
      Tuning tuning = usual;
      tuning.matrix_from_tokens = tokens;
      return tuning;
    };
    std::size_t i = 0;
    while (matrix_starts[i] < usual.matrix_from_tokens) ++i;
    const std::size_t usually = i;
    while (i < matrix_tokens.size() && prefers(matrix_tokens[i], from(never), from(0))) ++i;
    if (i > usually) return matrix_starts[i];
    while (i > 0 && prefers(matrix_tokens[i - 1], from(0), from(never))) --i;
    return matrix_starts[i];
  }
};

// Whole layers' worth of quantised weights, each once, as a step reads them.
std::vector<const CpuWeight*> choose(std::span<const Weight* const> weights) {
  std::vector<const CpuWeight*> chosen;
  std::size_t bytes = 0;
  for (const Weight* weight : weights) {
    const CpuWeight* const w = static_cast<const CpuWeight*>(weight);
    if (!is_quantised(w->format) || w->n > widest || bytes + w->resident_bytes() > most_bytes) continue;
    chosen.push_back(w);
    bytes += w->resident_bytes();
  }
  if (bytes < least_bytes) chosen.clear();
  return chosen;
}

// What is usual for these weights.
Tuning usual_for(const Kernels& kernels, std::span<const Weight* const> weights) {
  std::size_t early = 0, all = 0;
  for (const Weight* weight : weights) {
    if (!is_quantised(weight->format)) continue;
    all += weight->resident_bytes();
    if (!is_packed(weight->format)) early += weight->resident_bytes();
  }
  Tuning tuning = usual_tuning(kernels);
  if (kernels.matrix && 2 * early > all) tuning.matrix_from_tokens = usual_ring_start;
  return tuning;
}

Tuning measure(const Kernels& kernels, const Team& team, const std::vector<const CpuWeight*>& weights,
               const Tuning& usual) {
  const Clock::time_point start = Clock::now();
  const std::uint64_t preemptions = os::preemptions();
  std::int64_t n = 0, k = 0;
  for (const CpuWeight* w : weights) n = std::max(n, w->n), k = std::max(k, w->k);
  const std::size_t tokens = kernels.matrix ? most_tokens : token_counts.back();
  Sample sample{kernels, team, weights, {}, std::vector<float>(tokens * static_cast<std::size_t>(k)),
                std::vector<float>(tokens * static_cast<std::size_t>(n))};
  for (std::size_t i = 0; i < sample.in.size(); ++i) sample.in[i] = static_cast<float>(static_cast<int>(i % 17) - 8);
  Tuning tuning = usual;
  const bool for_one = sample.prefers_prefetch(1, tuning.prefetch_from_tokens <= 1);
  const bool for_some = sample.prefers_prefetch(token_counts[1], true);
  tuning.prefetch_from_tokens = !for_some ? never : for_one ? 1 : Tuning{}.prefetch_from_tokens;
  if (kernels.matrix) tuning.matrix_from_tokens = sample.matrix_from(tuning);
  if (os::preemptions() - preemptions > bearable_preemptions) tuning = usual;
  tuning.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return tuning;
}

}  // namespace

Tuning tuned(const Kernels& kernels, const Team& team, std::span<const Weight* const> weights) {
  const std::vector<const CpuWeight*> chosen = choose(weights);
  const Tuning usual = usual_for(kernels, weights);
  if (chosen.empty()) return usual;
  std::ostringstream key;
  key << kernels.isa << ' ' << team.threads;
  for (const CpuWeight* w : chosen) key << ' ' << static_cast<int>(w->format) << ':' << w->n << 'x' << w->k;
  static std::mutex mutex;
  static auto* const known = new std::map<std::string, Tuning>;  // never destroyed: see shared_models.cpp
  const std::lock_guard lock(mutex);
  const auto [found, fresh] = known->try_emplace(key.str());
  if (fresh) {
    try {
      found->second = measure(kernels, team, chosen, usual);
    } catch (...) {
      known->erase(found);
      throw;
    }
  }
  return found->second;
}

}  // namespace octavo::cpu

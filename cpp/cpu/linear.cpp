#include "cpu/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/packed.h"

namespace octavo::cpu {

namespace {

// Panels of a token block stay in the L2 cache while the tiles of a weight pass by.
constexpr std::int64_t resident_panel_bytes = 400000;
// Rough speed of one thread, for the length of claims only: bytes of weights and multiply-adds per microsecond.
constexpr double bytes_per_us = 20e3, int8_products_per_us = 150e3, float_products_per_us = 20e3;
// A claim: long enough that its cost and its break in the stream of weights do not count, short enough that an
// interrupt is seen soon and threads finish together.
constexpr double shortest_claim_us = 5, longest_claim_us = 500;
// From this many tokens on computing outlasts reading, and the next tile is fetched meanwhile. Below, the CPU's own
// prefetcher does better: at one token asking for lines costs a third of the bandwidth on Zen 4.
constexpr int prefetch_from_tokens = 6;

// Panels cut into blocks, tiles x blocks make the work list: index = block * tiles + tile.
struct Work {
  Panels panels;
  int tiles, blocks;
  int block_begin(int block) const {
    return static_cast<int>(static_cast<std::int64_t>(panels.count) * block / blocks);
  }
  int size() const { return tiles * blocks; }
};

Work plan_work(Panels panels, int tiles, std::int64_t token_bytes, int threads) {
  const std::int64_t resident = std::max<std::int64_t>(1, resident_panel_bytes / token_bytes);
  int blocks = static_cast<int>(std::min<std::int64_t>(panels.count, (panels.tokens + resident - 1) / resident));
  // A small N alone does not feed the threads.
  while (static_cast<std::int64_t>(tiles) * blocks < 8ll * threads && 2 * blocks <= panels.count && panels.tokens >= 64)
    blocks *= 2;
  return {panels, tiles, std::max(1, blocks)};
}

// Small work is cut into equal claims, a whole number per thread.
RunLength run_length(const Work& work, double tile_bytes, double tile_products, double products_per_us, int threads) {
  const double tokens = std::max(1.0, static_cast<double>(work.panels.tokens) / work.blocks);
  const double tile_us = std::max(tile_bytes / bytes_per_us, tile_products * tokens / products_per_us);
  const double claims = std::max(1.0, std::floor(work.size() * tile_us / (threads * shortest_claim_us)));
  return {static_cast<int>(std::ceil(work.size() / (threads * claims))),
          static_cast<int>(std::clamp(longest_claim_us / tile_us, 1.0, 1e6))};
}

int panel_size(const Kernels& kernels, int tokens) {
  if (tokens <= kernels.panel_small) return tokens;
  return tokens <= 32 ? kernels.panel_medium : kernels.panel_large;
}

// How a weight is walked through for a number of tokens.
struct Plan {
  Panels panels;
  Work work;
  RunLength runs;
};

Plan plan_quantised(const Kernels& kernels, const CpuWeight& weight, int tokens, int threads) {
  const Panels panels = cut_panels(tokens, panel_size(kernels, tokens));
  const Work work = plan_work(panels, static_cast<int>(weight.tiles()), weight.k / group_size * panel_token_bytes, threads);
  return {panels, work,
          run_length(work, static_cast<double>(weight.tile_bytes()), 1.0 * tile_rows * weight.k, int8_products_per_us,
                     threads)};
}

void linear_quantised(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
                      const LinearCall& call) {
  const int k = static_cast<int>(weight.k), groups = k / group_size;
  const Plan plan = plan_quantised(kernels, weight, call.tokens, team.threads);
  const Panels& panels = plan.panels;
  const Work& work = plan.work;
  const Activations activations(kernels, team, scratch, weight, panels, call.in);
  const LinearKernel kernel = kernels.linear[static_cast<int>(weight.format)];
  const int block_lines = static_cast<int>(block_bytes(weight.format) / 64);
  team.tiles(
      work.size(),
      [&](int begin, int end, int thread) {
        const std::uint8_t* const quantised = activations.of(thread);
        for (int i = begin; i < end; ++i) {
          const int block = i / work.tiles, tile = i % work.tiles, row = tile * tile_rows;
          const int first_panel = work.block_begin(block), panel_count = work.block_begin(block + 1) - first_panel;
          const std::uint8_t* const tile_data = weight.tile(tile);
          const int lines = call.tokens >= prefetch_from_tokens && i + 1 < end && tile + 1 < work.tiles
                                ? (block_lines + panel_count - 1) / panel_count
                                : 0;
          LinearTile job{.weights = tile_data,
                         .k = k,
                         .rows = static_cast<int>(std::min<std::int64_t>(tile_rows, weight.n - row)),
                         .out_ld = call.out_ld,
                         .bias = call.bias ? call.bias + row : nullptr,
                         .add = call.add,
                         .prefetch = tile_data + weight.tile_bytes(),
                         .prefetch_lines = lines};
          int lines_left = lines > 0 ? block_lines : 0;
          for (int p = first_panel; p < first_panel + panel_count; ++p) {
            const int first = panels.begin(p);
            job.activations = quantised + activations.offset(first);
            job.tokens = panels.size(p);
            job.out = call.out + static_cast<std::ptrdiff_t>(first) * call.out_ld + row;
            job.prefetch_lines = std::min(lines, lines_left);
            kernel(job);
            job.prefetch += static_cast<std::size_t>(groups) * job.prefetch_lines * 64;
            lines_left -= job.prefetch_lines;
          }
        }
      },
      plan.runs);
}

// The input of a weight in a float format, as [tokens, K].
const float* float_input(const Kernels& kernels, const Team& team, LinearScratch& scratch, const LinearInput& in,
                         int tokens, int k) {
  if (in.kind == InputKind::plain) return in.x;
  const std::size_t K = static_cast<std::size_t>(k);
  float* const out = static_cast<float*>(scratch.values.at_least(sizeof(float) * K * static_cast<std::size_t>(tokens)));
  team.rows(tokens, 2 * k, [&](int begin, int end) {
    for (std::size_t t = static_cast<std::size_t>(begin); t < static_cast<std::size_t>(end); ++t) {
      if (in.kind == InputKind::normed) kernels.norm(out + t * K, in.x + t * K, in.norm_weight, in.eps, k);
      else kernels.gate_silu(out + t * K, in.x + 2 * t * K, in.x + 2 * t * K + K, k);
    }
  });
  return out;
}

void linear_float(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
                  const LinearCall& call) {
  const int k = static_cast<int>(weight.k);
  const float* const x = float_input(kernels, team, scratch, call.in, call.tokens, k);
  const Panels panels = cut_panels(call.tokens, kernels.float_panel);
  const int unit_rows = tile_rows * (call.tokens == 1 ? kernels.float_tiles : 1);
  const Work work = plan_work(panels, static_cast<int>((weight.n + unit_rows - 1) / unit_rows), 4ll * k, team.threads);
  const LinearKernel kernel = kernels.linear[static_cast<int>(weight.format)];
  team.tiles(
      work.size(),
      [&](int begin, int end, int) {
        for (int i = begin; i < end; ++i) {
          const int row = i % work.tiles * unit_rows, block = i / work.tiles;
          LinearTile job{.weights = weight.tile(row / tile_rows),
                         .k = k,
                         .rows = static_cast<int>(std::min<std::int64_t>(unit_rows, weight.n - row)),
                         .out_ld = call.out_ld,
                         .bias = call.bias ? call.bias + row : nullptr,
                         .add = call.add,
                         .prefetch = nullptr,
                         .prefetch_lines = 0};
          for (int p = work.block_begin(block); p < work.block_begin(block + 1); ++p) {
            job.activations = x + static_cast<std::size_t>(panels.begin(p)) * k;
            job.tokens = panels.size(p);
            job.out = call.out + static_cast<std::ptrdiff_t>(panels.begin(p)) * call.out_ld + row;
            kernel(job);
          }
        }
      },
      run_length(work, static_cast<double>(weight.tile_bytes()) * unit_rows / tile_rows, 1.0 * unit_rows * k,
                 float_products_per_us, team.threads));
}

}  // namespace

void linear(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
            const LinearCall& call) {
  if (call.tokens <= 0) return;
  if (is_quantised(weight.format)) linear_quantised(kernels, team, scratch, weight, call);
  else linear_float(kernels, team, scratch, weight, call);
}

}  // namespace octavo::cpu

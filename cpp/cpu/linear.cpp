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
constexpr int parallel_quantise_elements = 16384;
constexpr int quantise_run_groups = 16;  // 16 groups x 44 bytes are whole cache lines: threads never write the same one

// Tokens cut into `count` panels whose sizes differ by at most one.
struct Panels {
  int tokens, count;
  int begin(int i) const { return static_cast<int>(static_cast<std::int64_t>(tokens) * i / count); }
  int size(int i) const { return begin(i + 1) - begin(i); }
};

Panels cut_panels(int tokens, int largest) { return {tokens, (tokens + largest - 1) / largest}; }

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

int offset_of(const Kernels& kernels, Format format) {
  switch (format) {
    case Format::q4_0: return 8;
    case Format::q8_0:
    case Format::iq4_nl:
    case Format::mxfp4: return kernels.q8_offset;
    default: return packed_offset(format);
  }
}

// q6_k: a group's correction becomes one per half (kernels.h).
void split_corrections(std::uint8_t* panel, int tokens, int t, int begin, int end, int offset) {
  for (int g = begin; g < end; ++g) {
    std::uint8_t* const block = panel + static_cast<std::size_t>(g) * tokens * panel_token_bytes;
    const std::int8_t* const q = reinterpret_cast<const std::int8_t*>(block) + t * group_size;
    std::uint8_t *const first_at = block + tokens * group_size + 4 * t, *const second_at = first_at + 8 * tokens;
    std::int32_t whole, sum = 0;
    std::memcpy(&whole, first_at, 4);
    for (int i = 0; i < 16; ++i) sum += q[i];
    const std::int32_t first = -offset * sum, second = whole - first;
    std::memcpy(first_at, &first, 4);
    std::memcpy(second_at, &second, 4);
  }
}

void quantise_panels(const Kernels& kernels, const Team& team, std::uint8_t* out, const Panels& panels, const float* x,
                     int k, Format format) {
  const int offset = offset_of(kernels, format);
  const int groups = k / group_size;
  const auto quantise = [&](int panel, int group_begin, int group_end) {
    const int first = panels.begin(panel), tokens = panels.size(panel);
    std::uint8_t* const to = out + static_cast<std::size_t>(first) * groups * panel_token_bytes;
    for (int t = 0; t < tokens; ++t) {
      kernels.quantise(x + static_cast<std::size_t>(first + t) * k, to, tokens, t, group_begin, group_end, offset);
      if (format == Format::q6_k) split_corrections(to, tokens, t, group_begin, group_end, offset);
    }
  };
  if (team.threads == 1 || static_cast<std::int64_t>(panels.tokens) * k < parallel_quantise_elements) {
    for (int p = 0; p < panels.count; ++p) quantise(p, 0, groups);
    return;
  }
  // One cut along K where there is a single panel, whole panels otherwise: two threads in one panel would share cache
  // lines.
  const int runs = panels.count == 1 ? (groups + quantise_run_groups - 1) / quantise_run_groups : 1;
  team.tiles(panels.count * runs, [&](int begin, int end, int) {
    if (runs > 1) quantise(0, begin * quantise_run_groups, std::min(groups, end * quantise_run_groups));
    else for (int p = begin; p < end; ++p) quantise(p, 0, groups);
  });
}

void linear_quantised(const Kernels& kernels, const Team& team, Scratch& scratch, const CpuWeight& weight,
                      const LinearCall& call) {
  const int k = static_cast<int>(weight.k), groups = k / group_size;
  const Panels panels = cut_panels(call.tokens, panel_size(kernels, call.tokens));
  std::uint8_t* const quantised =
      static_cast<std::uint8_t*>(scratch.at_least(static_cast<std::size_t>(call.tokens) * groups * panel_token_bytes));
  quantise_panels(kernels, team, quantised, panels, call.x, k, weight.format);

  const Work work = plan_work(panels, static_cast<int>(weight.tiles()),
                              static_cast<std::int64_t>(groups) * panel_token_bytes, team.threads);
  const LinearKernel kernel = kernels.linear[static_cast<int>(weight.format)];
  const int block_lines = static_cast<int>(block_bytes(weight.format) / 64);
  team.tiles(
      work.size(),
      [&](int begin, int end, int) {
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
            job.activations = quantised + static_cast<std::size_t>(first) * groups * panel_token_bytes;
            job.tokens = panels.size(p);
            job.out = call.out + static_cast<std::ptrdiff_t>(first) * call.out_ld + row;
            job.prefetch_lines = std::min(lines, lines_left);
            kernel(job);
            job.prefetch += static_cast<std::size_t>(groups) * job.prefetch_lines * 64;
            lines_left -= job.prefetch_lines;
          }
        }
      },
      run_length(work, static_cast<double>(weight.tile_bytes()), 1.0 * tile_rows * k, int8_products_per_us,
                 team.threads));
}

void linear_float(const Kernels& kernels, const Team& team, const CpuWeight& weight, const LinearCall& call) {
  const int k = static_cast<int>(weight.k);
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
            job.activations = call.x + static_cast<std::size_t>(panels.begin(p)) * k;
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

void linear(const Kernels& kernels, const Team& team, Scratch& panels, const CpuWeight& weight,
            const LinearCall& call) {
  if (call.tokens <= 0) return;
  if (is_quantised(weight.format)) linear_quantised(kernels, team, panels, weight, call);
  else linear_float(kernels, team, weight, call);
}

}  // namespace octavo::cpu

#include "cpu/linear/linear.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "cpu/linear/packed.h"

namespace octavo::cpu {

namespace {

// Panels of a token block stay in the L2 cache while the tiles of a weight pass by. CPUs with matrix registers have 2 MiB
// of it, and arithmetic so fast that reading tiles again for another block counts.
constexpr std::int64_t resident_panel_bytes = 400000, resident_matrix_bytes = 1000000;
// Rough speed of one thread, for the length of claims only: bytes of weights and multiply-adds per microsecond.
constexpr double bytes_per_us = 20e3, int8_products_per_us = 150e3, float_products_per_us = 20e3;
// A claim: long enough that its cost does not count, short enough that an interrupt is seen soon and threads finish
// together.
constexpr double shortest_claim_us = 2, longest_claim_us = 500;
// Fewer tokens are bound by reading, and one stream of weights is read faster than two: where gates and ups lie apart.
constexpr int fused_from_tokens = 6;
// An output of so much leaves the caches before it is read: stored past them, its lines are not read first, and weights
// and panels stay.
constexpr std::size_t streamed_bytes = std::size_t{3} << 20;

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
  const std::int64_t resident =
      std::max<std::int64_t>(1, (panels.matrix() ? resident_matrix_bytes : resident_panel_bytes) / token_bytes);
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

// How weights are walked through, `at_once` tiles at a time, for a number of tokens.
struct Plan {
  Panels panels;
  Work work;
  RunLength runs;
  bool unpacked;  // tiles meet all panels of a block at once, a chunk of K unpacked for them after the other
  int panels_at_once(int block) const { return unpacked ? work.block_begin(block + 1) - work.block_begin(block) : 1; }
  int most_panels_at_once() const { return unpacked ? (panels.count + work.blocks - 1) / work.blocks : 1; }
};

// Whether a tile is worth unpacking for its panels.
bool unpacks(const Kernels& kernels, Format format, const Work& work) {
  const int panels_from = unpacked_from_two(format) && work.panels.tokens > 1 ? 1 : 2;
  return kernels.unpacking[static_cast<std::size_t>(format)].linear != nullptr &&
         work.panels.count >= panels_from * work.blocks;
}

Plan plan_quantised(const Kernels& kernels, const Tuning& tuning, const CpuWeight& weight, int tokens, int at_once,
                    int threads) {
  const bool matrix = kernels.matrix != nullptr && tokens >= tuning.matrix_from_tokens;
  const Panels panels = matrix ? matrix_panels(tokens) : cut_panels(tokens, panel_size(kernels, tokens));
  const Work work =
      plan_work(panels, static_cast<int>(weight.tiles()) / at_once, weight.k / group_size * panel_token_bytes, threads);
  return {panels, work,
          run_length(work, static_cast<double>(weight.tile_bytes()) * at_once, 1.0 * at_once * tile_rows * weight.k,
                     int8_products_per_us, threads),
          matrix || unpacks(kernels, weight.format, work)};
}

// With all panels of a block at once: memory of each thread for the kernels and for `row_floats` of each token of a block.
class Workspaces {
 public:
  Workspaces(LinearScratch& scratch, const Plan& plan, int row_floats, int threads) {
    if (!plan.unpacked) return;
    constexpr std::size_t page = 4096;
    const int tokens = plan.most_panels_at_once() * plan.panels.largest();
    kernel_bytes_ = (workspace_bytes(tokens) + page - 1) / page * page;
    const std::size_t row_bytes = static_cast<std::size_t>(tokens * row_floats) * sizeof(float);
    thread_bytes_ = kernel_bytes_ + (row_bytes + page - 1) / page * page;
    memory_ =
        static_cast<std::uint8_t*>(scratch.workspaces.at_least(thread_bytes_ * static_cast<std::size_t>(threads)));
  }
  std::uint8_t* of(int thread) const {
    return memory_ == nullptr ? nullptr : memory_ + thread_bytes_ * static_cast<std::size_t>(thread);
  }
  float* rows(int thread) const { return reinterpret_cast<float*>(of(thread) + kernel_bytes_); }

 private:
  std::size_t kernel_bytes_ = 0, thread_bytes_ = 0;
  std::uint8_t* memory_ = nullptr;
};

// A thread's matrix registers are in use as long as this lives, for panels that want them.
class MatrixRegisters {
 public:
  MatrixRegisters(const Kernels& kernels, const Panels& panels, Format format)
      : kernels_(panels.matrix() ? kernels.matrix : nullptr) {
    if (kernels_ != nullptr) kernels_->begin(has_two_dots(format) ? group_size / 2 : group_size, panels.matrix_room);
  }
  ~MatrixRegisters() {
    if (kernels_ != nullptr) kernels_->end();
  }
  MatrixRegisters(const MatrixRegisters&) = delete;
  MatrixRegisters& operator=(const MatrixRegisters&) = delete;

 private:
  const MatrixKernels* const kernels_;
};

LinearKernel kernel_of(const Kernels& kernels, const Plan& plan, Format format) {
  const std::size_t i = static_cast<std::size_t>(format);
  return plan.panels.matrix() ? kernels.matrix->linear[i]
         : plan.unpacked      ? kernels.unpacking[i].linear
                              : kernels.linear[i];
}

// What is fetched beside each tile of a run.
using RunLines = std::array<LinesBeside, most_run_tiles>;

// Tiles of a weight, each times the panels of a block: one after the other, or all at once; runs of tiles where the
// kernel takes them.
class TileTimesPanels {
 public:
  // bias: [N] or null; add, stream: kernels.h; workspace: of the thread, null for one panel after the other.
  TileTimesPanels(const Kernels& kernels, const CpuWeight& weight, const Plan& plan, const float* bias, int out_ld,
                  bool add, bool stream, std::uint8_t* workspace)
      : kernel_(kernel_of(kernels, plan, weight.format)),
        most_tiles_(plan.panels.matrix() ? kernels.matrix->most_tiles(weight.format, plan.most_panels_at_once()) : 1),
        groups_(static_cast<int>(weight.k / group_size)),
        group_lines_(static_cast<int>(block_bytes(weight.format) / 64)),
        n_(static_cast<int>(weight.n)),
        bias_(bias) {
    job_.k = static_cast<int>(weight.k);
    job_.out_ld = out_ld;
    job_.add = add;
    job_.stream = stream;
    job_.panels = &plan.panels;
    job_.group_lines = group_lines_;
    job_.unpack = kernels.unpacking[static_cast<std::size_t>(weight.format)].unpack;
    job_.operand_offset = operand_offset(kernels, weight.format);
    job_.workspace = workspace;
  }
  // So many tiles may be taken at once.
  int most_tiles() const { return most_tiles_; }
  // The tile from now on, and the one that the thread computes afterwards, or null: it is fetched meanwhile, evenly
  // over the calls of `times`.
  void tile(int tile, const std::uint8_t* weights, const std::uint8_t* next, int calls) {
    run({tile, 1}, weights, 0, next, calls);
  }
  // A run of tiles, `tile_step` numbers and so many bytes of weights apart.
  struct Run {
    int tile, tiles, tile_step = 1;
  };
  void run(const Run& run, const std::uint8_t* weights, std::ptrdiff_t bytes_step, const std::uint8_t* next,
           int calls) {
    job_.weights = weights;
    job_.tiles = run.tiles;
    job_.tile_step = bytes_step;
    job_.bias_step = run.tile_step * tile_rows;
    job_.rows = std::min(tile_rows, n_ - (run.tile + (run.tiles - 1) * run.tile_step) * tile_rows);
    job_.bias = bias_ ? bias_ + run.tile * tile_rows : nullptr;
    job_.prefetch = next;
    lines_left_ = next ? group_lines_ : 0;
    lines_ = (lines_left_ + calls - 1) / calls;
  }
  // Panels [first, end): one, or all of a block.
  void times(const std::uint8_t* panels, int first, int end, float* out, const LinesBeside* beside) {
    job_.activations = panels;
    job_.first_panel = first;
    job_.end_panel = end;
    job_.tokens = job_.panels->begin(end) - job_.panels->begin(first);
    job_.out = out;
    job_.prefetch_lines = std::min(lines_, lines_left_);
    job_.beside = beside->first;
    job_.beside_lines = beside->per_group;
    job_.besides = beside;
    kernel_(job_);
    job_.prefetch += static_cast<std::ptrdiff_t>(groups_) * job_.prefetch_lines * 64;
    lines_left_ -= job_.prefetch_lines;
  }

 private:
  const LinearKernel kernel_;
  const int most_tiles_, groups_, group_lines_, n_;
  const float* const bias_;
  int lines_left_ = 0, lines_ = 0;  // of each K group: still to fetch, and with each call
  LinearTile job_;
};

bool streamed(const LinearCall& call) {
  constexpr std::size_t line_floats = 16;
  return !call.add &&
         sizeof(float) * static_cast<std::size_t>(call.tokens) * static_cast<std::size_t>(call.out_ld) >=
             streamed_bytes &&
         reinterpret_cast<std::uintptr_t>(call.out) % 64 == 0 &&
         static_cast<std::size_t>(call.out_ld) % line_floats == 0;
}

Followers::Tiles tiles_of(const CpuWeight& weight, int at_once) {
  const bool side_by_side = weight.paired() && at_once == 2;
  return {weight.placed(0), weight.tile_bytes() * (side_by_side ? 2 : 1), static_cast<int>(weight.tiles()) / at_once};
}

// What a thread fetches while it computes a tile: the next one, or at the end of its share what it reads first
// afterwards.
class Ahead {
 public:
  Ahead(const Work& work, Followers::Tiles next, int threads, int thread)
      : tiles_(work.tiles),
        end_(ThreadPool::share_begin(work.size(), threads, thread + 1)),
        afterwards_(next.of(thread, threads)) {}
  // For index i of the work, which is the block's tile at `place`.
  const std::uint8_t* during(int i, int place, const std::uint8_t* next_tile) const {
    if (i + 1 == end_) return afterwards_;
    return place + 1 < tiles_ ? next_tile : nullptr;
  }

 private:
  const int tiles_, end_;
  const std::uint8_t* const afterwards_;
};

// out = or += weight times panels that are made.
void multiply(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
              const Plan& plan, const Activations& activations, const LinearCall& call) {
  const Panels& panels = plan.panels;
  const Work& work = plan.work;
  const Followers::Tiles follower = scratch.followers.read(tiles_of(weight, 1));
  const bool fetch = call.tokens >= scratch.tuning.prefetch_from_tokens;
  const bool stream = streamed(call);
  const int groups = static_cast<int>(weight.k / group_size);
  const Workspaces workspaces(scratch, plan, 0, team.threads);
  team.tiles(
      work.size(),
      [&](int begin, int end, int thread) {
        const std::uint8_t* const quantised = activations.of(thread);
        const Ahead ahead(work, follower, team.threads, thread);
        TileTimesPanels job(kernels, weight, plan, call.bias, call.out_ld, call.add, stream, workspaces.of(thread));
        const MatrixRegisters registers(kernels, panels, weight.format);
        const int most_tiles = weight.paired() ? 1 : job.most_tiles();
        RunLines beside{};
        for (int i = begin, tiles; i < end; i += tiles) {
          const int block = i / work.tiles, place = i - block * work.tiles;
          const int tile = static_cast<int>(weight.tile_at(place));
          tiles = std::min({most_tiles, end - i, work.tiles - place});
          const int first_panel = work.block_begin(block), end_panel = work.block_begin(block + 1);
          const int at_once = plan.panels_at_once(block);
          const std::uint8_t* const next_tile = weight.placed(place + tiles);
          job.run({tile, tiles}, weight.placed(place), static_cast<std::ptrdiff_t>(weight.tile_bytes()),
                  fetch ? ahead.during(i + tiles - 1, place + tiles - 1, next_tile) : nullptr,
                  (end_panel - first_panel) / at_once);
          for (int p = first_panel; p < end_panel; p += at_once) {
            const int first = panels.begin(p);
            for (int t = 0; fetch && t < tiles; ++t)
              beside[static_cast<std::size_t>(t)] = scratch.kv_ahead.take(thread, groups);
            job.times(quantised + activations.offset(first), p, p + at_once,
                      call.out + static_cast<std::ptrdiff_t>(first) * call.out_ld + tile * tile_rows, beside.data());
          }
        }
        if (stream) kernels.finish_streams();
      },
      plan.runs);
}

void linear_quantised(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
                      const LinearCall& call) {
  const Plan plan = plan_quantised(kernels, scratch.tuning, weight, call.tokens, 1, team.threads);
  const Activations activations(kernels, team, scratch, weight, plan.panels, call.in);
  multiply(kernels, team, scratch, weight, plan, activations, call);
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
  const bool fetch = call.tokens >= scratch.tuning.prefetch_from_tokens;
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
                         .prefetch = fetch ? weight.tile(row / tile_rows) : nullptr,
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

bool feed_forward(const Kernels& kernels, const Team& team, LinearScratch& scratch, const FeedForwardCall& call) {
  const CpuWeight &gate_up = call.gate_up, &down = call.down;
  if (!is_quantised(gate_up.format) || !is_quantised(down.format)) return false;
  if (call.tokens < fused_from_tokens && !gate_up.paired()) return false;
  const int tiles = static_cast<int>(down.k / tile_rows);
  const Plan plan = plan_quantised(kernels, scratch.tuning, gate_up, call.tokens, 2, team.threads);
  const Panels& panels = plan.panels;
  const Work& work = plan.work;
  const Activations in(kernels, team, scratch, gate_up, panels, call.in);
  const Activations between(kernels, scratch, scratch.gated, down, panels);
  const Followers::Tiles follower = scratch.followers.read(tiles_of(gate_up, 2));
  const bool fetch = call.tokens >= scratch.tuning.prefetch_from_tokens;
  const int groups = static_cast<int>(gate_up.k / group_size);
  constexpr int ld = 2 * tile_rows;
  const Workspaces workspaces(scratch, plan, ld, team.threads);
  team.tiles(
      work.size(),
      [&](int begin, int end, int thread) {
        alignas(64) float panel_rows[max_panel_tokens * ld];
        float* const made = plan.unpacked ? workspaces.rows(thread) : panel_rows;  // [tokens, 32 gates and 32 ups]
        const std::uint8_t* const quantised = in.of(thread);
        const Ahead ahead(work, follower, team.threads, thread);
        TileTimesPanels gate(kernels, gate_up, plan, call.gate_up_bias, ld, false, false, workspaces.of(thread)),
            up = gate;
        const MatrixRegisters registers(kernels, panels, gate_up.format);
        const bool both = gate.most_tiles() >= 2;  // at once
        const auto beside = [&] { return fetch ? scratch.kv_ahead.take(thread, groups) : LinesBeside{}; };
        for (int i = begin; i < end; ++i) {
          const int block = i / work.tiles, tile = i - block * work.tiles;
          const int first_panel = work.block_begin(block), end_panel = work.block_begin(block + 1);
          const int at_once = plan.panels_at_once(block), calls = (end_panel - first_panel) / at_once;
          const std::uint8_t* const next_tile = gate_up.tile(tile + 1);
          const std::uint8_t *const next = fetch ? ahead.during(i, tile, next_tile) : nullptr, *next_up = nullptr;
          // What follows the last tiles is one stream.
          if (next != nullptr)
            next_up = next == next_tile ? gate_up.tile(tiles + tile + 1) : next + gate_up.tile_bytes();
          const std::uint8_t *const gates = gate_up.tile(tile), *const ups = gate_up.tile(tiles + tile);
          if (both) gate.run({tile, 2, tiles}, gates, ups - gates, next, calls);
          else gate.tile(tile, gates, next, calls), up.tile(tiles + tile, ups, next_up, calls);
          for (int p = first_panel; p < end_panel; p += at_once) {
            const int first = panels.begin(p);
            const std::uint8_t* const from = quantised + in.offset(first);
            const LinesBeside lines[2] = {beside(), beside()};
            gate.times(from, p, p + at_once, made, lines);
            if (!both) up.times(from, p, p + at_once, made + tile_rows, lines + 1);
            for (int made_panel = p; made_panel < p + at_once; ++made_panel)
              between.put_gated(made_panel, tile, made + (panels.begin(made_panel) - first) * ld, call.act);
          }
        }
      },
      plan.runs);
  multiply(kernels, team, scratch, down,
           plan_quantised(kernels, scratch.tuning, down, call.tokens, 1, team.threads), between,
           {call.out, static_cast<int>(down.n), nullptr, call.down_bias, call.tokens, true});
  return true;
}

}  // namespace octavo::cpu

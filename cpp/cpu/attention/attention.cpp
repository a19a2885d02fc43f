#include "cpu/attention/attention.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace octavo::cpu {

namespace {

constexpr int group_rows = 32;  // query rows that walk the keys together; their partials stay in the L1 and L2 caches
constexpr std::size_t ints_per_line = 16;
constexpr int chunk_blocks = attention_chunk / kv_block_tokens;

using Group = AttentionScratch::Group;

// Partials of up to `rows` rows: [rows, D] out, [rows] max, [rows] sum.
struct State {
  float *out, *max, *sum;
  State(float* memory, int rows, int head_size)
      : out(memory), max(memory + static_cast<std::size_t>(rows) * head_size), sum(max + rows) {}
  // Whole cache lines, so that threads do not share one.
  static std::size_t floats(int rows, int head_size) {
    return (static_cast<std::size_t>(rows) * (head_size + 2) + 15) / 16 * 16;
  }
};

struct Keys {
  int first, end;  // visible keys [first, end), absolute, beside the sinks
};

class Run {
 public:
  Run(const Kernels& kernels, const AttentionCall& call)
      : kernels_(kernels),
        call_(call),
        head_size_(call.kv.shape.head_size),
        heads_per_kv_(call.params.heads / call.kv.shape.kv_heads) {}

  int heads_per_kv() const { return heads_per_kv_; }
  int query_rows(const AttentionSegment& segment) const { return segment.count * heads_per_kv_; }
  Keys keys_of(const AttentionSegment& segment, int row) const {
    const int p = segment.position + row / heads_per_kv_, window = call_.params.window;
    return {window > 0 ? std::max(0, p - window + 1) : 0, p + 1};
  }

  // The first chunk that a row sees.
  int first_chunk_of(const AttentionSegment& segment, int row) const {
    return call_.params.sinks > 0 ? 0 : keys_of(segment, row).first / attention_chunk;
  }

  // Rows [from, to) of a group that see a key of the chunk: both ends of what a row sees ascend with the row, and every
  // row that reaches a chunk with sinks sees it.
  std::pair<int, int> rows_of_chunk(const Group& g, int chunk) const {
    const int begin = chunk * attention_chunk, end = begin + attention_chunk;
    int from = 0, to = g.rows;
    while (from < to && keys_of(*g.segment, g.row + from).end <= begin) ++from;
    if (begin < call_.params.sinks) return {from, to};
    while (to > from && keys_of(*g.segment, g.row + to - 1).first >= end) --to;
    return {from, to};
  }

  // rope of a row's key and of the queries that read it, kv_write of its key and value.
  void make(int row, int kv_head) const {
    const NewRows& made = *call_.made;
    const auto rotate = made.style == RopeStyle::interleaved ? kernels_.rope_interleaved : kernels_.rope_half;
    const float* const angles = made.cos_sin + static_cast<std::ptrdiff_t>(row) * made.dims;
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(row) * made.ld;
    for (int h = 0; h < heads_per_kv_; ++h)
      rotate(made.q + at + (kv_head * heads_per_kv_ + h) * head_size_, angles, made.dims / 2);
    float* const key = made.k + at + kv_head * head_size_;
    rotate(key, angles, made.dims / 2);
    const KvShape& shape = call_.kv.shape;
    const int slot = made.slots[row];
    kernels_.kv_write[static_cast<std::size_t>(shape.dtype)](
        call_.store->head(call_.layer, slot / kv_block_tokens, kv_head), slot % kv_block_tokens,
        {key, made.v + at + kv_head * head_size_, made.q + at + kv_head * heads_per_kv_ * head_size_, heads_per_kv_},
        head_size_);
  }
  void make(const Group& g) const {
    for (int i = 0; i < g.segment->count; ++i) make(g.segment->row + i, g.kv_head);
  }

  // Partials of the rows that see the chunk, each at its own index of `state`. next: the (group, chunk) that follows on
  // this thread, or no group; cold: none came before.
  void compute_chunk(const Group& g, int chunk, const State& state, std::pair<const Group*, int> next,
                     bool cold) const {
    const auto [from, to] = rows_of_chunk(g, chunk);
    if (from == to) return;
    const AttentionSegment& segment = *g.segment;
    const int begin = chunk * attention_chunk;
    const float* q[group_rows];
    int first[group_rows], end[group_rows], sink[group_rows];
    for (int r = from; r < to; ++r) {
      const int row = g.row + r;
      const Keys keys = keys_of(segment, row);
      q[r] = call_.q + static_cast<std::ptrdiff_t>(segment.row + row / heads_per_kv_) * call_.q_ld +
             head_of(g, row) * head_size_;
      first[r] = std::max(keys.first - begin, 0);
      end[r] = std::min(keys.end - begin, attention_chunk);
      sink[r] = std::clamp(call_.params.sinks - begin, 0, end[r]);
      // One interval where the window has begun among the sinks, or has left the chunk.
      if (sink[r] >= first[r] && sink[r] > 0) first[r] = sink[r] = 0;
      if (first[r] >= end[r]) first[r] = 0, end[r] = std::exchange(sink[r], 0);
    }
    const auto [next_group, next_chunk] = next;
    const int next_end = next_group ? keys_of(*next_group->segment, next_group->row + next_group->rows - 1).end : 0;
    const int next_keys = std::clamp(next_end - next_chunk * attention_chunk, 0, attention_chunk);
    const KvShape& shape = call_.kv.shape;
    const auto kernel = kernels_.attention_chunk[static_cast<std::size_t>(shape.dtype)];
    kernel({.kv = call_.kv.head(call_.layer, 0, g.kv_head),
            .block_stride = call_.kv.block_stride(),
            .part_bytes = kv_block_tokens * head_size_ * traits(shape.dtype).value_bytes,
            .head_bytes = static_cast<int>(kv_head_bytes(shape)),
            .table = segment.table + chunk * chunk_blocks,
            .next_kv = next_group ? call_.kv.head(call_.layer, 0, next_group->kv_head) : nullptr,
            .next_table = next_group ? next_group->segment->table + next_chunk * chunk_blocks : nullptr,
            .next_blocks = (next_keys + kv_block_tokens - 1) / kv_block_tokens,
            .cold = cold,
            .head_size = head_size_,
            .rows = to - from,
            .scale = call_.params.scale,
            .soft_cap = call_.params.soft_cap,
            .q = q + from,
            .first = first + from,
            .end = end + from,
            .sink = sink + from,
            .max = state.max + from,
            .sum = state.sum + from,
            .out = state.out + static_cast<std::size_t>(from) * head_size_});
  }

  // Adds a chunk's partials to what came before; a row's first chunk is taken as it is.
  void merge(const Group& g, int chunk, const State& total, const State& part) const {
    const auto [from, to] = rows_of_chunk(g, chunk);
    for (int r = from; r < to; ++r) {
      const std::size_t at = static_cast<std::size_t>(r) * head_size_;
      if (first_chunk_of(*g.segment, g.row + r) == chunk) {
        total.max[r] = part.max[r];
        total.sum[r] = part.sum[r];
        std::memcpy(total.out + at, part.out + at, sizeof(float) * head_size_);
      } else {
        kernels_.attention_merge(&total.max[r], &total.sum[r], total.out + at, part.max[r], part.sum[r], part.out + at,
                                 head_size_);
      }
    }
  }

  void finish(const Group& g, const State& total) const {
    for (int r = 0; r < g.rows; ++r) {
      const int row = g.row + r;
      float* const out =
          call_.out +
          static_cast<std::ptrdiff_t>(g.segment->row + row / heads_per_kv_) * call_.params.heads * head_size_ +
          head_of(g, row) * head_size_;
      const float* const sinks = call_.params.sink_logits;
      kernels_.attention_finish(out, total.out + static_cast<std::size_t>(r) * head_size_, total.max[r], total.sum[r],
                                sinks ? sinks + head_of(g, row) : nullptr, head_size_);
    }
  }

 private:
  int head_of(const Group& g, int row) const { return g.kv_head * heads_per_kv_ + row % heads_per_kv_; }

  const Kernels& kernels_;
  const AttentionCall& call_;
  const int head_size_, heads_per_kv_;
};

// Returns the number of (group, chunk) pairs.
int plan_groups(const Run& run, const AttentionCall& call, AttentionScratch& scratch) {
  int slots = 0;
  scratch.groups.clear();
  scratch.slot_group.clear();
  for (int s = 0; s < call.plan.n_segments; ++s) {
    const AttentionSegment& segment = call.plan.segments[s];
    const int rows = run.query_rows(segment), groups = (rows + group_rows - 1) / group_rows;
    for (int kv_head = 0; kv_head < call.kv.shape.kv_heads; ++kv_head) {
      for (int i = 0; i < groups; ++i) {
        const int begin = static_cast<int>(static_cast<std::int64_t>(rows) * i / groups);
        const int end = static_cast<int>(static_cast<std::int64_t>(rows) * (i + 1) / groups);
        const int first_chunk = run.keys_of(segment, begin).first / attention_chunk;
        const int end_chunk = (run.keys_of(segment, end - 1).end + attention_chunk - 1) / attention_chunk;
        const int sink_chunks =
            std::min(first_chunk, (call.params.sinks + attention_chunk - 1) / attention_chunk);
        const Group group{&segment, kv_head, begin, end - begin, sink_chunks, first_chunk, end_chunk, slots};
        scratch.slot_group.insert(scratch.slot_group.end(), group.chunks(), static_cast<int>(scratch.groups.size()));
        scratch.groups.push_back(group);
        slots += group.chunks();
      }
    }
  }
  return slots;
}

// What each thread reads first in the next layer: that of its groups in this one, the heads of a block together.
void list_ahead(const Run& run, const AttentionCall& call, const std::vector<Group>& groups, int threads) {
  const KvShape& shape = call.kv.shape;
  const int count = static_cast<int>(groups.size());
  KvAhead& ahead = *call.ahead;
  ahead.clear(threads);
  for (int thread = 0; thread < threads; ++thread) {
    const int end = ThreadPool::share_begin(count, threads, thread + 1);
    for (int i = ThreadPool::share_begin(count, threads, thread), next; i < end; i = next) {
      const Group& g = groups[static_cast<std::size_t>(i)];
      int end_head = g.kv_head + 1;
      for (next = i + 1; next < end && groups[static_cast<std::size_t>(next)].segment == g.segment; ++next)
        end_head = groups[static_cast<std::size_t>(next)].kv_head + 1;
      const Keys keys = run.keys_of(*g.segment, g.row);
      for (int block = keys.first / kv_block_tokens; block * kv_block_tokens < keys.end; ++block)
        ahead.add(thread,
                  call.kv.block_stride() * static_cast<std::size_t>(g.segment->table[block]) +
                      kv_head_bytes(shape) * static_cast<std::size_t>(g.kv_head),
                  kv_head_bytes(shape) * static_cast<std::size_t>(end_head - g.kv_head));
    }
  }
  ahead.begin(call.layer + 1 < shape.layers ? call.kv.block(call.layer + 1, 0) : nullptr, call.layer == 0);
}

}  // namespace

void attention(const Kernels& kernels, const Team& team, AttentionScratch& scratch, const AttentionCall& call) {
  const Run run(kernels, call);
  const int slots = plan_groups(run, call, scratch), groups = static_cast<int>(scratch.groups.size());
  int rows = 0;  // of the largest group: a decode step needs room for the heads of one token only
  for (const Group& g : scratch.groups) rows = std::max(rows, g.rows);
  const int head_size = call.kv.shape.head_size;
  const std::size_t state_floats = State::floats(rows, head_size);
  const bool apart = team.threads > 1 && groups < 4 * team.threads && slots > groups;
  float* const states =
      static_cast<float*>(scratch.states.at_least(sizeof(float) * state_floats * (apart ? slots : 2 * team.threads)));

  const auto state = [&](std::size_t i) { return State(states + state_floats * i, rows, head_size); };

  // A group that is all rows of its sequence and head makes them itself.
  const bool make_in_groups = call.made && !apart && groups == call.plan.n_segments * call.kv.shape.kv_heads;
  if (call.made && !make_in_groups) {
    const int kv_heads = call.kv.shape.kv_heads;
    team.rows(call.plan.rows * kv_heads, (run.heads_per_kv() + 3) * head_size, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) run.make(i / kv_heads, i % kv_heads);
    });
  }

  const auto chunk_of = [&](int slot) {
    const Group& g = scratch.groups[scratch.slot_group[slot]];
    return std::pair{&g, g.chunk(slot - g.slot)};
  };
  const auto next_of = [&](int slot, int end) {
    return slot + 1 < end ? chunk_of(slot + 1) : std::pair<const Group*, int>{};
  };

  if (!apart) {
    scratch.fetched.assign(static_cast<std::size_t>(team.threads) * ints_per_line, -1);
    team.tiles(groups, [&](int begin, int end, int thread) {
      const State total = state(2 * thread), part = state(2 * thread + 1);
      int& fetched = scratch.fetched[static_cast<std::size_t>(thread) * ints_per_line];
      for (int i = begin; i < end; ++i) {
        const Group& g = scratch.groups[i];
        if (make_in_groups) run.make(g);
        for (int c = 0; c < g.chunks(); ++c) {
          const int slot = g.slot + c;
          run.compute_chunk(g, g.chunk(c), part, next_of(slot, slots), slot != fetched);
          fetched = slot + 1;
          run.merge(g, g.chunk(c), total, part);
        }
        run.finish(g, total);
      }
    });
    if (call.ahead) list_ahead(run, call, scratch.groups, team.threads);
    return;
  }
  // A thread goes through its share in order; only what another one takes from it begins with a chunk that is waited
  // for.
  scratch.fetched.assign(static_cast<std::size_t>(team.threads) * ints_per_line, -1);
  team.tiles(slots, [&](int begin, int end, int thread) {
    int& fetched = scratch.fetched[static_cast<std::size_t>(thread) * ints_per_line];
    const auto share = [&](int i) { return ThreadPool::share_begin(slots, team.threads, i); };
    const int last = begin >= share(thread) && end <= share(thread + 1) ? share(thread + 1) : end;
    for (int i = begin; i < end; ++i) {
      const auto [g, chunk] = chunk_of(i);
      run.compute_chunk(*g, chunk, state(i), next_of(i, last), i != fetched);
      fetched = i + 1;
    }
  });
  team.tiles(groups, [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i) {
      const Group& g = scratch.groups[i];
      const State total = state(g.slot);
      for (int c = 1; c < g.chunks(); ++c) run.merge(g, g.chunk(c), total, state(g.slot + c));
      run.finish(g, total);
    }
  });
  if (call.ahead) call.ahead->begin(nullptr, true);
}

}  // namespace octavo::cpu

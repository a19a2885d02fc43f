// What threads do together: barriers of the block, and the operations in which all lanes of a mask meet.
#include <algorithm>

#include "emulator/block.h"
#include "emulator/checker.h"
#include "emulator/matrix.h"
#include "emulator/traffic.h"

namespace octavo::shim {

namespace {

void complete(int id, Barrier& b) {
  std::vector<int> all = b.waiting;
  all.insert(all.end(), b.arrived.begin(), b.arrived.end());
  join_clocks(all, b.waiting);
  std::map<int, unsigned> warps;  // threads that only arrived have gone on, each as far as it came
  for (const int thread : b.waiting) warps[thread / 32] |= 1u << (thread % 32);
  for (const auto& [warp, lanes] : warps) flush_accesses(warp, lanes);
  ++counters().barriers;
  const std::vector<int> waiting = std::move(b.waiting);
  block.barriers.erase(id);
  for (const int thread : waiting)
    if (thread != running->thread) wake(thread);
}

bool is_in(const std::vector<int>& threads, int thread) {
  return std::find(threads.begin(), threads.end(), thread) != threads.end();
}

void meet_at_barrier(int id, int threads, bool waits, const void* site, int line) {
  Barrier& b = block.barriers[id];
  const int needed = threads == whole_block ? block.threads : threads;
  const std::size_t present = b.waiting.size() + b.arrived.size();
  if (id < 0 || id > 15 || needed % 32 != 0 || needed < 1) {
    if (threads != whole_block)
      report("barrier", site, nullptr, "barrier %d of %d threads at %s: ids are 0..15, threads whole warps", id, needed,
             source_line(site).c_str());
  }
  if (present == 0) {
    b.needed = needed;
    b.site = site;
    b.line = line;
  } else if (b.needed != needed) {
    report("barrier", site, b.site, "barrier %d is used with %d and with %d threads at %s", id, b.needed, needed,
           source_line(site).c_str());
  } else if (threads == whole_block && b.line != line && !b.mixed) {
    b.mixed = true;
    report("barrier-divergence", site, b.site, "threads of a block meet in different __syncthreads: %s and %s",
           source_line(site).c_str(), source_line(b.site).c_str());
  }
  if (is_in(b.arrived, running->thread)) {
    report("barrier", site, b.site, "a thread comes to barrier %d twice before it is complete, at %s", id,
           source_line(site).c_str());
    end_launch();
  }
  (waits ? b.waiting : b.arrived).push_back(running->thread);
  if (static_cast<int>(present) + 1 == b.needed) {
    complete(id, b);
  } else if (waits) {
    wait_in(id == 0 ? "__syncthreads" : "a named barrier", site);
  }
}

unsigned lanes_that_exist(int warp) {
  const int left = block.threads - warp * 32;
  return left >= 32 ? ~0u : (1u << left) - 1;
}

// Lanes of a mask meet; the last one carries the operation out for all, with each lane's arguments.
template <class Arguments, class Operation>
void meet(int kind, unsigned mask, Arguments& arguments, const void* site, Operation operation) {
  const int lane = running->lane, warp = running->warp;
  mask &= lanes_that_exist(warp);
  if (((mask >> lane) & 1) == 0) {
    report("warp-mask", site, nullptr, "lane %d takes part in an operation whose mask %08x leaves it out, at %s", lane,
           mask, source_line(site).c_str());
    end_launch();
  }
  auto& all = block.meetings[static_cast<std::size_t>(warp)];
  auto it = std::find_if(all.begin(), all.end(), [&](const Meeting& m) { return (m.mask & mask) != 0; });
  if (it == all.end()) it = all.insert(all.end(), Meeting{mask, 0, kind, {}});
  if (it->mask != mask || it->kind != kind || ((it->present >> lane) & 1) != 0) {
    report("warp-divergence", site, nullptr, "lanes of a warp meet in different operations (masks %08x, %08x) at %s",
           mask, it->mask, source_line(site).c_str());
    end_launch();
  }
  it->arguments[lane] = &arguments;
  it->present |= 1u << lane;
  if (it->present != mask) {
    wait_in("an operation of its warp", site);
    return;
  }
  const Meeting met = *it;
  all.erase(it);
  flush_accesses(warp, mask);
  Arguments* by_lane[32];
  for (int l = 0; l < 32; ++l) by_lane[l] = static_cast<Arguments*>(met.arguments[l]);
  operation(mask, by_lane);
  for (int l = 0; l < 32; ++l)
    if (((mask >> l) & 1) != 0 && l != lane) wake(warp * 32 + l);
}

enum { sync_kind, shuffle_kind, vote_kind, reduce_kind, matrix_kind, load_kind };

struct ShuffleArguments {
  std::uint64_t value, result;
  int selector, width;
  Shuffle kind;
};

// The lane whose value lane `lane` gets; its own where the source is outside of its segment.
int shuffle_source(int lane, const ShuffleArguments& a) {
  const int base = lane & ~(a.width - 1), end = base + a.width;
  switch (a.kind) {
    case Shuffle::index:
      return base + (a.selector & (a.width - 1));
    case Shuffle::up:
      return lane - a.selector >= base ? lane - a.selector : lane;
    case Shuffle::down:
      return lane + a.selector < end ? lane + a.selector : lane;
    case Shuffle::exclusive_or:
      break;
  }
  return (lane ^ a.selector) < end ? lane ^ a.selector : lane;
}

struct VoteArguments {
  bool predicate;
  unsigned result;
};
struct ReduceArguments {
  unsigned value, result;
};

unsigned combine(Reduction kind, unsigned a, unsigned b) {
  switch (kind) {
    case Reduction::add:
      return a + b;
    case Reduction::max:
      return std::max(a, b);
    case Reduction::min:
      return std::min(a, b);
    case Reduction::logic_or:
      break;
  }
  return a | b;
}

}  // namespace

void barrier_sync(int id, int threads, int line) {
  meet_at_barrier(id, threads, true, __builtin_return_address(0), line);
}
void barrier_arrive(int id, int threads) { meet_at_barrier(id, threads, false, __builtin_return_address(0), 0); }

void sync_warp(unsigned mask) {
  int nothing = 0;
  const int first = running->warp * 32;
  meet(sync_kind, mask, nothing, __builtin_return_address(0), [&](unsigned met, int**) {
    std::vector<int> threads;
    for (int l = 0; l < 32; ++l)
      if ((met >> l) & 1) threads.push_back(first + l);
    join_clocks(threads, threads);
  });
}

std::uint64_t shuffle(unsigned mask, std::uint64_t value, int selector, Shuffle kind, int width) {
  ShuffleArguments mine{value, 0, selector, width, kind};
  const void* const site = __builtin_return_address(0);
  meet(shuffle_kind, mask, mine, site, [&](unsigned met, ShuffleArguments** lanes) {
    ++counters().warp_exchanges;
    for (int l = 0; l < 32; ++l) {
      if (((met >> l) & 1) == 0) continue;
      const int source = shuffle_source(l, *lanes[l]);
      if (((met >> source) & 1) != 0) {
        lanes[l]->result = lanes[source]->value;
        continue;
      }
      report("shuffle", site, nullptr, "a shuffle reads lane %d, which its mask %08x leaves out, at %s", source, met,
             source_line(site).c_str());
      lanes[l]->result = ~0ull;
    }
  });
  return mine.result;
}

unsigned vote(unsigned mask, bool predicate, Vote kind) {
  VoteArguments mine{predicate, 0};
  meet(vote_kind, mask, mine, __builtin_return_address(0), [&](unsigned met, VoteArguments** lanes) {
    ++counters().warp_exchanges;
    unsigned ballot = 0;
    for (int l = 0; l < 32; ++l)
      if (((met >> l) & 1) != 0 && lanes[l]->predicate) ballot |= 1u << l;
    const unsigned result = kind == Vote::ballot ? ballot : kind == Vote::any ? ballot != 0 : ballot == met;
    for (int l = 0; l < 32; ++l)
      if ((met >> l) & 1) lanes[l]->result = result;
  });
  return mine.result;
}

unsigned reduce(unsigned mask, unsigned value, Reduction kind) {
  ReduceArguments mine{value, 0};
  meet(reduce_kind, mask, mine, __builtin_return_address(0), [&](unsigned met, ReduceArguments** lanes) {
    ++counters().warp_exchanges;
    unsigned result = 0;
    bool first = true;
    for (int l = 0; l < 32; ++l) {
      if (((met >> l) & 1) == 0) continue;
      result = first ? lanes[l]->value : combine(kind, result, lanes[l]->value);
      first = false;
    }
    for (int l = 0; l < 32; ++l)
      if ((met >> l) & 1) lanes[l]->result = result;
  });
  return mine.result;
}

namespace {

// All lanes give their registers, get their part of d.
template <class Product, class Registers>
void multiply(Registers& mine, const void* site, Product product) {
  meet(matrix_kind, ~0u, mine, site, [&](unsigned met, Registers** lanes) {
    if (met != ~0u) {
      report("warp-mask", site, nullptr, "a matrix product needs all 32 lanes, at %s", source_line(site).c_str());
      return;
    }
    ++counters().matrix_products;
    product(lanes);
  });
}

}  // namespace

void mma_s8(int (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const int (&c)[4]) {
  S8Lane mine;
  std::copy_n(a, 4, mine.a);
  std::copy_n(b, 2, mine.b);
  std::copy_n(c, 4, mine.c);
  multiply(mine, __builtin_return_address(0), product_s8);
  std::copy_n(mine.c, 4, d);
}

void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4]) {
  F16Lane mine;
  std::copy_n(a, 4, mine.a);
  std::copy_n(b, 2, mine.b);
  std::copy_n(c, 4, mine.c);
  multiply(mine, __builtin_return_address(0), product_f16);
  std::copy_n(mine.c, 4, d);
}

namespace {

struct LoadArguments {
  const char* row;
  std::uint32_t out[4];
};

}  // namespace

void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed) {
  const void* const site = __builtin_return_address(0);
  LoadArguments mine{static_cast<const char*>(row), {}};
  check_matrix_row(mine.row, site);
  meet(load_kind + (transposed ? 1 : 0), ~0u, mine, site, [&](unsigned, LoadArguments** lanes) {
    for (int i = 0; i < 4; ++i) {  // matrix i: rows of 16 bytes at the addresses of lanes 8 i .. 8 i + 7
      std::uint16_t m[8][8];
      for (int r = 0; r < 8; ++r) std::memcpy(m[r], lanes[8 * i + r]->row, 16);
      for (int l = 0; l < 32; ++l) {
        const int r = l / 4, c = l % 4 * 2;
        const std::uint32_t low = transposed ? m[c][r] : m[r][c], high = transposed ? m[c + 1][r] : m[r][c + 1];
        lanes[l]->out[i] = low | high << 16;
      }
    }
  });
  std::copy_n(mine.out, 4, out);
}

}  // namespace octavo::shim

// How a warp runs. Its lanes stand in groups of one place each; the group that is furthest behind goes first, and
// groups that come to the same place become one, so that lanes meet again behind what divided them (the order of places
// in PTX is one in which blocks follow each other). An instruction that needs certain lanes parks its group until they
// are here.
#include "launch.h"

#include <algorithm>

namespace octavo::ptx {

namespace {

struct Barrier {
  unsigned wanted = 0;   // threads; 0: all that have not ended
  unsigned arrived = 0;  // threads, those of whole warps
};

std::string place(const Instruction& i) { return "line " + std::to_string(i.line); }

class BlockRun {
 public:
  BlockRun(const Function& f, Memory& memory, const LaunchShape& shape, const std::uint8_t* params, LaunchStats& stats)
      : f_(f), shape_(shape), seed_(shape.seed) {
    threads_ = shape.block[0] * shape.block[1] * shape.block[2];
    const unsigned n = (threads_ + warp_lanes - 1) / warp_lanes;
    block_.function = &f, block_.memory = &memory, block_.params = params, block_.stats = &stats;
    std::copy_n(shape.block, 3, block_.size), std::copy_n(shape.grid, 3, block_.grid);
    words_ = static_cast<std::size_t>(f.file_words);
    // A register holds what was there before, as on a device.
    static thread_local std::vector<std::uint32_t> files;
    if (files.size() < n * words_ + warp_lanes) files.resize(n * words_ + warp_lanes);
    std::uint32_t* base = files.data();
    while (reinterpret_cast<std::uintptr_t>(base) % 64) ++base;
    warps_.resize(n);
    for (unsigned k = 0; k < n; ++k) {
      Warp& w = warps_[k];
      w.index = static_cast<int>(k);
      w.block = &block_;
      w.file = base + k * words_;
      w.predicates.resize(static_cast<std::size_t>(f.predicates) + 1);
      w.local.resize(f.local_bytes * warp_lanes);
      fill_constants(w);
    }
  }

  void run(unsigned x, unsigned y, unsigned z) {
    block_.id[0] = x, block_.id[1] = y, block_.id[2] = z;
    block_.shared.assign(f_.shared_bytes + shape_.dynamic_shared, 0xA5);
    for (Barrier& b : barriers_) b = {};
    for (Warp& w : warps_) start(w);
    order_.resize(warps_.size());
    for (std::size_t k = 0; k < order_.size(); ++k) order_[k] = k;
    for (;;) {
      if (seed_) shuffle();
      bool moved = false, done = true;
      for (const std::size_t k : order_) {
        if (warps_[k].state == WarpState::ready) run_warp(warps_[k]), moved = true;
        done = done && warps_[k].state == WarpState::done;
      }
      if (done) return;
      if (!moved && !release_all()) deadlock();
    }
  }

 private:
  void shuffle() {
    for (std::size_t k = order_.size(); k > 1; --k) {
      seed_ = seed_ * 6364136223846793005u + 1442695040888963407u;
      std::swap(order_[k - 1], order_[(seed_ >> 33) % k]);
    }
  }
  void fill_constants(Warp& w) {
    for (const Constant& c : f_.constants) {
      if (c.width == 0) {
        w.predicates[static_cast<std::size_t>(c.slot)] = static_cast<std::uint32_t>(c.value);
      } else {
        for (int l = 0; l < warp_lanes; ++l) set_wide(w, {c.slot, c.width, false}, l, c.value);
      }
    }
  }
  void start(Warp& w) {
    const unsigned first = static_cast<unsigned>(w.index) * warp_lanes;
    w.live = threads_ - first >= warp_lanes ? all_lanes : (1u << (threads_ - first)) - 1;
    w.state = WarpState::ready;
    w.barrier = -1;
    w.groups.assign(1, {0, w.live});
    for (auto& copies : w.copies) copies.clear();
    std::fill_n(w.open_group, warp_lanes, 0);
    w.recent = nullptr;
    for (int l = 0; l < warp_lanes; ++l) {
      const unsigned t = first + static_cast<unsigned>(l);
      const unsigned values[special_count] = {t % block_.size[0],
                                              t / block_.size[0] % block_.size[1],
                                              t / block_.size[0] / block_.size[1],
                                              block_.id[0],
                                              block_.id[1],
                                              block_.id[2],
                                              block_.size[0],
                                              block_.size[1],
                                              block_.size[2],
                                              block_.grid[0],
                                              block_.grid[1],
                                              block_.grid[2],
                                              static_cast<unsigned>(l),
                                              static_cast<unsigned>(w.index)};
      for (int s = 0; s < special_count; ++s) w.file[s * warp_lanes + l] = values[s];
    }
  }

  // ---- one warp ---------------------------------------------------------------------------------------------------
  // The group to go on with: of those that wait for nobody, the one furthest behind. Groups of one place are joined.
  std::size_t choose(Warp& w) {
    for (std::size_t a = 0; a < w.groups.size(); ++a) {
      for (std::size_t b = a + 1; b < w.groups.size();) {
        if (w.groups[a].pc == w.groups[b].pc) {
          w.groups[a].lanes |= w.groups[b].lanes;
          w.groups[a].parked = false;
          w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(b));
        } else {
          ++b;
        }
      }
    }
    std::size_t best = w.groups.size();
    for (std::size_t k = 0; k < w.groups.size(); ++k) {
      if (!w.groups[k].parked && (best == w.groups.size() || w.groups[k].pc < w.groups[best].pc)) best = k;
    }
    if (best == w.groups.size()) {
      const Instruction& i = f_.code[static_cast<std::size_t>(w.groups[0].pc)];
      std::string others;
      for (std::size_t k = 1; k < w.groups.size(); ++k)
        others += " " + place(f_.code[static_cast<std::size_t>(w.groups[k].pc)]);
      fail(Fault::divergence, i, w, std::countr_zero(w.groups[0].lanes),
           "lanes wait here for lanes that wait at" + others);
    }
    return best;
  }

  void run_warp(Warp& w) {
    while (w.state == WarpState::ready) {
      if (w.groups.empty()) {
        w.state = WarpState::done;
        return;
      }
      std::size_t g = w.groups.size() == 1 && !w.groups[0].parked ? 0 : choose(w);
      run_group(w, g);
    }
  }

  // Until the group divides, meets another, parks, ends or waits.
  void run_group(Warp& w, std::size_t g) {
    std::int32_t meeting = INT32_MAX;
    for (const Group& other : w.groups) {
      if (&other != &w.groups[g]) meeting = std::min(meeting, other.pc > w.groups[g].pc ? other.pc : INT32_MAX);
    }
    std::int32_t pc = w.groups[g].pc;
    const std::uint32_t all = w.groups[g].lanes;
    std::uint64_t executed = 0;
    for (;;) {
      const Instruction& i = f_.code[static_cast<std::size_t>(pc)];
      std::uint32_t lanes = all;
      if (i.guard >= 0) {
        const std::uint32_t p = w.predicates[static_cast<std::size_t>(i.guard)];
        lanes &= i.guard_negated ? ~p : p;
      }
      ++executed;
      if (i.flow == Flow::next) {
        if (lanes) i.run(i, w, lanes);
        if (++pc != meeting) continue;
        w.groups[g].pc = pc;
        break;
      }
      w.groups[g].pc = pc;
      if (!flow(w, g, i, lanes)) {
        pc = w.groups[g].pc;
        if (pc < meeting && pc > i_place(i)) continue;
      }
      break;
    }
    block_.stats->instructions += executed;
  }
  std::int32_t i_place(const Instruction& i) const { return static_cast<std::int32_t>(&i - f_.code.data()); }

  // Returns whether the caller must choose a group anew.
  bool flow(Warp& w, std::size_t g, const Instruction& i, std::uint32_t lanes) {
    Group& group = w.groups[g];
    switch (i.flow) {
      case Flow::branch:
        return branch(w, g, i, lanes);
      case Flow::exit: {
        if (lanes == 0) break;
        w.live &= ~lanes;
        group.lanes &= ~lanes;
        ++group.pc;
        if (group.lanes) return true;
        w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(g));
        for (Group& other : w.groups) other.parked = false;  // fewer to wait for
        return true;
      }
      case Flow::trap:
        if (lanes == 0) break;
        fail(Fault::launch, i, w, std::countr_zero(lanes), "trap");
      case Flow::members:
        return members(w, group, i, lanes);
      default:
        break;
    }
    // The others want the whole warp, unless nobody is to do it.
    if (lanes == 0) {
      ++group.pc;
      return false;
    }
    if (group.lanes != w.live) {
      group.parked = true;
      return true;
    }
    if (lanes != group.lanes)
      fail(Fault::divergence, i, w, std::countr_zero(lanes), "only some lanes of the warp do this");
    ++group.pc;
    if (i.flow == Flow::aligned) {
      if (w.live != all_lanes)
        fail(Fault::divergence, i, w, std::countr_zero(lanes), "not all 32 lanes of the warp are here");
      i.run(i, w, lanes);
      return false;
    }
    barrier(w, i, std::countr_zero(lanes));
    return true;
  }

  bool branch(Warp& w, std::size_t g, const Instruction& i, std::uint32_t lanes) {
    Group& group = w.groups[g];
    if (lanes == group.lanes) {
      group.pc = i.target;
      return w.groups.size() > 1;
    }
    if (lanes == 0) {
      ++group.pc;
      return false;
    }
    group.lanes &= ~lanes;
    ++group.pc;
    w.groups.push_back({i.target, lanes});
    return true;
  }

  bool members(Warp& w, Group& group, const Instruction& i, std::uint32_t lanes) {
    if (lanes == 0) {
      ++group.pc;
      return false;
    }
    const int first = std::countr_zero(lanes);
    const auto named = static_cast<std::uint32_t>(wide(w, i.op[i.member], first));
    each_lane(lanes, [&](int l) {
      if (static_cast<std::uint32_t>(wide(w, i.op[i.member], l)) != named)
        fail(Fault::divergence, i, w, l, "lanes name other members");
      if (!((named >> l) & 1)) fail(Fault::divergence, i, w, l, "a lane is not among the members it names");
    });
    if ((named & w.live) != lanes) {
      if (group.lanes & named & ~lanes) fail(Fault::divergence, i, w, first, "a member is here and does not do this");
      group.parked = true;
      return true;
    }
    ++group.pc;
    i.run(i, w, lanes);
    return false;
  }

  // ---- barriers ---------------------------------------------------------------------------------------------------
  unsigned live_threads() const {
    unsigned n = 0;
    for (const Warp& w : warps_) n += w.live ? warp_lanes : 0;
    return n;
  }
  void barrier(Warp& w, const Instruction& i, int lane) {
    const auto number = static_cast<unsigned>(wide(w, i.op[0], lane));
    if (number >= 16) fail(Fault::launch, i, w, lane, "there are 16 barriers, not " + std::to_string(number + 1));
    const unsigned wanted = i.op[1].slot >= 0 ? static_cast<unsigned>(wide(w, i.op[1], lane)) : 0;
    if (wanted % warp_lanes)
      fail(Fault::launch, i, w, lane, "a barrier counts whole warps, not " + std::to_string(wanted));
    Barrier& b = barriers_[number];
    if (b.arrived && b.wanted != wanted) fail(Fault::divergence, i, w, lane, "warps want other numbers at one barrier");
    b.wanted = wanted;
    b.arrived += warp_lanes;
    if (wanted && b.arrived > wanted) fail(Fault::divergence, i, w, lane, "more warps at a barrier than it counts");
    if (i.flow == Flow::barrier) w.state = WarpState::waiting, w.barrier = static_cast<int>(number);
    if (b.arrived == (wanted ? wanted : live_threads())) release(number);
  }
  void release(unsigned number) {
    barriers_[number] = {};
    for (Warp& w : warps_) {
      if (w.state == WarpState::waiting && w.barrier == static_cast<int>(number))
        w.state = WarpState::ready, w.barrier = -1;
    }
  }
  // Barriers that wait for all are complete too when those that did not come have ended.
  bool release_all() {
    bool any = false;
    for (unsigned k = 0; k < 16; ++k) {
      if (barriers_[k].arrived && !barriers_[k].wanted && barriers_[k].arrived >= live_threads())
        release(k), any = true;
    }
    return any;
  }
  [[noreturn]] void deadlock() {
    std::string who;
    for (const Warp& w : warps_) {
      if (w.state != WarpState::waiting) continue;
      who += (who.empty() ? "warp " : ", warp ") + std::to_string(w.index) + " at barrier " +
             std::to_string(w.barrier) + " (" + place(f_.code[static_cast<std::size_t>(w.groups[0].pc - 1)]) + ")";
    }
    throw PtxError(Fault::deadlock, 0, f_.name + ": nobody can go on: " + who);
  }

  const Function& f_;
  const LaunchShape& shape_;
  std::uint64_t seed_;
  unsigned threads_;
  std::size_t words_;
  ptx::Block block_;
  std::vector<Warp> warps_;
  std::vector<std::size_t> order_;
  Barrier barriers_[16];
};

}  // namespace

void fail(Fault fault, const Instruction& i, const Warp& w, int lane, const std::string& text) {
  const Block& b = *w.block;
  const unsigned t = static_cast<unsigned>(w.index) * warp_lanes + static_cast<unsigned>(lane);
  throw PtxError(fault, i.line,
                 text + " (" + b.function->name + ", block " + std::to_string(b.id[0]) + "," + std::to_string(b.id[1]) +
                     "," + std::to_string(b.id[2]) + ", thread " + std::to_string(t) + ")");
}

LaunchStats launch(const Function& f, Memory& memory, const LaunchShape& shape, const void* params) {
  const std::uint64_t threads = static_cast<std::uint64_t>(shape.block[0]) * shape.block[1] * shape.block[2];
  if (threads == 0 || threads > f.max_threads) {
    throw PtxError(Fault::launch, 0,
                   f.name + ": " + std::to_string(threads) + " threads a block, the kernel is made for 1 to " +
                       std::to_string(f.max_threads));
  }
  LaunchStats stats;
  BlockRun run(f, memory, shape, static_cast<const std::uint8_t*>(params), stats);
  for (unsigned z = 0; z < shape.grid[2]; ++z) {
    for (unsigned y = 0; y < shape.grid[1]; ++y) {
      for (unsigned x = 0; x < shape.grid[0]; ++x) run.run(x, y, z);
    }
  }
  return stats;
}

}  // namespace octavo::ptx

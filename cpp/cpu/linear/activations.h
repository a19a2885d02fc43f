// The input of a linear as the kernels read it: rows cut into panels of a few tokens, normalised or gated where the
// call says so, quantised to int8 in groups of 32 (layout: kernels.h).
#pragma once
#include <cstdint>
#include <vector>

#include "cpu/isa/kernels.h"
#include "cpu/attention/kv_ahead.h"
#include "cpu/threads/team.h"
#include "cpu/linear/weight.h"

namespace octavo::cpu {

// Which weight is read after which: the same from step to step, so what a thread will read first is fetched while it
// computes its last tile. Addresses only, never followed: a weight may be gone, and a wrong guess costs nothing.
class Followers {
 public:
  struct Tiles {
    const std::uint8_t* first = nullptr;
    std::size_t tile_bytes = 0;
    int count = 0;
    const std::uint8_t* of(int thread, int threads) const {
      return first == nullptr
                 ? nullptr
                 : first + tile_bytes * static_cast<std::size_t>(ThreadPool::share_begin(count, threads, thread));
    }
  };
  // `now` is read; what followed it the last time.
  Tiles read(const Tiles& now) {
    entry(last_) = {last_, now};
    last_ = now.first;
    const Entry& known = entry(now.first);
    return known.of == now.first ? known.next : Tiles{};
  }

 private:
  struct Entry {
    const std::uint8_t* of = nullptr;
    Tiles next;
  };
  Entry& entry(const std::uint8_t* weight) {
    const std::uint64_t hash = (reinterpret_cast<std::uintptr_t>(weight) >> 6) * 0x9E3779B97F4A7C15ull;
    return entries_[static_cast<std::size_t>(hash >> 54)];
  }
  std::vector<Entry> entries_{1024};
  const std::uint8_t* last_ = nullptr;
};

struct LinearScratch {
  Tuning tuning;
  Followers followers;
  KvAhead kv_ahead;
  Scratch panels;  // shared by the threads
  Scratch own;     // panels of each thread
  Scratch gated;   // panels between the two linears of a feed-forward block
  Scratch workspaces;  // of each thread, for tiles that meet all panels at once
  Scratch values;  // float formats: normalised or gated rows
  std::vector<std::int64_t> owner;  // which call each thread's own panels belong to, a cache line apart
  std::int64_t calls = 0;
};

// What the operands of a dot are above the weight's own whole numbers.
int operand_offset(const Kernels& kernels, Format format);

// The input of a linear as quantised panels. Little of it is made by every thread for itself: no barrier, and no cache
// line goes from one core to another. More is made once, by all threads, before the constructor returns.
class Activations {
 public:
  Activations(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
              const Panels& panels, const LinearInput& in);
  // Panels in `memory`, made group by group with put_gated.
  Activations(const Kernels& kernels, LinearScratch& scratch, Scratch& memory, const CpuWeight& weight,
              const Panels& panels);

  // A group of a panel from a tile of gates and ups, [tokens, 2 * group_size].
  void put_gated(int panel, int group, const float* gate_up, Activation act) const;
  // All panels, as `thread` reads them.
  const std::uint8_t* of(int thread) const;
  // Where the panel that begins with this token lies.
  std::size_t offset(int first_token) const { return token_bytes() * static_cast<std::size_t>(first_token); }

 private:
  int groups() const { return k_ / group_size; }
  std::size_t token_bytes() const { return static_cast<std::size_t>(groups()) * panel_token_bytes; }
  void make(std::uint8_t* base, int panel, int begin, int end) const;
  void quantise(const PanelInput& input, std::uint8_t* panel, int begin, int end) const;

  const Kernels& kernels_;
  LinearScratch& scratch_;
  const Panels panels_;
  const LinearInput in_;
  const int k_;
  const Format format_;
  const std::size_t bytes_;  // of all panels, whole cache lines
  bool each_its_own_;
  std::uint8_t* base_;
};

}  // namespace octavo::cpu

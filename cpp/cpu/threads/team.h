// The threads an operation runs on: the process's pool, how many of its threads, and the flag that interrupts. Small
// operations run on the caller: handing out work costs about a microsecond of computing.
#pragma once
#include <algorithm>
#include <atomic>

#include "cpu/threads/threads.h"
#include "error.h"
#include "os/os.h"

namespace octavo::cpu {

struct Team {
  ThreadPool& pool;
  int threads = 1;
  const std::atomic<bool>* interrupt = nullptr;

  // f(begin, end, thread) over `count` tiles.
  template <class F>
  void tiles(int count, F&& f, RunLength runs = {}) const {
    parallel(pool, threads, count, f, runs, interrupt);
  }
  // f(begin, end) over rows of `width` elements.
  template <class F>
  void rows(int count, int width, F&& f) const {
    constexpr long inline_elements = 16384, tile_elements = 8192;
    if (threads == 1 || static_cast<long>(count) * width < inline_elements) {
      if (interrupt && interrupt->load(std::memory_order_acquire))
        throw Error(Code::interrupted, "the step was discarded by interrupt()");
      f(0, count);
      return;
    }
    const int rows_per_tile = static_cast<int>(std::clamp<long>(tile_elements / width, 1, count));
    tiles((count + rows_per_tile - 1) / rows_per_tile, [&](int begin, int end, int) {
      f(begin * rows_per_tile, std::min(count, end * rows_per_tile));
    });
  }
};

// Memory that grows, half as much again each time, and is never given back while the backend lives.
class Scratch {
 public:
  void* at_least(std::size_t bytes) {
    if (bytes > memory_.bytes()) {
      const std::size_t grown = std::max(bytes, memory_.bytes() + memory_.bytes() / 2);
      memory_ = os::Memory();
      memory_ = os::Memory(grown);
    }
    return memory_.data();
  }

 private:
  os::Memory memory_;
};

}  // namespace octavo::cpu

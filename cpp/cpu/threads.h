// The process-wide pool that computes operations in parallel. The caller is thread 0. Workers spin for a moment after a
// job, then park on a futex.
//
// Threads claim runs of tiles from one 64-bit word {epoch, remaining} by compare-exchange. The epoch makes a claim and
// the job it belongs to one thing: a thread that wakes late, holding an older job's description, cannot claim from a
// job it does not know. A job is complete when every claimed tile is done, not when every worker has reported, so a
// worker that was preempted before it claimed anything holds up nobody. A run is half of an even share of what remains,
// within the bounds that the caller gives: long at first (streams stay long), short at the end (threads finish
// together).
#pragma once
#include <atomic>
#include <condition_variable>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "cpu/lateness.h"
#include "cpu/placement.h"

namespace octavo {

// Bounds of a claim, in tiles. shortest: a claim costs about 0.1 us and breaks a stream of memory; longest: an
// interrupt is seen between claims (0: no bound).
struct RunLength {
  int shortest = 1, longest = 0;
};

class ThreadPool {
 public:
  // Computes tiles [begin, end) on thread `thread` (0 .. n_threads - 1).
  using Tiles = void (*)(void* context, int begin, int end, int thread);
  static constexpr int max_threads = 1024;

  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs tiles 0 .. tiles - 1 on up to n_threads threads and returns when all are done. Between claims *interrupt is
  // looked at: when it is set the unclaimed tiles are dropped and Error(interrupted) is thrown once the others are
  // done. An exception of a tile drops the rest likewise and is thrown here.
  void run(int n_threads, int tiles, Tiles fn, void* context, RunLength runs = {},
           const std::atomic<bool>* interrupt = nullptr);

  // Wakes parked workers ahead of the first job of a step.
  void wake(int n_threads);
  int workers() const { return static_cast<int>(workers_.size()); }

 private:
  // What a worker needs to take part. Written between jobs only; atomics, because a late worker may look at any time.
  // What it read counts only when its claim succeeds.
  struct Job {
    std::atomic<Tiles> fn{nullptr};
    std::atomic<void*> context{nullptr};
    std::atomic<const std::atomic<bool>*> interrupt{nullptr};
    std::atomic<int> tiles{0}, n_threads{0}, shortest{1}, longest{0};
  };

  void grow(int n_threads);
  void work(int index, std::uint32_t seen);
  void take_part(int index, std::uint32_t epoch);
  void drop_rest(std::uint32_t epoch);
  void run_alone(int tiles, Tiles fn, void* context, RunLength runs, const std::atomic<bool>* interrupt);
  bool wait_for_epoch(std::uint32_t seen);
  void wake_parked();
  void wait_for_others(int tiles, int n_threads, std::chrono::steady_clock::time_point start);
  bool sit_out(int index);

  std::mutex run_mutex_;  // one job at a time
  std::vector<std::thread> workers_;
  Job job_;
  alignas(128) std::atomic<std::uint64_t> word_{0};  // epoch << 32 | remaining
  alignas(128) std::atomic<int> done_{0};
  std::atomic<bool> interrupted_{false}, failed_{false};
  std::exception_ptr failure_;
  alignas(128) std::atomic<int> parked_{0};
  std::uint32_t wake_word_ = 0;  // futex; changed through std::atomic_ref
  std::atomic<bool> quit_{false};
  Placement placement_;
  Lateness lateness_;
};

// The pool of this process. Never destroyed: a worker may outlive every engine.
ThreadPool& thread_pool();

// One engine's turn on the pool: a step at a time, in the order of asking. The turn ends with the object.
class Lease {
 public:
  Lease();
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
};

// pool.run with a callable f(begin, end, thread).
template <class F>
void parallel(ThreadPool& pool, int n_threads, int tiles, F&& f, RunLength runs = {},
              const std::atomic<bool>* interrupt = nullptr) {
  using Callable = std::remove_reference_t<F>;
  pool.run(
      n_threads, tiles,
      [](void* context, int begin, int end, int thread) { (*static_cast<Callable*>(context))(begin, end, thread); },
      const_cast<std::remove_const_t<Callable>*>(&f), runs, interrupt);
}

}  // namespace octavo

// The process-wide pool that computes operations in parallel. The caller is thread 0. Workers spin for a moment after a
// job, then park on a futex.
//
// Each thread has a share of a job's tiles, the same part in every job: what it wrote in one operation it mostly reads
// again in the next, and its part of the weights is one stream. It claims runs from the front of its share; with
// nothing left it takes the back half of what remains of another one's. A share is one 64-bit word {epoch, begin, end}
// in a cache line of its own, changed by compare-exchange, so that a claim costs no traffic between cores unless it
// takes from another. A word of an older epoch stands for the whole share of the current job: publishing a job writes
// one cache line, Job. A thread that wakes late, holding an older job's description, finds newer words, or older ones
// that it cannot claim from because the job it knows had been computed: a job is complete when every tile is done, not
// when every worker has reported, so a worker that was preempted before it claimed anything holds up nobody.
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

#include "cpu/threads/lateness.h"
#include "cpu/threads/placement.h"

namespace octavo {

// Bounds of a claim, in tiles; between them an eighth of what is left of a share. longest: an interrupt is seen between
// claims (0: no bound).
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

  // The first tile of a thread's share of a job.
  static int share_begin(int tiles, int n_threads, int thread) {
    return static_cast<int>((static_cast<std::int64_t>(tiles) * thread + n_threads - 1) / n_threads);
  }

  // Wakes parked workers ahead of the first job of a step.
  void wake(int n_threads);
  int workers() const { return static_cast<int>(workers_.size()); }

 private:
  // What a worker needs to take part, in one cache line. Written between jobs only, while `epoch` is 0; atomics,
  // because a late worker may look at any time.
  struct alignas(128) Job {
    std::atomic<std::uint32_t> epoch{0};
    std::atomic<int> n_threads{0}, tiles{0}, unit{1}, shortest{1}, longest{0};
    std::atomic<Tiles> fn{nullptr};
    std::atomic<void*> context{nullptr};
    std::atomic<const std::atomic<bool>*> interrupt{nullptr};
  };
  // A job as a thread knows it. Shares count units of `unit` tiles.
  struct Known {
    std::uint32_t epoch;
    int n_threads, tiles, unit, shortest, longest;
    Tiles fn;
    void* context;
    const std::atomic<bool>* interrupt;
    int units() const { return (tiles + unit - 1) / unit; }
    // First unit of a thread's share.
    int begin(int thread) const { return share_begin(units(), n_threads, thread); }
  };
  struct Units {
    int begin, end;
    int count() const { return end - begin; }
  };
  struct alignas(128) Share {
    std::atomic<std::uint64_t> word{0};
  };

  bool read_job(Known& job) const;
  void publish(const Known& job);
  void compute(const Known& job, Units units, int thread);
  Units left_of(const Known& job, int thread, std::uint64_t word) const;
  Units claim(const Known& job, int thread);
  bool steal(const Known& job, int thread);
  void grow(int n_threads);
  void work(int index, std::uint32_t seen);
  void take_part(const Known& job, int index);
  int drop_rest(const Known& job);
  void run_alone(int tiles, Tiles fn, void* context, RunLength runs, const std::atomic<bool>* interrupt);
  bool wait_for_epoch(std::uint32_t seen);
  void wake_parked();
  void wait_for_others(int units, int n_threads, std::chrono::steady_clock::time_point start);
  bool sit_out(int index);

  std::mutex run_mutex_;  // one job at a time
  std::vector<std::thread> workers_;
  Job job_;
  std::unique_ptr<Share[]> shares_{new Share[max_threads]};
  std::uint32_t epoch_ = 0;  // of the latest job
  alignas(128) std::atomic<int> done_{0};  // units
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

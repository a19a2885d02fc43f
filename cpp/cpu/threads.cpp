#include "cpu/threads.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include "error.h"
#include "os.h"

namespace octavo {

namespace {

using Clock = std::chrono::steady_clock;

// Longer than the serial parts between two operations of a step. Not longer: between two steps the host thread talks to the
// main thread, which wants a CPU of its own then (measured: 100 us here cost the public API 1-2% on two CPUs).
constexpr auto spin_time = std::chrono::microseconds(20);
constexpr int spins_per_look = 64;        // pauses between two looks at the clock
constexpr auto longest_nap = std::chrono::milliseconds(20);  // of a worker that sits out; closing waits for it
constexpr int caller_spins = 2000;        // pauses before the caller offers its CPU to a worker that lost its own

std::uint32_t epoch_of(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }
std::uint32_t remaining_of(std::uint64_t word) { return static_cast<std::uint32_t>(word); }

int run_length(int remaining, int n_threads, RunLength runs) {
  const int run = std::max(runs.shortest, remaining / (2 * n_threads));
  return std::min(remaining, runs.longest > 0 ? std::min(run, runs.longest) : run);
}

[[noreturn]] void throw_interrupted() { throw Error(Code::interrupted, "the step was discarded by interrupt()"); }

}  // namespace

ThreadPool::~ThreadPool() {
  quit_.store(true, std::memory_order_seq_cst);
  wake_parked();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::grow(int n_threads) {
  while (static_cast<int>(workers_.size()) < n_threads - 1) {
    const int index = static_cast<int>(workers_.size()) + 1;
    const std::uint32_t seen = epoch_of(word_.load(std::memory_order_relaxed));
    try {
      workers_.emplace_back([this, index, seen] { work(index, seen); });
    } catch (const std::system_error& e) {
      throw Error(Code::engine_failed, std::string("cannot start a thread: ") + e.what(),
                  {{"thread", std::to_string(index)}});
    }
  }
}

void ThreadPool::wake_parked() {
  std::atomic_ref<std::uint32_t>(wake_word_).fetch_add(1, std::memory_order_seq_cst);
  os::unpark(&wake_word_, max_threads);
}

void ThreadPool::wake(int n_threads) {
  {
    const std::lock_guard<std::mutex> one_job(run_mutex_);
    placement_.look_as_caller();
  }
  if (n_threads > 1 && parked_.load(std::memory_order_seq_cst) > 0) wake_parked();
}

void ThreadPool::run_alone(int tiles, Tiles fn, void* context, RunLength runs, const std::atomic<bool>* interrupt) {
  for (int begin = 0; begin < tiles;) {
    if (interrupt && interrupt->load(std::memory_order_acquire)) throw_interrupted();
    const int end = begin + run_length(tiles - begin, 1, runs);
    fn(context, begin, end, 0);
    begin = end;
  }
}

void ThreadPool::run(int n_threads, int tiles, Tiles fn, void* context, RunLength runs,
                     const std::atomic<bool>* interrupt) {
  if (n_threads > max_threads)
    throw Error(Code::invalid_argument, "too many threads",
                {{"expected", "1.." + std::to_string(max_threads)}, {"found", std::to_string(n_threads)}});
  if (tiles <= 0) return;
  if (n_threads <= 1 || tiles == 1) return run_alone(tiles, fn, context, runs, interrupt);

  const std::lock_guard<std::mutex> one_job(run_mutex_);
  grow(n_threads);
  const Clock::time_point start = Clock::now();
  if (lateness_.present(n_threads, start) == 1) return run_alone(tiles, fn, context, runs, interrupt);
  placement_.enter();
  job_.fn.store(fn, std::memory_order_relaxed);
  job_.context.store(context, std::memory_order_relaxed);
  job_.interrupt.store(interrupt, std::memory_order_relaxed);
  job_.tiles.store(tiles, std::memory_order_relaxed);
  job_.n_threads.store(n_threads, std::memory_order_relaxed);
  job_.shortest.store(std::max(1, runs.shortest), std::memory_order_relaxed);
  job_.longest.store(runs.longest, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  const std::uint32_t epoch = epoch_of(word_.load(std::memory_order_relaxed)) + 1;
  // seq_cst pairs with the worker that counts itself as parked and looks at the word once more.
  word_.store(static_cast<std::uint64_t>(epoch) << 32 | static_cast<std::uint32_t>(tiles), std::memory_order_seq_cst);
  if (parked_.load(std::memory_order_seq_cst) > 0) wake_parked();

  take_part(0, epoch);
  wait_for_others(tiles, n_threads, start);
  if (failed_.load(std::memory_order_acquire)) {
    failed_.store(false, std::memory_order_relaxed);
    interrupted_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  if (interrupted_.load(std::memory_order_acquire)) {
    interrupted_.store(false, std::memory_order_relaxed);
    throw_interrupted();
  }
}

void ThreadPool::wait_for_others(int tiles, int n_threads, Clock::time_point start) {
  Clock::time_point waiting{}, counted{};
  for (int spins = 1; done_.load(std::memory_order_acquire) != tiles; ++spins) {
    if (spins > caller_spins) std::this_thread::yield();
    else os::cpu_relax();
    if (spins % spins_per_look != 0) continue;
    const Clock::time_point now = Clock::now();
    if (waiting == Clock::time_point{}) waiting = counted = now;
    if (now - waiting <= std::max(Lateness::late, waiting - start)) continue;
    lateness_.count(n_threads, now, now - counted);
    counted = now;
  }
}

// Whether worker `index` takes no part for now; sleeps some of that time.
bool ThreadPool::sit_out(int index) {
  const Clock::duration left = lateness_.out_for(index);
  if (left == Clock::duration{}) return false;
  std::this_thread::sleep_for(std::min<Clock::duration>(left, longest_nap));
  return true;
}

void ThreadPool::drop_rest(std::uint32_t epoch) {
  std::uint64_t word = word_.load(std::memory_order_acquire);
  while (epoch_of(word) == epoch && remaining_of(word) > 0) {
    if (!word_.compare_exchange_weak(word, static_cast<std::uint64_t>(epoch) << 32, std::memory_order_acq_rel,
                                     std::memory_order_acquire))
      continue;
    done_.fetch_add(static_cast<int>(remaining_of(word)), std::memory_order_acq_rel);
    return;
  }
}

void ThreadPool::take_part(int index, std::uint32_t epoch) {
  std::uint64_t word = word_.load(std::memory_order_acquire);
  while (epoch_of(word) == epoch && remaining_of(word) > 0) {
    const int remaining = static_cast<int>(remaining_of(word));
    const int n_threads = job_.n_threads.load(std::memory_order_relaxed);
    const int tiles = job_.tiles.load(std::memory_order_relaxed);
    const RunLength runs{job_.shortest.load(std::memory_order_relaxed), job_.longest.load(std::memory_order_relaxed)};
    const Tiles fn = job_.fn.load(std::memory_order_relaxed);
    void* const context = job_.context.load(std::memory_order_relaxed);
    const std::atomic<bool>* const interrupt = job_.interrupt.load(std::memory_order_relaxed);
    if (index >= n_threads) return;
    const int count = run_length(remaining, n_threads, runs);
    const std::uint64_t rest = static_cast<std::uint64_t>(epoch) << 32 | static_cast<std::uint32_t>(remaining - count);
    if (!word_.compare_exchange_weak(word, rest, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    if (index > 0) lateness_.begin(index);
    // The job cannot end before this claim is counted as done, so everything read above belongs to it.
    if (interrupt && interrupt->load(std::memory_order_acquire)) {
      interrupted_.store(true, std::memory_order_relaxed);
      drop_rest(epoch);
    } else {
      try {
        fn(context, tiles - remaining, tiles - remaining + count, index);
      } catch (...) {
        if (!failed_.exchange(true, std::memory_order_acq_rel)) failure_ = std::current_exception();
        drop_rest(epoch);
      }
    }
    if (index > 0) lateness_.end(index);
    done_.fetch_add(count, std::memory_order_acq_rel);
    word = word_.load(std::memory_order_acquire);
  }
}

// False when the pool closes.
bool ThreadPool::wait_for_epoch(std::uint32_t seen) {
  const Clock::time_point start = Clock::now();
  for (int spins = 1;; ++spins) {
    if (epoch_of(word_.load(std::memory_order_acquire)) != seen) return true;
    if (quit_.load(std::memory_order_acquire)) return false;
    os::cpu_relax();
    if (spins % spins_per_look == 0 && Clock::now() - start > spin_time) break;
  }
  std::atomic_ref<std::uint32_t> wake_word(wake_word_);
  const std::uint32_t before = wake_word.load(std::memory_order_seq_cst);
  parked_.fetch_add(1, std::memory_order_seq_cst);
  if (epoch_of(word_.load(std::memory_order_seq_cst)) == seen && !quit_.load(std::memory_order_seq_cst))
    os::park(&wake_word_, before);
  parked_.fetch_sub(1, std::memory_order_seq_cst);
  return !quit_.load(std::memory_order_acquire);
}

void ThreadPool::work(int index, std::uint32_t seen) {
  while (wait_for_epoch(seen)) {
    if (sit_out(index)) continue;
    const std::uint32_t epoch = epoch_of(word_.load(std::memory_order_acquire));
    if (epoch == seen) continue;
    seen = epoch;
    placement_.look(index);
    take_part(index, epoch);
  }
}

ThreadPool& thread_pool() {
  static ThreadPool* const pool = new ThreadPool;
  return *pool;
}

namespace {

struct Turns {
  std::mutex mutex;
  std::condition_variable next_turn;
  std::uint64_t next_ticket = 0, serving = 0;
};
Turns& turns() {
  static Turns* const instance = new Turns;
  return *instance;
}

}  // namespace

Lease::Lease() {
  Turns& t = turns();
  std::unique_lock<std::mutex> lock(t.mutex);
  const std::uint64_t ticket = t.next_ticket++;
  t.next_turn.wait(lock, [&] { return t.serving == ticket; });
}

Lease::~Lease() {
  Turns& t = turns();
  {
    const std::lock_guard<std::mutex> lock(t.mutex);
    ++t.serving;
  }
  t.next_turn.notify_all();
}

}  // namespace octavo

#include "cpu/threads/threads.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include "error.h"
#include "os/os.h"
#include "os/os_turns.h"

namespace octavo {

namespace {

using Clock = std::chrono::steady_clock;

// Longer than the serial parts between two operations of a step. Not longer: between two steps the host thread talks to
// the main thread, which wants a CPU of its own then (measured: 100 us here cost the public API 1-2% on two CPUs).
constexpr auto spin_time = std::chrono::microseconds(20);
constexpr int spins_per_look = 64;        // pauses between two looks at the clock
constexpr auto longest_nap = std::chrono::milliseconds(20);  // of a worker that sits out; closing waits for it
constexpr int caller_spins = 2000;        // pauses before the caller offers its CPU to a worker that lost its own

// A share's word: 32 bits of epoch, 16 bits of begin, 16 bits of end. A worker would have to lie still for hours of
// jobs to take an old epoch for a new one.
constexpr int unit_bits = 16;
constexpr std::uint32_t most_units = (1u << unit_bits) - 1;
// So often all words are brought up to date: none is ever so old that it counts as newer than the job.
constexpr std::uint32_t sweep_epochs = 1u << 28;

std::uint32_t epoch_of(std::uint64_t word) { return static_cast<std::uint32_t>(word >> (2 * unit_bits)); }
std::uint64_t word_of(std::uint32_t epoch, int begin, int end) {
  return static_cast<std::uint64_t>(epoch) << (2 * unit_bits) | static_cast<std::uint64_t>(begin) << unit_bits |
         static_cast<std::uint64_t>(end);
}
bool is_newer(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) > 0; }

int run_length(int left, int shortest, int longest) {
  const int run = std::max(shortest, left / 8);
  return std::min(left, longest > 0 ? std::max(1, std::min(run, longest)) : run);
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
    const std::uint32_t seen = epoch_;
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
  [[maybe_unused]] thread_local const bool has_long_turns = os::take_long_turns();
  {
    const std::lock_guard<std::mutex> one_job(run_mutex_);
    placement_.look_as_caller();
  }
  if (n_threads > 1 && parked_.load(std::memory_order_seq_cst) > 0) wake_parked();
}

void ThreadPool::run_alone(int tiles, Tiles fn, void* context, RunLength runs, const std::atomic<bool>* interrupt) {
  for (int begin = 0; begin < tiles;) {
    if (interrupt && interrupt->load(std::memory_order_acquire)) throw_interrupted();
    const int end = begin + run_length(tiles - begin, runs.shortest, runs.longest);
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
  const int unit = tiles / static_cast<int>(most_units) + 1;
  const Known job{0, n_threads, tiles, unit, std::max(1, runs.shortest / unit),
                  runs.longest > 0 ? std::max(1, runs.longest / unit) : 0, fn, context, interrupt};
  publish(job);
  if (parked_.load(std::memory_order_seq_cst) > 0) wake_parked();

  Known published = job;
  published.epoch = epoch_;
  take_part(published, 0);
  wait_for_others(job.units(), n_threads, start);
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

void ThreadPool::wait_for_others(int units, int n_threads, Clock::time_point start) {
  Clock::time_point waiting{}, counted{};
  for (int spins = 1; done_.load(std::memory_order_acquire) != units; ++spins) {
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

void ThreadPool::publish(const Known& job) {
  epoch_ = std::max(1u, epoch_ + 1);
  if (epoch_ % sweep_epochs == 1)
    for (int i = 0; i < max_threads; ++i)
      shares_[static_cast<std::size_t>(i)].word.store(word_of(epoch_ - 1, 0, 0), std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  job_.epoch.store(0, std::memory_order_relaxed);
  // Released, so that whoever reads one of these sees the 0.
  job_.n_threads.store(job.n_threads, std::memory_order_release);
  job_.tiles.store(job.tiles, std::memory_order_release);
  job_.unit.store(job.unit, std::memory_order_release);
  job_.shortest.store(job.shortest, std::memory_order_release);
  job_.longest.store(job.longest, std::memory_order_release);
  job_.fn.store(job.fn, std::memory_order_release);
  job_.context.store(job.context, std::memory_order_release);
  job_.interrupt.store(job.interrupt, std::memory_order_release);
  // seq_cst pairs with the worker that counts itself as parked and looks at the epoch once more.
  job_.epoch.store(epoch_, std::memory_order_seq_cst);
}

// False while a job is being written.
bool ThreadPool::read_job(Known& job) const {
  job.epoch = job_.epoch.load(std::memory_order_acquire);
  job.n_threads = job_.n_threads.load(std::memory_order_acquire);
  job.tiles = job_.tiles.load(std::memory_order_acquire);
  job.unit = job_.unit.load(std::memory_order_acquire);
  job.shortest = job_.shortest.load(std::memory_order_acquire);
  job.longest = job_.longest.load(std::memory_order_acquire);
  job.fn = job_.fn.load(std::memory_order_acquire);
  job.context = job_.context.load(std::memory_order_acquire);
  job.interrupt = job_.interrupt.load(std::memory_order_acquire);
  return job.epoch != 0 && job_.epoch.load(std::memory_order_relaxed) == job.epoch;
}

// What a word says is left of a thread's share; nothing for a job that is over.
ThreadPool::Units ThreadPool::left_of(const Known& job, int thread, std::uint64_t word) const {
  const std::uint32_t epoch = epoch_of(word);
  if (epoch == job.epoch)
    return {static_cast<int>(word >> unit_bits & most_units), static_cast<int>(word & most_units)};
  if (is_newer(epoch, job.epoch)) return {0, 0};
  return {job.begin(thread), job.begin(thread + 1)};
}

// A run from the front of the thread's own share; empty when nothing is left of it.
ThreadPool::Units ThreadPool::claim(const Known& job, int thread) {
  std::atomic<std::uint64_t>& own = shares_[static_cast<std::size_t>(thread)].word;
  std::uint64_t word = own.load(std::memory_order_acquire);
  for (;;) {
    const Units left = left_of(job, thread, word);
    if (left.count() <= 0) return {0, 0};
    const int end = left.begin + run_length(left.count(), job.shortest, job.longest);
    if (own.compare_exchange_weak(word, word_of(job.epoch, end, left.end), std::memory_order_acq_rel,
                                  std::memory_order_acquire))
      return {left.begin, end};
  }
}

// The back half of what is left of another share becomes the thread's own.
bool ThreadPool::steal(const Known& job, int thread) {
  for (int i = 1; i < job.n_threads; ++i) {
    const int victim = (thread + i) % job.n_threads;
    std::atomic<std::uint64_t>& share = shares_[static_cast<std::size_t>(victim)].word;
    std::uint64_t word = share.load(std::memory_order_acquire);
    for (Units left = left_of(job, victim, word); left.count() > 0; left = left_of(job, victim, word)) {
      const int middle = left.begin + left.count() / 2;
      if (!share.compare_exchange_weak(word, word_of(job.epoch, left.begin, middle), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
        continue;
      // The job cannot end before these are done, and nobody else changes a word with nothing left.
      shares_[static_cast<std::size_t>(thread)].word.store(word_of(job.epoch, middle, left.end),
                                                           std::memory_order_release);
      return true;
    }
  }
  return false;
}

// Units that nobody has claimed yet will not be computed; returns how many.
int ThreadPool::drop_rest(const Known& job) {
  int dropped = 0;
  for (int i = 0; i < job.n_threads; ++i) {
    std::atomic<std::uint64_t>& share = shares_[static_cast<std::size_t>(i)].word;
    std::uint64_t word = share.load(std::memory_order_acquire);
    for (Units left = left_of(job, i, word); left.count() > 0; left = left_of(job, i, word)) {
      if (!share.compare_exchange_weak(word, word_of(job.epoch, 0, 0), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
        continue;
      dropped += left.count();
      break;
    }
  }
  return dropped;
}

void ThreadPool::compute(const Known& job, Units units, int thread) {
  try {
    job.fn(job.context, units.begin * job.unit, std::min(units.end * job.unit, job.tiles), thread);
  } catch (...) {
    if (!failed_.exchange(true, std::memory_order_acq_rel)) failure_ = std::current_exception();
  }
}

void ThreadPool::take_part(const Known& job, int index) {
  if (index >= job.n_threads) return;
  int done = 0;
  for (;;) {
    const Units units = claim(job, index);
    if (units.count() == 0) {
      if (steal(job, index)) continue;
      break;
    }
    if (index > 0 && done == 0) lateness_.begin(index);
    done += units.count();
    if (job.interrupt && job.interrupt->load(std::memory_order_acquire))
      interrupted_.store(true, std::memory_order_relaxed);
    else compute(job, units, index);
    if (interrupted_.load(std::memory_order_relaxed) || failed_.load(std::memory_order_relaxed)) done += drop_rest(job);
  }
  if (done == 0) return;
  if (index > 0) lateness_.end(index);
  done_.fetch_add(done, std::memory_order_acq_rel);
}

// False when the pool closes.
bool ThreadPool::wait_for_epoch(std::uint32_t seen) {
  const Clock::time_point start = Clock::now();
  for (int spins = 1;; ++spins) {
    if (const std::uint32_t epoch = job_.epoch.load(std::memory_order_acquire); epoch != seen && epoch != 0)
      return true;
    if (quit_.load(std::memory_order_acquire)) return false;
    os::cpu_relax();
    if (spins % spins_per_look == 0 && Clock::now() - start > spin_time) break;
  }
  std::atomic_ref<std::uint32_t> wake_word(wake_word_);
  const std::uint32_t before = wake_word.load(std::memory_order_seq_cst);
  parked_.fetch_add(1, std::memory_order_seq_cst);
  const std::uint32_t epoch = job_.epoch.load(std::memory_order_seq_cst);
  if ((epoch == seen || epoch == 0) && !quit_.load(std::memory_order_seq_cst))
    os::park(&wake_word_, before);
  parked_.fetch_sub(1, std::memory_order_seq_cst);
  return !quit_.load(std::memory_order_acquire);
}

void ThreadPool::work(int index, std::uint32_t seen) {
  os::take_long_turns();
  while (wait_for_epoch(seen)) {
    if (sit_out(index)) continue;
    Known job;
    if (!read_job(job) || job.epoch == seen) continue;
    seen = job.epoch;
    placement_.look(index);
    take_part(job, index);
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

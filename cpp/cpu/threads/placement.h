// Keeps the pool's threads on CPUs of their own. A kernel that wakes a worker on the CPU of the thread that woke it
// leaves both there for milliseconds, with another CPU idle: a step then takes three times as long. So a worker that
// finds itself on the CPU of the caller, or of a worker before it, moves: it may then use what the caller may use
// except those CPUs. Only a mask is set, never a single CPU, and the caller's own mask stays as it is, so limits put on
// the process hold.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "os/os.h"

namespace octavo {

class Placement {
 public:
  static constexpr int max_threads = 64;  // workers beyond are left to the kernel

  // By the caller, once a step: leaves a CPU that something else keeps taking away, which the kernel may leave it on
  // although another one is idle. Not again soon: perhaps all of them are taken.
  void look_as_caller() {
    using namespace std::chrono;
    const std::int64_t now_ms = duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
    const int thread = os::thread_id();
    const std::uint64_t preemptions = os::preemptions();
    if (thread == watched_) {
      const std::int64_t forgotten = (now_ms - watched_at_ms_) / forgotten_after_ms;
      recent_ = std::max<std::int64_t>(0, recent_ - forgotten) + static_cast<std::int64_t>(preemptions - preemptions_);
      watched_at_ms_ += forgotten * forgotten_after_ms;
    } else {
      watched_ = thread, watched_at_ms_ = now_ms, recent_ = 0;
    }
    preemptions_ = preemptions;
    if (recent_ <= bearable || now_ms < stay_until_ms_) return;
    if (now_ms - stay_until_ms_ > 4 * stay_ms_) stay_ms_ = first_stay_ms;
    recent_ = 0;
    stay_until_ms_ = now_ms + stay_ms_;
    stay_ms_ = std::min(2 * stay_ms_, longest_stay_ms);
    os::move_away();
  }
  // By the caller at the start of a job.
  void enter() {
    publish(cpus_[0], os::current_cpu());
    publish(caller_, os::thread_id());
  }
  // By worker `index` (1..) before it takes part in a job: moves away from a CPU that an earlier thread is on.
  void look(int index) {
    if (index >= max_threads) return;
    const int own = os::current_cpu();
    std::atomic<int>& mine = cpus_[static_cast<std::size_t>(index)];
    publish(mine, own);
    std::array<int, max_threads> taken;
    bool shared = false;
    for (int i = 0; i < index; ++i) {
      taken[static_cast<std::size_t>(i)] = cpus_[static_cast<std::size_t>(i)].load(std::memory_order_relaxed);
      shared = shared || taken[static_cast<std::size_t>(i)] == own;
    }
    if (!shared || !os::leave_cpus(caller_.load(std::memory_order_relaxed), taken.data(), index)) return;
    publish(mine, os::current_cpu());
  }

 private:
  // Unchanged values are not written: the cache lines stay with their readers.
  static void publish(std::atomic<int>& to, int value) {
    if (to.load(std::memory_order_relaxed) != value) to.store(value, std::memory_order_relaxed);
  }
  // A thread that shares its CPU with one that never sleeps loses it some 150 times a second.
  static constexpr std::int64_t forgotten_after_ms = 20, bearable = 5, first_stay_ms = 200, longest_stay_ms = 5000;

  int watched_ = 0;  // the caller whose preemptions these are
  std::uint64_t preemptions_ = 0;
  std::int64_t recent_ = 0, watched_at_ms_ = 0, stay_until_ms_ = 0, stay_ms_ = first_stay_ms;
  std::array<std::atomic<int>, max_threads> cpus_{};
  std::atomic<int> caller_{0};
};

}  // namespace octavo

// Which workers keep the others waiting. Something else may run on a worker's CPU: then the kernel takes it away in
// mid-tile for milliseconds, and every operation waits for that tile. A worker that made the others lose a fair part of
// the time sits out for a while. What takes a CPU for some milliseconds now and then (the application's own JavaScript,
// a collection of its garbage) is no reason: without the worker every step takes longer than with a late one. So it
// takes a long loss to be sent out, and a short one to be sent out again, for twice as long, soon after the return.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>

namespace octavo {

class Lateness {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int max_threads = 64;  // workers beyond are never sent out
  // A wait this long, and longer than the job took until then, is late: a tile takes half a millisecond at most as a
  // rule.
  static constexpr Clock::duration late = std::chrono::microseconds(400);

  // By the worker around its tiles.
  void begin(int index) { set(index, true); }
  void end(int index) { set(index, false); }

  // By the caller while it waits beyond `late`: `lost` more time went by for those who are still computing.
  void count(int n_threads, Clock::time_point now, Clock::duration lost) {
    for (int i = 1; i < n_threads && i < max_threads; ++i) {
      Worker& w = worker(i);
      if (!w.computing.load(std::memory_order_relaxed)) continue;
      const Clock::duration since = now - w.last_late;
      const bool on_probation = w.pause > Clock::duration{} && now - w.returned < pardoned_after;
      w.lost = std::max(w.lost - std::min(since, pardoned_after) / tolerated, Clock::duration{}) + lost;
      w.last_late = now;
      if (w.lost < (on_probation ? short_loss : long_loss)) continue;
      w.lost = {};
      w.pause = on_probation ? std::min(2 * w.pause, longest_pause) : first_pause;
      w.returned = now + w.pause;
      w.out_until.store(w.returned.time_since_epoch().count(), std::memory_order_relaxed);
    }
  }

  // By the worker: how long it still sits out; zero: it takes part again.
  Clock::duration out_for(int index) {
    if (index >= max_threads) return {};
    std::atomic<Clock::rep>& out_until = worker(index).out_until;
    const Clock::rep until = out_until.load(std::memory_order_relaxed);
    if (until == 0) return {};
    const Clock::duration left = Clock::time_point(Clock::duration(until)) - Clock::now();
    if (left > Clock::duration{}) return left;
    out_until.store(0, std::memory_order_relaxed);
    return {};
  }
  // Threads that take part, the caller included.
  int present(int n_threads, Clock::time_point now) const {
    int count = n_threads;
    for (int i = 1; i < n_threads && i < max_threads; ++i)
      count -= workers_[static_cast<std::size_t>(i)].out_until.load(std::memory_order_relaxed) >
               now.time_since_epoch().count();
    return count;
  }

 private:
  static constexpr int tolerated = 5;  // a fifth of the time may be lost: more than what two threads are worth at least
  static constexpr Clock::duration long_loss = std::chrono::milliseconds(60),
                                   short_loss = std::chrono::milliseconds(10);
  static constexpr Clock::duration first_pause = std::chrono::milliseconds(50), longest_pause = std::chrono::seconds(1),
                                   pardoned_after = std::chrono::seconds(3);
  // What the worker writes in every job lies apart from what the caller reads in every job.
  struct Worker {
    alignas(64) std::atomic<bool> computing{false};
    alignas(64) std::atomic<Clock::rep> out_until{0};
    Clock::duration lost{};  // from here on the caller's own
    Clock::time_point last_late{}, returned{};
    Clock::duration pause{};  // the last one; zero: it was never sent out
  };
  Worker& worker(int index) { return workers_[static_cast<std::size_t>(index)]; }
  void set(int index, bool computing) {
    if (index < max_threads) worker(index).computing.store(computing, std::memory_order_relaxed);
  }
  std::array<Worker, max_threads> workers_;
};

}  // namespace octavo

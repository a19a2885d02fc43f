// The thread pool: every tile once, late and preempted threads, interrupts, exceptions, turns.
#include "cpu/threads/threads.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "doctest.h"
#include "error.h"

namespace octavo {
namespace {

using namespace std::chrono_literals;

TEST_CASE("every tile runs exactly once, whatever the number of threads and the length of runs") {
  ThreadPool pool;
  for (int threads = 1; threads <= 3; ++threads) {
    for (int tiles : {0, 1, 2, 3, 7, 64, 1000}) {
      for (const RunLength runs : {RunLength{}, RunLength{1, 1}, RunLength{1, 5}, RunLength{4, 0}, RunLength{500, 7}}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(tiles));
        std::atomic<int> longest{0}, stranger{0};
        parallel(pool, threads, tiles, [&](int begin, int end, int thread) {
          if (thread < 0 || thread >= threads) ++stranger;
          for (int now = longest.load(); end - begin > now && !longest.compare_exchange_weak(now, end - begin);) {}
          for (int i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        }, runs);
        for (const auto& count : seen) REQUIRE(count == 1);
        CHECK(stranger == 0);
        if (runs.longest > 0) CHECK(longest <= runs.longest);
      }
    }
  }
}

TEST_CASE("jobs of more tiles than a share's word can number") {
  ThreadPool pool;
  for (int tiles : {65535, 65536, 200'001}) {
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(tiles));
    parallel(pool, 3, tiles, [&](int begin, int end, int) {
      for (int i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    int once = 0;
    for (const auto& count : seen) once += count == 1;
    CHECK(once == tiles);
  }
}

TEST_CASE("jobs follow one another at once: no tile of one is taken for another's") {
  ThreadPool pool;
  int wrong = 0;
  for (int job = 0; job < 20000; ++job) {
    const int tiles = 1 + job % 5, threads = 2 + job % 2;
    std::atomic<int> sum{0};
    parallel(pool, threads, tiles, [&, job](int begin, int end, int) {
      for (int i = begin; i < end; ++i) sum += job + i;
    });
    if (sum != tiles * job + tiles * (tiles - 1) / 2) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("workers that parked are woken for the next job") {
  ThreadPool pool;
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> threads_seen{0};
    std::atomic<bool> other{false};
    // The caller's tile waits for a worker, so the job ends only when one was woken.
    parallel(pool, 2, 2, [&](int begin, int end, int thread) {
      ++threads_seen;
      if (thread != 0) other = true;
      for (int i = begin; i < end; ++i)
        for (int ms = 0; thread == 0 && !other && ms < 5000; ++ms) std::this_thread::sleep_for(1ms);
    }, {1, 1});
    CHECK(other);
    std::this_thread::sleep_for(5ms);
  }
}

TEST_CASE("a job ends with its tiles, not with its threads") {
  ThreadPool pool;
  parallel(pool, 3, 3, [](int, int, int) {});
  REQUIRE(pool.workers() == 2);
  // Most of 64 threads have no CPU and claim nothing; a job that waited for each of them would take their turns.
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    std::atomic<int> done{0};
    parallel(pool, 64, 2, [&](int begin, int end, int) { done += end - begin; });
    CHECK(done == 2);
  }
  CHECK(pool.workers() == 63);
  CHECK(std::chrono::steady_clock::now() - start < 5s);
}

TEST_CASE("an interrupt drops what is not claimed and the pool goes on") {
  ThreadPool pool;
  for (int threads = 1; threads <= 3; ++threads) {
    for (int round = 0; round < 50; ++round) {
      std::atomic<bool> flag{round % 2 == 0};
      std::atomic<int> ran{0};
      std::string code;
      try {
        parallel(pool, threads, 1000, [&](int begin, int end, int) {
          ran += end - begin;
          if (ran > 20) flag = true;
        }, {1, 1}, &flag);
      } catch (const Error& e) {
        code = code_name(e.code());
      }
      CHECK(code == "INTERRUPTED");
      CHECK(ran < 100);
      if (round % 2 == 0) CHECK(ran == 0);
      std::atomic<int> after{0};
      parallel(pool, threads, 10, [&](int begin, int end, int) { after += end - begin; });
      CHECK(after == 10);
    }
  }
}

TEST_CASE("an interrupt from another thread is seen between two claims") {
  ThreadPool pool;
  std::atomic<bool> flag{false};
  std::thread other([&] {
    std::this_thread::sleep_for(20ms);
    flag = true;
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(
      parallel(pool, 2, 100000, [](int, int, int) { std::this_thread::sleep_for(1ms); }, {1, 1}, &flag), Error);
  CHECK(std::chrono::steady_clock::now() - start < 5s);
  other.join();
}

TEST_CASE("an exception of a tile reaches the caller, once, and the pool goes on") {
  ThreadPool pool;
  for (int threads = 1; threads <= 3; ++threads) {
    for (int round = 0; round < 50; ++round) {
      std::string what;
      try {
        parallel(pool, threads, 100, [&](int begin, int end, int) {
          for (int i = begin; i < end; ++i)
            if (i == round || i == 99 - round) throw std::runtime_error("tile");
        });
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
      CHECK(what == "tile");
      std::atomic<int> after{0};
      parallel(pool, threads, 10, [&](int begin, int end, int) { after += end - begin; });
      CHECK(after == 10);
    }
  }
}

TEST_CASE("callers on several threads share a pool without mixing their jobs") {
  ThreadPool pool;
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      for (int job = 0; job < 500; ++job) {
        std::atomic<int> count{0};
        parallel(pool, 2, 9, [&](int begin, int end, int) { count += end - begin; });
        if (count != 9) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("leases are turns: one holder at a time, in the order of asking") {
  std::vector<int> order;
  std::atomic<int> holders{0}, most{0};
  std::vector<std::thread> others;
  {
    const Lease first;
    for (int i = 0; i < 4; ++i) {
      others.emplace_back([&, i] {
        const Lease turn;
        if (++holders > most) most = holders.load();
        order.push_back(i);
        std::this_thread::sleep_for(1ms);
        --holders;
      });
      std::this_thread::sleep_for(20ms);  // so that they ask one after another
    }
    CHECK(order.empty());
  }
  for (std::thread& other : others) other.join();
  CHECK(most == 1);
  CHECK(order == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("two that always ask again alternate, however long the turn of one is") {
  std::vector<int> order;
  const auto asker = [&](int id, std::chrono::microseconds turn_length) {
    for (int i = 0; i < 100; ++i) {
      const Lease turn;
      order.push_back(id);
      std::this_thread::sleep_for(turn_length);  // long enough for the other one to ask
    }
  };
  std::thread other(asker, 1, 500us);
  asker(0, 1500us);
  other.join();
  // The first thread may have begun before the second one asked at all.
  const auto begun = std::find(order.begin(), order.end(), 1);
  int twice = 0;
  for (auto i = begun; i + 1 < order.end() && std::count(i, order.end(), 1) > 1; ++i) twice += *i == *(i + 1);
  CHECK(twice <= 5);  // a thread that was not scheduled in time missed a turn
}

TEST_CASE("a worker that keeps the others waiting sits out, longer each time, and comes back") {
  Lateness lateness;
  const Lateness::Clock::time_point now = Lateness::Clock::now();
  lateness.count(3, now, 1s);  // nobody computes
  CHECK(lateness.present(3, now) == 3);
  lateness.begin(2);
  lateness.count(3, now, 20ms), lateness.count(3, now, 20ms);
  CHECK(lateness.present(3, now) == 3);
  lateness.count(3, now, 20ms);
  CHECK(lateness.present(3, now) == 2);
  CHECK(lateness.out_for(1) == Lateness::Clock::duration{});
  const auto first = lateness.out_for(2);
  CHECK(first > 0ms);
  // Soon after the return less is enough.
  lateness.count(3, now, 10ms);
  CHECK(lateness.out_for(2) > first);
  lateness.end(2);
  std::this_thread::sleep_for(lateness.out_for(2) + 1ms);
  CHECK(lateness.present(3, Lateness::Clock::now()) == 3);
  CHECK(lateness.out_for(2) == Lateness::Clock::duration{});
  // Long after it, it is not.
  lateness.begin(2);
  lateness.count(3, now + 1h, 10ms);
  CHECK(lateness.present(3, now + 1h) == 3);
  // A tenth of the time is not held against it.
  for (int i = 1; i < 20; ++i) lateness.count(3, now + 1h + i * 50ms, 5ms);
  CHECK(lateness.present(3, now + 1h + 1s) == 3);
}

TEST_CASE("a pool goes on while a worker sits out") {
  ThreadPool pool;
  // The worker's tiles take long, the caller's do not: the worker is late until it is left out.
  int without_worker = 0, with_worker = 0;
  const auto job = [&] {
    std::atomic<int> ran{0};
    std::atomic<bool> by_worker{false};
    const auto start = std::chrono::steady_clock::now();
    parallel(pool, 2, 4, [&](int begin, int end, int thread) {
      ran += end - begin;
      if (thread == 1) by_worker = true, std::this_thread::sleep_for(30ms);
      else while (!by_worker && std::chrono::steady_clock::now() - start < 1ms) std::this_thread::yield();
    }, {1, 1});
    CHECK(ran == 4);
    ++(by_worker ? with_worker : without_worker);
  };
  for (int i = 0; i < 400 && without_worker < 10; ++i) job();
  CHECK(without_worker >= 10);
  // It comes back.
  for (int before = with_worker, i = 0; i < 4000 && with_worker == before; ++i) job();
  CHECK(with_worker > 0);
}

TEST_CASE("too many threads are refused") {
  ThreadPool pool;
  CHECK_THROWS_AS(parallel(pool, ThreadPool::max_threads + 1, 2, [](int, int, int) {}), Error);
  CHECK(pool.workers() == 0);
}

}  // namespace
}  // namespace octavo

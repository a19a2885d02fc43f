#include "cpu/limits.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "cpu/isa/kernels.h"
#include "cpu/threads/threads.h"
#include "error.h"
#include "os/os.h"

namespace octavo {

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The best of many short measurements: what other work on the machine takes away is not a limit of the machine.
constexpr std::size_t read_bytes = std::size_t{512} << 20;  // far beyond any cache; some ten milliseconds
constexpr std::size_t read_tile = std::size_t{1} << 20;
constexpr std::size_t read_ahead[] = {0, 8192};  // which of them is faster differs from one CPU to the next
constexpr int read_passes = 6;
constexpr std::int64_t operation_rounds = 100000, matrix_rounds = 30000;  // about half a millisecond each
constexpr int operation_passes = 40;
constexpr int barriers = 2001;

double measure_read(ThreadPool& pool, const cpu::Kernels& kernels, int threads) {
  // Kept for the next measurement: to get it from the system takes longer than to read it.
  static const auto* const memory = new os::Memory(read_bytes);
  const char* const data = static_cast<const char*>(memory->data());
  std::atomic<std::uint32_t> sink{0};
  double best = 0;
  for (int pass = 0; pass < read_passes; ++pass) {
    const double start = seconds();
    parallel(pool, threads, static_cast<int>(read_bytes / read_tile), [&](int begin, int end, int) {
      sink += kernels.read_memory(data + begin * read_tile, static_cast<std::size_t>(end - begin) * read_tile,
                                  read_ahead[pass % 2]);
    });
    best = std::max(best, static_cast<double>(read_bytes) / (seconds() - start));
  }
  return best;
}

double measure_operations(ThreadPool& pool, double (*operations)(std::int64_t rounds), std::int64_t rounds,
                          int threads) {
  double best = 0;
  std::vector<double> done(static_cast<std::size_t>(threads) * 8);  // one cache line a tile
  for (int pass = 0; pass < operation_passes; ++pass) {
    const double start = seconds();
    parallel(pool, threads, threads, [&](int begin, int end, int) {
      for (int i = begin; i < end; ++i)
        done[static_cast<std::size_t>(i) * 8] = operations(rounds);
    });
    double total = 0;
    for (double n : done) total += n;
    best = std::max(best, total / (seconds() - start));
  }
  return best;
}

double measure_barrier(ThreadPool& pool, int threads) {
  std::vector<double> times(barriers);
  for (double& t : times) {
    const double start = seconds();
    parallel(pool, threads, threads, [](int, int, int) {});
    t = seconds() - start;
  }
  std::nth_element(times.begin(), times.begin() + barriers / 2, times.end());
  return times[barriers / 2];
}

}  // namespace

MachineLimits measure_limits(int threads) {
  if (threads < 1 || threads > ThreadPool::max_threads)
    throw Error(Code::invalid_argument, "threads is out of range",
                {{"expected", "1.." + std::to_string(ThreadPool::max_threads)}, {"found", std::to_string(threads)}});
  const Lease turn;
  const cpu::Kernels& kernels = *cpu::kernels_find(nullptr);
  ThreadPool& pool = thread_pool();
  return {measure_read(pool, kernels, threads),
          measure_operations(pool, kernels.int8_operations, operation_rounds, threads),
          kernels.matrix ? measure_operations(pool, kernels.matrix->operations, matrix_rounds, threads) : 0,
          measure_operations(pool, kernels.fma_operations, operation_rounds, threads), measure_barrier(pool, threads)};
}

}  // namespace octavo

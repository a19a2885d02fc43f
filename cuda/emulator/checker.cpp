#include "emulator/checker.h"

#include <sys/mman.h>
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/block.h"
#include "emulator/memory.h"
#include "emulator/traffic.h"

extern "C" char __executable_start, _end;

namespace octavo::shim {

namespace {

// A time: a thread's clock and its number in the block.
using Time = std::uint32_t;
constexpr Time in_flight = ~Time{0};
constexpr Time many_readers = Time{1} << 31;  // with this bit, a row of reader_clocks
Time time_of(std::uint32_t clock, int thread) { return clock << 10 | static_cast<Time>(thread); }
int thread_of(Time t) { return static_cast<int>(t & 1023); }
std::uint32_t clock_of(Time t) { return t >> 10; }

// Of one byte. Blocks have numbers that never repeat; 0 is none.
struct Cell {
  std::uint32_t write_block, read_block;
  Time write, read;
  std::uint32_t write_site, read_site;  // from the program's begin
  bool live, written, write_atomic, read_atomic;
  std::uint32_t unused;
};
bool same(const Cell& a, const Cell& b) {
  using Words = std::array<std::uint64_t, sizeof(Cell) / 8>;
  const Words x = std::bit_cast<Words>(a), y = std::bit_cast<Words>(b);
  return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

constexpr std::size_t shadowed_bytes = std::size_t{1} << 30;
Cell* cells = nullptr;

std::uint32_t block_number = 0, first_of_launch = 1;
std::uint32_t N = 0;                       // threads of the block
std::vector<std::uint32_t> clocks;         // [thread][thread]: what the first knows of the second
std::vector<std::uint32_t> reader_clocks;  // rows of N, for bytes that several threads have read
std::vector<std::uint32_t> sharers;        // of a row: cells that have it, or more

void open_cells() {
  if (cells != nullptr) return;
  void* const map = mmap(nullptr, shadowed_bytes * sizeof(Cell), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) {
    std::perror("emulator: memory of the checker");
    std::abort();
  }
  cells = static_cast<Cell*>(map);
}

std::uint32_t* known_by(int thread) { return &clocks[static_cast<std::size_t>(thread) * N]; }
Time now(int thread) { return time_of(known_by(thread)[thread], thread); }
bool happens_before(Time t, int thread) { return clock_of(t) <= known_by(thread)[thread_of(t)]; }
std::uint32_t short_site(const void* site) {
  return static_cast<std::uint32_t>(static_cast<const char*>(site) - &__executable_start);
}
const void* long_site(std::uint32_t site) { return &__executable_start + site; }
std::string line_of(std::uint32_t site) { return source_line(long_site(site)); }

enum class Kind { plain, atomic, copy };

struct Access {
  bool write;
  Kind kind;
  const void* site;
  int thread;
  bool shared;
  const char* verb() const { return write ? "write" : "read"; }
  const char* space() const { return shared ? "shared" : "global"; }
};

[[noreturn]] void outside(const char* address, const Access& a) {
  if (a.shared) {
    report("out-of-bounds", a.site, nullptr, "shared %s outside of every array, at %s", a.verb(),
           source_line(a.site).c_str());
  } else {
    const Allocation* const near = allocation_before(address);
    report("out-of-bounds", a.site, nullptr, "global %s at %s, %td bytes after the begin of '%s' (%zu bytes)", a.verb(),
           source_line(a.site).c_str(), near != nullptr ? address - near->begin : 0,
           near != nullptr ? near->name.c_str() : "nothing", near != nullptr ? near->bytes : 0);
  }
  end_launch();
}

void against_last_write(const Cell& c, const Access& a) {
  if (c.write_block == block_number) {
    if (c.write == in_flight) {
      report("copy-in-flight", a.site, long_site(c.write_site), "%s at %s of bytes whose copy (%s) was not waited for",
             a.verb(), source_line(a.site).c_str(), line_of(c.write_site).c_str());
    } else if (!happens_before(c.write, a.thread) && !(a.kind == Kind::atomic && c.write_atomic)) {
      report(a.write ? "race-write-write" : "race-read-write", a.site, long_site(c.write_site),
             "%s %s at %s by thread %d, write at %s by thread %d: nothing orders them", a.space(), a.verb(),
             source_line(a.site).c_str(), a.thread, line_of(c.write_site).c_str(), thread_of(c.write));
    }
    return;
  }
  if (a.shared) {
    if (!a.write || a.kind == Kind::atomic)
      report("uninitialised", a.site, nullptr, "read of shared memory that nothing was written to, at %s",
             source_line(a.site).c_str());
    return;
  }
  if (c.write_block >= first_of_launch && !(a.kind == Kind::atomic && c.write_atomic))
    report("race-blocks", a.site, long_site(c.write_site), "global %s at %s, write at %s by another block of the grid",
           a.verb(), source_line(a.site).c_str(), line_of(c.write_site).c_str());
  if (!c.written && !a.write)
    report("uninitialised", a.site, nullptr, "read of global memory that nothing was written to, at %s",
           source_line(a.site).c_str());
}

// A reader that does not happen before this thread, or -1.
int unordered_reader(const Cell& c, int thread) {
  if ((c.read & many_readers) == 0) return happens_before(c.read, thread) ? -1 : thread_of(c.read);
  const std::uint32_t* const row = &reader_clocks[static_cast<std::size_t>(c.read & ~many_readers) * N];
  const std::uint32_t* const known = known_by(thread);
  for (std::uint32_t u = 0; u < N; ++u)
    if (row[u] > known[u]) return static_cast<int>(u);
  return -1;
}

void against_last_reads(const Cell& c, const Access& a) {
  if (a.kind == Kind::atomic && c.read_atomic) return;
  if (c.read_block == block_number) {
    const int reader = unordered_reader(c, a.thread);
    if (reader >= 0)
      report("race-write-read", a.site, long_site(c.read_site),
             "%s write at %s by thread %d, earlier read at %s by thread %d: nothing orders them", a.space(),
             source_line(a.site).c_str(), a.thread, line_of(c.read_site).c_str(), reader);
  } else if (!a.shared && c.read_block >= first_of_launch) {
    report("race-blocks", a.site, long_site(c.read_site), "global write at %s, read at %s by another block of the grid",
           source_line(a.site).c_str(), line_of(c.read_site).c_str());
  }
}

std::size_t new_row(std::uint32_t of_cells) {
  const std::size_t row = sharers.size();
  sharers.push_back(of_cells);
  if (reader_clocks.size() < (row + 1) * N) reader_clocks.resize(2 * (row + 1) * N);
  return row;
}

// `run`: cells that are alike, and remain so: they share a row.
void add_reader(Cell& c, int thread, std::uint32_t run) {
  std::size_t row = c.read & ~many_readers;
  if ((c.read & many_readers) == 0) {
    row = new_row(run);
    std::fill_n(&reader_clocks[row * N], N, 0u);
    reader_clocks[row * N + static_cast<std::size_t>(thread_of(c.read))] = clock_of(c.read);
  } else if (sharers[row] > run) {
    sharers[row] -= run;
    const std::size_t own = new_row(run);
    std::copy_n(&reader_clocks[row * N], N, &reader_clocks[own * N]);
    row = own;
  }
  c.read = many_readers | static_cast<Time>(row);
  reader_clocks[row * N + static_cast<std::size_t>(thread)] = clock_of(now(thread));
}

void remember_read(Cell& c, const Access& a, std::uint32_t site, std::uint32_t run) {
  const Time t = now(a.thread);
  if (c.read_block != block_number) {
    c.read_block = block_number;
    c.read = t;
    c.read_atomic = a.kind == Kind::atomic;
  } else if ((c.read & many_readers) != 0) {
    add_reader(c, a.thread, run);
  } else if (c.read != t) {
    if (happens_before(c.read, a.thread))
      c.read = t;
    else
      add_reader(c, a.thread, run);
  }
  if (a.kind != Kind::atomic) c.read_atomic = false;
  c.read_site = site;
}

void check(const char* address, std::size_t bytes, bool write, Kind kind, const void* site) {
  const Access access{write, kind, site, running->thread, is_shared(address)};
  const std::uint32_t short_of_site = short_site(site);
  Cell* const first = cells + device_offset(address);
  // Bytes to which the same has happened are looked at once.
  for (std::size_t i = 0, end; i < bytes; i = end) {
    Cell& c = first[i];
    for (end = i + 1; end < bytes && same(first[end], c); ++end) continue;
    if (!c.live) outside(address + i, access);
    against_last_write(c, access);
    if (write) {
      against_last_reads(c, access);
      c.write_block = block_number;
      c.write = kind == Kind::copy ? in_flight : now(access.thread);
      c.write_site = short_of_site;
      c.write_atomic = kind == Kind::atomic;
      c.written = true;
      c.read_block = 0, c.read = 0;
    }
    if (!write || kind == Kind::atomic) remember_read(c, access, short_of_site, static_cast<std::uint32_t>(end - i));
    std::fill(first + i + 1, first + end, c);
  }
}

// Memory that a kernel may use besides the device's: its stack, its parameter, its indices, tables of the program.
bool is_private(const void* address, bool write) {
  if (is_stack(address)) return true;
  if (write) return false;
  const auto within = [address](const void* begin, const void* end) { return address >= begin && address < end; };
  return is_parameter(address) || within(&__executable_start, &_end) ||
         within(block.fibers.data(), block.fibers.data() + block.fibers.size());
}

}  // namespace

void begin_checked_launch() {
  if (!checked()) return;
  open_cells();
  first_of_launch = block_number + 1;
}

void begin_checked_block(int threads) {
  ++block_number;
  if (!checked()) return;
  N = static_cast<std::uint32_t>(threads);
  sharers.clear();
  clocks.assign(static_cast<std::size_t>(N) * N, 0);
  for (int t = 0; t < threads; ++t) known_by(t)[t] = 1;
}

void join_clocks(const std::vector<int>& from, const std::vector<int>& to) {
  if (!checked()) return;
  static std::vector<std::uint32_t> joined;
  joined.assign(N, 0);
  for (const int t : from)
    for (std::uint32_t u = 0; u < N; ++u) joined[u] = std::max(joined[u], known_by(t)[u]);
  for (const int t : to)
    for (std::uint32_t u = 0; u < N; ++u) known_by(t)[u] = std::max(known_by(t)[u], joined[u]);
  for (const int t : from) ++known_by(t)[t];  // what it does from now on, the others do not know of
}

void make_live(char* begin, std::size_t bytes) {
  if (!checked()) return;
  open_cells();
  for (std::size_t i = 0; i < bytes; ++i) cells[device_offset(begin) + i].live = true;
}

void forget(char* begin, std::size_t bytes) {
  if (!checked()) return;
  open_cells();
  std::memset(static_cast<void*>(cells + device_offset(begin)), 0, bytes * sizeof(Cell));
}

void mark_written(void* begin, std::size_t bytes) {
  if (!checked()) return;
  for (std::size_t i = 0; i < bytes; ++i) cells[device_offset(begin) + i].written = true;
}

void check_access(const char* address, std::size_t bytes, bool write, const void* site) {
  if (running == nullptr) return;
  if (!is_device(address)) {
    if (is_private(address, write)) return;
    report("host-pointer", site, nullptr, "a kernel %s %p, which is no memory of the device, at %s",
           write ? "writes to" : "reads", static_cast<const void*>(address), source_line(site).c_str());
    end_launch();
  }
  if (bytes <= 16 && (bytes & (bytes - 1)) == 0 && reinterpret_cast<std::uintptr_t>(address) % bytes != 0)
    report("misaligned", site, nullptr, "%zu bytes at %p, at %s", bytes, static_cast<const void*>(address),
           source_line(site).c_str());
  check(address, bytes, write, Kind::plain, site);
  log_access(address, bytes, write, site);
}

void check_atomic(char* address, std::size_t bytes, const void* site) {
  if (checked() && running != nullptr) check(address, bytes, true, Kind::atomic, site);
}

void check_copy(char* shared, const char* global, std::size_t bytes, std::size_t source_bytes, const void* site) {
  if (!checked()) return;
  if (source_bytes > 0) {
    check(global, source_bytes, false, Kind::plain, site);
    log_access(global, source_bytes, false, site);
  }
  check(shared, bytes, true, Kind::copy, site);
  log_access(shared, bytes, true, static_cast<const char*>(site) + 1);  // an access of its own
}

void copy_landed(char* shared, std::size_t bytes, int thread) {
  if (!checked()) return;
  for (std::size_t i = 0; i < bytes; ++i) {
    Cell& c = cells[device_offset(shared) + i];
    if (c.write_block == block_number && c.write == in_flight) c.write = now(thread);
  }
}

void check_matrix_row(const char* row, const void* site) {
  if (!is_shared(row) || reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    report("misaligned", site, nullptr, "a matrix row is 16 aligned bytes of shared memory, not at %p, at %s",
           static_cast<const void*>(row), source_line(site).c_str());
    end_launch();
  }
  if (!checked()) return;
  check(row, 16, false, Kind::plain, site);
  log_access(row, 16, false, site);
}

}  // namespace octavo::shim

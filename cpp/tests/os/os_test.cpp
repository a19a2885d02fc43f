// The system layer: checked reads, files that appear whole or not at all, memory, limits of containers (from a made-up
// /proc and /sys), parking.
#include "os/os.h"

#include <doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "error.h"
#include "os/os_turns.h"

using namespace octavo;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("octavo-os-test-" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string put(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
    return (path / name).string();
  }
};

template <typename F>
Code code_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  FAIL("no error");
  return Code::internal;
}

}  // namespace

TEST_CASE("os::File reads what is there and refuses the rest") {
  const Folder folder;
  const os::File file(folder.put("a", "0123456789"));
  CHECK(file.size() == 10);
  char out[10];
  file.read(out, 3, 4);
  CHECK(std::memcmp(out, "3456", 4) == 0);
  file.read(out, 10, 0);
  CHECK(code_of([&] { file.read(out, 8, 3); }) == Code::model_invalid);
  CHECK(code_of([&] { file.read(out, UINT64_MAX - 1, 4); }) == Code::model_invalid);
  const std::string before = file.identity();
  fs::resize_file(file.path(), 5);
  CHECK(file.identity() != before);
  CHECK(code_of([&] { file.read(out, 3, 4); }) == Code::model_invalid);

  const std::string pipe = (folder.path / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(code_of([&] { os::File f(pipe); }) == Code::model_invalid);
  CHECK(code_of([&] { os::File f(folder.path.string()); }) == Code::model_invalid);
  CHECK(code_of([&] { os::File f((folder.path / "absent").string()); }) == Code::file_not_found);
  CHECK(code_of([&] { os::File f(file.path() + "/under-a-file"); }) == Code::file_not_found);
  CHECK(code_of([&] { os::File f(""); }) == Code::invalid_argument);
  CHECK(code_of([&] { os::File f(std::string("a\0b", 3)); }) == Code::invalid_argument);
}

TEST_CASE("os::FileWriter: a file appears whole or not at all") {
  const Folder folder;
  const std::string path = folder.put("out", "old");
  const auto text = [&] {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  {
    os::FileWriter writer(path);
    writer.write("new", 3);
  }
  CHECK(text() == "old");
  {
    os::FileWriter writer(path), other(path);
    writer.write("new", 3);
    writer.write("er", 2);
    other.write("x", 1);
    CHECK(writer.position() == 5);
    writer.finish();
  }
  CHECK(text() == "newer");
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);
  CHECK(code_of([&] { os::FileWriter w((folder.path / "no" / "where").string()); }) == Code::io_error);
  CHECK(code_of([&] { os::FileWriter w("/dev/null"); }) == Code::io_error);
}

TEST_CASE("os::Arena: zeroed blocks side by side that live as long as they are held; too much is out_of_memory") {
  std::vector<std::shared_ptr<std::uint8_t>> blocks;
  std::vector<std::size_t> sizes;
  {
    os::Arena arena;
    for (std::size_t bytes : {1u, 64u, 1000u, 3u << 20, 500u << 10, 100u << 20, 60u << 20, 7u}) {
      blocks.push_back(arena.allocate(bytes));
      sizes.push_back(bytes);
    }
    CHECK(code_of([&] { arena.allocate(SIZE_MAX); }) == Code::out_of_memory);
    CHECK(code_of([&] { arena.allocate(std::size_t{1} << 46); }) == Code::out_of_memory);
    CHECK(blocks[1].get() == blocks[0].get() + 64);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    std::uint8_t* const at = blocks[i].get();
    CHECK(reinterpret_cast<std::uintptr_t>(at) % 64 == 0);
    CHECK((at[0] | at[sizes[i] - 1] | at[sizes[i] / 2]) == 0);
    std::memset(at, static_cast<int>(i + 1), std::min<std::size_t>(sizes[i], 4096));
    at[sizes[i] - 1] = static_cast<std::uint8_t>(i + 1);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i)
    CHECK((blocks[i].get()[0] == i + 1 && blocks[i].get()[sizes[i] - 1] == i + 1));
}

TEST_CASE("os::Memory is zeroed, aligned and movable; too much is out_of_memory") {
  for (std::size_t bytes : {std::size_t{1}, std::size_t{5000}, (std::size_t{4} << 20) + 1}) {
    os::Memory memory(bytes);
    CHECK(memory.bytes() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % 64 == 0);
    const auto* p = static_cast<const unsigned char*>(memory.data());
    bool zero = true;
    for (std::size_t i = 0; i < bytes; ++i) zero = zero && p[i] == 0;
    CHECK(zero);
    static_cast<unsigned char*>(memory.data())[bytes - 1] = 1;
    os::Memory moved(std::move(memory));
    CHECK(moved.data() == p);
    CHECK(memory.data() == nullptr);
  }
  CHECK(os::Memory(0).data() == nullptr);
  CHECK(code_of([] { os::Memory m(SIZE_MAX); }) == Code::out_of_memory);
  CHECK(code_of([] { os::Memory m(std::size_t{1} << 46); }) == Code::out_of_memory);
}

TEST_CASE("os::Reserve is zeroed memory that counts as taken before it is touched") {
  constexpr std::size_t bytes = (std::size_t{8} << 20) + 5;
  {
    os::Reserve reserve(bytes);
    unsigned char* const p = static_cast<unsigned char*>(reserve.data());
    CHECK(reserve.bytes() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % os::huge_page == 0);
    p[5] = 7;  // before its page was touched
    reserve.touch(0, 3);
    reserve.touch(3, 5000);
    reserve.touch(bytes - 1, 1);
    CHECK((p[0] == 0 && p[5] == 7 && p[5001] == 0 && p[bytes - 1] == 0));
  }
  CHECK(os::Reserve(0).data() == nullptr);
  CHECK(code_of([] { os::Reserve r(SIZE_MAX); }) == Code::out_of_memory);
  CHECK(code_of([] { os::Reserve r(std::size_t{1} << 46); }) == Code::out_of_memory);
  CHECK(os::Reserve::backed(1 << 20));
  CHECK_FALSE(os::Reserve::backed(std::size_t{1} << 46));

  const std::size_t most = os::memory_available() / 10 * 7;  // others may take and give back meanwhile
  auto first = std::make_unique<os::Reserve>(most);
  CHECK(os::memory_available() < most);
  CHECK(code_of([&] { os::Reserve second(most); }) == Code::out_of_memory);
  CHECK(code_of([&] { os::Memory second(most); }) == Code::out_of_memory);
  first.reset();
  CHECK(os::Reserve(most).bytes() == most);
}

TEST_CASE("limits of this machine are plausible") {
  CHECK(os::memory_available() > (1 << 20));
  CHECK(os::cpus_available() >= 1);
  CHECK(os::cpus_available() <= static_cast<int>(std::thread::hardware_concurrency()));
  CHECK_FALSE(os::cpu_model().empty());
}

TEST_CASE("limits: cgroup v2, nested, with page cache counted as free") {
  const Folder root;
  root.put("proc/meminfo", "MemTotal: 9000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\n");
  CHECK(os::memory_available(root.path.string()) == 8000000ull * 1024);
  root.put("proc/self/cgroup", "0::/outer/inner\n");
  root.put("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  root.put("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  root.put("sys/fs/cgroup/outer/memory.max", "1000000000\n");
  root.put("sys/fs/cgroup/outer/memory.current", "700000000\n");
  root.put("sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 100000000\nactive_file 50000000\n");
  root.put("sys/fs/cgroup/outer/inner/cpu.max", "50000 100000\n");
  CHECK(os::memory_available(root.path.string()) == 450000000u);
  CHECK(os::cpus_available(root.path.string()) == 1);
  root.put("sys/fs/cgroup/outer/memory.current", "1200000000\n");
  CHECK(os::memory_available(root.path.string()) == 0);
}

TEST_CASE("limits: a container that sees its cgroup v1 group as the root") {
  const Folder root;
  root.put("proc/meminfo", "MemAvailable: 8000000 kB\n");
  root.put("proc/self/cgroup", "12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n");
  root.put("proc/self/mountinfo",
           "40 31 0:40 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
           "41 31 0:41 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
  root.put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000000\n");
  root.put("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000000\n");
  root.put("sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 100\n");
  root.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  root.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(os::memory_available(root.path.string()) == 1500000100u);
  CHECK(os::cpus_available(root.path.string()) == os::cpus_available("/nonexistent"));
  root.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "10000\n");
  CHECK(os::cpus_available(root.path.string()) == 1);
}

TEST_CASE("park returns at once when the word has changed, and when it is woken") {
  std::atomic<std::uint32_t> word{1};
  const auto* address = reinterpret_cast<const std::uint32_t*>(&word);
  os::park(address, 0);
  std::thread sleeper([&] {
    while (word.load() == 1) os::park(address, 1);
  });
  word.store(2);
  os::unpark(address, 1);
  sleeper.join();
  CHECK(word.load() == 2);
}

TEST_CASE("shared objects: a missing one says why") {
  std::string reason;
  CHECK(os::library_open("/nonexistent/library.so", &reason) == nullptr);
  CHECK(reason.find("nonexistent") != std::string::npos);
  CHECK_FALSE(os::module_folder().empty());
}

TEST_CASE("os::leave_cpus: a thread leaves the CPUs that are taken, never all of them, and only for itself") {
  const int allowed = os::cpus_available(), caller = os::thread_id();
  std::thread([&] {
    const int here = os::current_cpu();
    REQUIRE(here >= 0);
    const bool moved = os::leave_cpus(caller, &here, 1);
    if (moved) CHECK(os::current_cpu() != here);
    else CHECK(allowed == 1);
    std::vector<int> all(4096);
    for (int i = 0; i < 4096; ++i) all[static_cast<std::size_t>(i)] = i;
    CHECK(!os::leave_cpus(caller, all.data(), 4096));
  }).join();
  CHECK(os::cpus_available() == allowed);
}

TEST_CASE("os::take_long_turns: longer ones for the calling thread, once and for all, and no other share") {
  // As the kernel shows it, where it does.
  const auto shown = [](const std::string& name) {
    std::ifstream file("/proc/thread-self/sched");
    for (std::string word, colon, value; file >> word;)
      if (word == name && file >> colon >> value) return value;
    return std::string();
  };
  std::thread([&] {
    const std::string turn = shown("se.slice"), share = shown("se.load.weight"), policy = shown("policy");
    const bool taken = os::take_long_turns();
    CHECK(os::take_long_turns() == taken);
    CHECK(shown("se.load.weight") == share);
    CHECK(shown("policy") == policy);
    if (turn.empty()) return;
    const std::uint64_t before = std::stoull(turn), after = std::stoull(shown("se.slice"));
    // It has them already if the thread that started it took some.
    const bool is_longer = after == std::min<std::uint64_t>(4 * before, 20'000'000);
    CHECK((taken ? is_longer || after == before : after == before));
    std::uint64_t of_a_child = 0;
    std::thread([&] {
      os::take_long_turns();
      of_a_child = std::stoull(shown("se.slice"));
    }).join();
    CHECK(of_a_child == after);
  }).join();
}

TEST_CASE("random bits are other ones each time") {
  const std::uint64_t first = os::random_bits(), second = os::random_bits();
  CHECK(first != second);
  CHECK((first >> 32) != (second >> 32));
}

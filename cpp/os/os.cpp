// Linux: files by pread and write, memory by mmap, limits from /proc and the cgroup file systems (v1 and v2), parking
// by futex. Nothing is cached: limits of a container may change while we run.
#include "os/os.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "error.h"

namespace octavo::os {

namespace {

std::string reason(int error) { return std::string(std::strerror(error)); }

[[noreturn]] void fail_io(const char* action, const std::string& path, int error) {
  throw Error(Code::io_error, std::string("cannot ") + action + " " + path + ": " + reason(error),
              {{"path", path}, {"system", reason(error)}});
}

// A small text file of /proc or /sys; empty when it cannot be read.
std::string slurp(const std::string& path) {
  std::string text;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return text;
}

// The number after `key` at the beginning of a line ("MemAvailable: 123 kB", "inactive_file 123"); false when absent.
bool find_number(const std::string& text, const char* key, std::uint64_t* out) {
  std::istringstream lines(text);
  std::string line;
  const std::size_t n = std::strlen(key);
  while (std::getline(lines, line)) {
    if (line.compare(0, n, key) != 0 || line.size() == n || (line[n] != ':' && line[n] != ' ')) continue;
    unsigned long long value = 0;
    if (std::sscanf(line.c_str() + n + 1, "%llu", &value) == 1) {
      *out = value;
      return true;
    }
  }
  return false;
}

// A file that holds one number; false for "max", "-1" and absent files.
bool read_number(const std::string& path, std::uint64_t* out) {
  const std::string text = slurp(path);
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  unsigned long long value = 0;
  if (std::sscanf(text.c_str(), "%llu", &value) != 1) return false;
  *out = value;
  return true;
}

bool has_item(const std::string& list, const std::string& item) {
  return ("," + list + ",").find("," + item + ",") != std::string::npos;
}

// Directories, innermost first, that limit this process for a controller ("memory", "cpu"), of v1 or v2. A container
// often sees its own group as the mount's root while /proc/self/cgroup tells the host's path: both are tried.
std::vector<std::string> cgroup_directories(const std::string& root, const std::string& controller, bool v2) {
  std::string group;
  std::istringstream groups(slurp(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    const std::size_t a = line.find(':'), b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1);
    const bool ours = v2 ? line.compare(0, 3, "0::") == 0 : has_item(controllers, controller);
    if (ours && line.size() > b + 1 && line[b + 1] == '/') group = line.substr(b + 1);
  }
  std::vector<std::string> out;
  std::istringstream mounts(slurp(root + "/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string skip, mount_root, point, word, type, source, options;
    words >> skip >> skip >> skip >> mount_root >> point;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> options;
    if (v2 ? type != "cgroup2" : type != "cgroup" || !has_item(options, controller)) continue;
    std::string below = group;
    if (mount_root != "/" && (below + "/").compare(0, mount_root.size() + 1, mount_root + "/") == 0)
      below = below.substr(mount_root.size());
    if (below.find("..") != std::string::npos) below.clear();
    for (; below.size() > 1; below.resize(below.rfind('/'))) out.push_back(root + point + below);
    out.push_back(root + point);
    break;
  }
  return out;
}

// Page cache counts as free: the kernel gives it back before it refuses memory.
std::uint64_t left(std::uint64_t limit, std::uint64_t used, std::uint64_t cache) {
  used -= std::min(used, cache);
  return limit > used ? limit - used : 0;
}

std::uint64_t cgroup_memory_left(const std::string& root) {
  std::uint64_t best = UINT64_MAX;
  for (const bool v2 : {true, false}) {
    for (const std::string& dir : cgroup_directories(root, "memory", v2)) {
      std::uint64_t limit = 0, used = 0, inactive = 0, active = 0;
      if (!read_number(dir + (v2 ? "/memory.max" : "/memory.limit_in_bytes"), &limit)) continue;
      if (!read_number(dir + (v2 ? "/memory.current" : "/memory.usage_in_bytes"), &used)) continue;
      const std::string stat = slurp(dir + "/memory.stat");
      find_number(stat, v2 ? "inactive_file" : "total_inactive_file", &inactive);
      find_number(stat, v2 ? "active_file" : "total_active_file", &active);
      best = std::min(best, left(limit, used, inactive + active));
    }
  }
  return best;
}

int cgroup_cpus(const std::string& root) {
  std::uint64_t best = INT_MAX;
  for (const bool v2 : {true, false}) {
    for (const std::string& dir : cgroup_directories(root, "cpu", v2)) {
      unsigned long long quota = 0, period = 0;
      if (v2) {
        if (std::sscanf(slurp(dir + "/cpu.max").c_str(), "%llu %llu", &quota, &period) != 2) continue;
      } else {
        std::uint64_t q = 0, p = 0;
        if (!read_number(dir + "/cpu.cfs_quota_us", &q) || !read_number(dir + "/cpu.cfs_period_us", &p)) continue;
        quota = q;
        period = p;
      }
      if (quota > 0 && period > 0) best = std::min<std::uint64_t>(best, (quota - 1) / period + 1);
    }
  }
  return static_cast<int>(best);
}

// CPUs that a thread may use; null when the system does not say.
struct CpuSet {
  struct Free {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
  };
  std::unique_ptr<cpu_set_t, Free> set;
  std::size_t bytes = 0;
};

CpuSet affinity_of(int thread) {
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {  // the kernel refuses a mask smaller than its own
    CpuSet cpus{std::unique_ptr<cpu_set_t, CpuSet::Free>(CPU_ALLOC(static_cast<std::size_t>(capacity))),
                CPU_ALLOC_SIZE(static_cast<std::size_t>(capacity))};
    if (!cpus.set) break;
    if (::sched_getaffinity(thread, cpus.bytes, cpus.set.get()) == 0) return cpus;
    if (errno != EINVAL) break;
  }
  return {};
}

int affinity_cpus() {
  const CpuSet cpus = affinity_of(0);
  if (cpus.set) return CPU_COUNT_S(cpus.bytes, cpus.set.get());
  return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

// ---- files ---------------------------------------------------------------------------------------------------------

File::File(const std::string& path) : path_(path) {
  if (path.empty() || path.find('\0') != std::string::npos)
    throw Error(Code::invalid_argument, "expected a file name, found an empty one or one with a zero byte");
  // O_NONBLOCK: opening a pipe must not wait for a writer; regular files ignore it.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      throw Error(Code::file_not_found, "no such file: " + path, {{"path", path}});
    fail_io("open", path, errno);
  }
  struct stat info;
  if (::fstat(descriptor_, &info) != 0) {
    const int error = errno;
    ::close(descriptor_);
    fail_io("examine", path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(descriptor_);
    const std::string found = S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe";
    throw Error(Code::model_invalid, path + ": expected a regular file, found " + found,
                {{"path", path}, {"expected", "a regular file"}, {"found", found}});
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

File::~File() { ::close(descriptor_); }

void File::read(void* out, std::uint64_t offset, std::size_t bytes) const {
  char* to = static_cast<char*>(out);
  std::size_t done = 0;
  while (done < bytes) {
    const std::uint64_t at = offset + done;
    ssize_t n = 0;
    if (at >= offset && at <= static_cast<std::uint64_t>(INT64_MAX))
      n = ::pread(descriptor_, to + done, bytes - done, static_cast<off_t>(at));
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_io("read", path_, errno);
    }
    if (n == 0) {
      const std::string want = std::to_string(bytes), got = std::to_string(done), from = std::to_string(offset);
      throw Error(Code::model_invalid,
                  path_ + ": expected " + want + " bytes at offset " + from + ", found " + got + " (file cut short)",
                  {{"path", path_}, {"offset", from}, {"expected", want}, {"found", got}});
    }
    done += static_cast<std::size_t>(n);
  }
}

std::string File::identity() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0) fail_io("examine", path_, errno);
  char text[128];
  std::snprintf(text, sizeof text, "%llu:%llu:%lld:%lld.%09ld", static_cast<unsigned long long>(info.st_dev),
                static_cast<unsigned long long>(info.st_ino), static_cast<long long>(info.st_size),
                static_cast<long long>(info.st_mtim.tv_sec), info.st_mtim.tv_nsec);
  return text;
}

FileWriter::FileWriter(const std::string& path) : path_(path) {
  if (path.empty() || path.find('\0') != std::string::npos)
    throw Error(Code::invalid_argument, "expected a file name, found an empty one or one with a zero byte");
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    throw Error(Code::io_error, "cannot write " + path + ": it exists and is not a regular file", {{"path", path}});
  // A file of that name stays whole until finish() replaces it.
  for (int i = 0; descriptor_ < 0; ++i) {
    partial_ = path + ".partial" + std::to_string(i);
    descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && (errno != EEXIST || i == 99)) fail_io("create", partial_, errno);
  }
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void FileWriter::write(const void* data, std::size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(descriptor_, from, bytes);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_io("write", path_, errno);
    }
    from += n;
    bytes -= static_cast<std::size_t>(n);
    position_ += static_cast<std::uint64_t>(n);
  }
}

void FileWriter::finish() {
  if (descriptor_ < 0) return;
  // close() may report a write that a network file system put off.
  int error = ::close(std::exchange(descriptor_, -1)) == 0 ? 0 : errno;
  if (error == 0 && ::rename(partial_.c_str(), path_.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(partial_.c_str());
  fail_io("write", path_, error);
}

// ---- memory --------------------------------------------------------------------------------------------------------

namespace {

constexpr std::size_t page_bytes = 4096;
// The system promises more than it has: touching beyond that ends the process. Smaller amounts do not ask: that takes
// 0.2 ms.
constexpr std::size_t ask_from = std::size_t{32} << 20;

std::size_t page_multiple(std::size_t bytes) { return (bytes + page_bytes - 1) / page_bytes * page_bytes; }

[[noreturn]] void refuse_memory(std::size_t bytes, const std::string& why) {
  throw Error(Code::out_of_memory, "cannot allocate " + std::to_string(bytes) + " bytes: " + why,
              {{"expected", std::to_string(bytes)}, {"available", std::to_string(memory_available())}});
}

// `bytes` (whole pages) of address space that begin at a multiple of `alignment`.
char* map_pages(std::size_t bytes, std::size_t alignment) {
  const std::size_t slack = alignment > page_bytes ? alignment : 0;
  void* const base = ::mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) refuse_memory(bytes, reason(errno));
  char* const begin = static_cast<char*>(base);
  const std::size_t skip = (alignment - reinterpret_cast<std::uintptr_t>(begin) % alignment) % alignment;
  if (skip > 0) ::munmap(begin, skip);
  if (slack > skip) ::munmap(begin + skip + bytes, slack - skip);
  return begin + skip;
}

void touch_pages(char* begin, std::size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (::madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) return;
#endif
  volatile char* const page = begin;
  for (std::size_t i = 0; i < bytes; i += page_bytes) page[i] = page[i];
}

// Has the system hand out the pages now, so that later use cannot fail. On a virtual machine a fresh GiB takes seconds:
// large pieces are shared among a few threads.
void touch(char* begin, std::size_t bytes) {
  constexpr std::size_t per_thread = std::size_t{64} << 20;
  const std::size_t parts =
      std::min<std::size_t>({bytes / per_thread + 1, 4, static_cast<std::size_t>(cpus_available())});
  const std::size_t share = (bytes / parts + huge_page - 1) / huge_page * huge_page;
  std::vector<std::thread> helpers;
  std::size_t at = 0;
  for (; helpers.size() + 1 < parts && at + share < bytes; at += share) {
    try {
      helpers.emplace_back(touch_pages, begin + at, share);
    } catch (const std::system_error&) {
      break;  // no thread to be had: this one does the rest
    }
  }
  touch_pages(begin + at, bytes - at);
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace

Memory::Memory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > SIZE_MAX / 2) refuse_memory(bytes, "more than the address space");
  if (bytes >= ask_from && bytes > memory_available()) refuse_memory(bytes, "more than is available");
  const bool large = bytes >= huge_page;
  const std::size_t wanted = page_multiple(bytes);
  char* const begin = map_pages(wanted, large ? huge_page : page_bytes);
  if (large) ::madvise(begin, wanted, MADV_HUGEPAGE);
  data_ = begin;
  mapped_ = wanted;
  touch(begin, wanted);
}

Memory::~Memory() {
  if (mapped_ > 0) ::munmap(data_, mapped_);
}

Memory::Memory(Memory&& other) noexcept { *this = std::move(other); }

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

namespace {

// Bytes of all reserves that are not touched yet.
std::atomic<std::uint64_t> set_aside{0};

std::uint64_t system_memory(const std::string& root) {
  std::uint64_t kib = 0;
  const std::string info = slurp(root + "/proc/meminfo");
  const bool known = find_number(info, "MemAvailable", &kib) || find_number(info, "MemFree", &kib);
  return std::min(known ? kib * 1024 : UINT64_MAX, cgroup_memory_left(root));
}

}  // namespace

Reserve::Reserve(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > SIZE_MAX / 2) refuse_memory(bytes, "more than the address space");
  if (bytes >= ask_from && bytes > memory_available()) refuse_memory(bytes, "more than is available");
  data_ = map_pages(page_multiple(bytes), huge_page);
  if (bytes >= huge_page) ::madvise(data_, page_multiple(bytes), MADV_HUGEPAGE);
  untouched_ = bytes;
  set_aside += bytes;
}

Reserve::~Reserve() {
  if (data_ == nullptr) return;
  set_aside -= untouched_;
  ::munmap(data_, page_multiple(bytes_));
}

bool Reserve::backed(std::size_t bytes) { return bytes <= system_memory(""); }

void Reserve::touch(std::size_t begin, std::size_t bytes) {
  const std::size_t first = begin / page_bytes * page_bytes;
  touch_pages(data_ + first, page_multiple(begin + bytes - first));
  bytes = std::min(bytes, untouched_);
  untouched_ -= bytes;
  set_aside -= bytes;
}

struct Arena::Chunk {
  explicit Chunk(std::size_t bytes) : begin(map_pages(bytes, huge_page)), mapped(bytes) {}
  ~Chunk() { ::munmap(begin, mapped); }
  char* const begin;
  const std::size_t mapped;
  std::size_t used = 0, advised = 0;
};

Arena::Arena() = default;
Arena::Arena(std::shared_ptr<std::uint8_t> memory, std::size_t bytes)
    : given_(std::move(memory)), given_bytes_(bytes) {}
Arena::~Arena() = default;

std::shared_ptr<std::uint8_t> Arena::allocate(std::size_t bytes) {
  constexpr std::size_t chunk_bytes = std::size_t{128} << 20, line = 64, check_every = std::size_t{32} << 20;
  if (bytes > SIZE_MAX / 2) refuse_memory(bytes, "more than the address space");
  const std::size_t wanted = std::max<std::size_t>(line, (bytes + line - 1) / line * line);
  if (given_) {
    if (wanted > given_bytes_ - total_) refuse_memory(wanted, "more than was set aside");
    std::shared_ptr<std::uint8_t> block(given_, given_.get() + total_);
    total_ += wanted;
    return block;
  }
  // What was allocated before may not be written yet, and then the system still counts it as available.
  if (total_ + wanted - checked_ >= check_every) {
    if (total_ + wanted > memory_available()) refuse_memory(total_ + wanted, "more than is available");
    checked_ = total_ + wanted;
  }
  if (!chunk_ || chunk_->mapped - chunk_->used < wanted)
    chunk_ = std::make_shared<Chunk>(std::max(chunk_bytes, (wanted + huge_page - 1) / huge_page * huge_page));
  Chunk& chunk = *chunk_;
  const std::shared_ptr<std::uint8_t> block(chunk_, reinterpret_cast<std::uint8_t*>(chunk.begin + chunk.used));
  chunk.used += wanted;
  total_ += wanted;
  // Only what is used up to the last byte: a page that is huge and half empty would be lost memory.
  const std::size_t whole = chunk.used / huge_page * huge_page;
  if (whole > chunk.advised) {
    ::madvise(chunk.begin + chunk.advised, whole - chunk.advised, MADV_HUGEPAGE);
    chunk.advised = whole;
  }
  return block;
}

std::uint64_t huge_page_bytes() {
  const std::string rollup = slurp("/proc/self/smaps_rollup");
  std::uint64_t own_kib = 0, shared_kib = 0;
  find_number(rollup, "AnonHugePages", &own_kib);
  find_number(rollup, "ShmemPmdMapped", &shared_kib);
  return (own_kib + shared_kib) * 1024;
}

// ---- limits --------------------------------------------------------------------------------------------------------

std::uint64_t memory_available(const std::string& root) {
  const std::uint64_t there = system_memory(root), taken = root.empty() ? set_aside.load() : 0;
  return there - std::min(there, taken);
}

int cpus_available(const std::string& root) { return std::max(1, std::min(affinity_cpus(), cgroup_cpus(root))); }

std::string cpu_model() {
  std::istringstream lines(slurp("/proc/cpuinfo"));
  std::string implementer, part;
  const auto value = [](const std::string& line) {
    const std::size_t at = line.find_first_not_of(" \t", line.find(':') + 1);
    return at == std::string::npos ? std::string() : line.substr(at);
  };
  for (std::string line; std::getline(lines, line);) {
    if (line.find(':') == std::string::npos) continue;
    if (line.compare(0, 10, "model name") == 0) return value(line);
    if (line.compare(0, 15, "CPU implementer") == 0) implementer = value(line);
    if (line.compare(0, 8, "CPU part") == 0) part = value(line);
  }
  return part.empty() ? "unknown" : "arm64 implementer " + implementer + " part " + part;
}

ArmFeatures arm_features() {
#if defined(__aarch64__)
  const unsigned long caps = ::getauxval(AT_HWCAP);
  constexpr unsigned long int8_matrices = 1ul << 13;  // HWCAP2_I8MM, which older headers lack
  return {(caps & HWCAP_ASIMDDP) != 0, (caps & HWCAP_FPHP) != 0 && (caps & HWCAP_ASIMDHP) != 0,
          (::getauxval(AT_HWCAP2) & int8_matrices) != 0};
#else
  return {};
#endif
}

bool permit_tiles() {
#if defined(__x86_64__)
  constexpr int request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool permitted = ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return permitted;
#else
  return false;
#endif
}

// ---- waiting -------------------------------------------------------------------------------------------------------

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

void park(const std::uint32_t* word, std::uint32_t expected) {
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void unpark(const std::uint32_t* word, int n) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, nullptr, nullptr, 0);
}

// ---- shared objects ------------------------------------------------------------------------------------------------

int current_cpu() { return ::sched_getcpu(); }
int thread_id() {
  thread_local const int id = static_cast<int>(::syscall(SYS_gettid));
  return id;
}

std::uint64_t preemptions() {
  rusage usage{};
  return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_nivcsw) : 0;
}

bool move_away() {
  const CpuSet before = affinity_of(0);
  const int here = current_cpu();
  if (!before.set || here < 0 || !leave_cpus(0, &here, 1)) return false;
  return ::sched_setaffinity(0, before.bytes, before.set.get()) == 0;
}

bool leave_cpus(int like, const int* taken, int count) {
  const CpuSet cpus = affinity_of(like);
  if (!cpus.set) return false;
  for (int i = 0; i < count; ++i)
    if (taken[i] >= 0) CPU_CLR_S(static_cast<std::size_t>(taken[i]), cpus.bytes, cpus.set.get());
  return CPU_COUNT_S(cpus.bytes, cpus.set.get()) > 0 && ::sched_setaffinity(0, cpus.bytes, cpus.set.get()) == 0;
}

// Not std::random_device: a new libstdc++ takes it from a function that older C libraries have not.
std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  if (getentropy(&bits, sizeof bits) != 0)
    throw Error(Code::internal, std::string("the system has no random numbers: ") + std::strerror(errno));
  return bits;
}

const char* environment(const char* name) { return std::getenv(name); }

std::string module_folder() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<const void*>(&module_folder), &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string file = info.dli_fname;
  const std::size_t slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash);
}

void* library_open(const std::string& path, std::string* reason) {
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr && reason != nullptr) {
    const char* why = ::dlerror();
    *reason = why != nullptr ? why : "unknown";
  }
  return handle;
}

void* library_symbol(void* library, const char* name) { return ::dlsym(library, name); }

}  // namespace octavo::os

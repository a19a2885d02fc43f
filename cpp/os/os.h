// Every call to the operating system sits here, so that a port is one file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace octavo::os {

inline constexpr std::size_t huge_page = std::size_t{2} << 20;

// A file opened for reading. Reads are positional and checked: a file cut short under us gives model_invalid, never a
// signal.
class File {
 public:
  // Throws file_not_found, io_error (what the system said), or model_invalid for something that is not a regular file.
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // at opening
  // Exactly `bytes` bytes from `offset` on, or model_invalid naming path, offset, expected and found.
  void read(void* out, std::uint64_t offset, std::size_t bytes) const;
  // Identity for sharing weights: device, inode, size, modification time.
  std::string identity() const;
 private:
  std::string path_;
  std::uint64_t size_ = 0;
  int descriptor_ = -1;
};

// Writes a file in order, under a name beside it (".partial0"); finish() gives it its name, without it nothing stays.
// Throws io_error.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  void write(const void* data, std::size_t bytes);
  std::uint64_t position() const { return position_; }
  void finish();
 private:
  std::string path_, partial_;
  std::uint64_t position_ = 0;
  int descriptor_ = -1;
};

// Zeroed, touched, 64-byte aligned memory, in huge pages where the system grants them. Throws out_of_memory.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0, mapped_ = 0;
};

// Zeroed memory, aligned to huge pages, that is set aside as a whole and handed out bit by bit: what touch() has not
// asked for is not resident yet, but memory_available() of this process counts it as taken. Not for several threads at
// once.
class Reserve {
 public:
  // Throws out_of_memory when there is less than `bytes` today.
  explicit Reserve(std::size_t bytes);
  ~Reserve();
  Reserve(const Reserve&) = delete;
  Reserve& operator=(const Reserve&) = delete;
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  // Whether the system has `bytes` now: others may have taken what was there when this was made.
  static bool backed(std::size_t bytes);
  // Has the system hand out the pages of [begin, begin + bytes), as huge ones where it grants them; contents stay. A
  // part that is written without was touched then. Each part is counted once: touch none twice.
  void touch(std::size_t begin, std::size_t bytes);
 private:
  char* data_ = nullptr;
  std::size_t bytes_ = 0, untouched_ = 0;
};

// Zeroed blocks, 64-byte aligned, side by side: small ones share huge pages too. Pages are taken when they are written
// first, so that threads that fill them also have them handed out. A block lives as long as its pointer. Not for
// several threads at once.
class Arena {
 public:
  Arena();
  // Of zeroed memory that is given, and no more than that.
  Arena(std::shared_ptr<std::uint8_t> memory, std::size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  // Throws out_of_memory when the blocks of this arena are more than is available.
  std::shared_ptr<std::uint8_t> allocate(std::size_t bytes);
  std::size_t used_bytes() const { return total_; }
 private:
  struct Chunk;
  std::shared_ptr<std::uint8_t> given_;
  std::size_t given_bytes_ = 0;
  std::shared_ptr<Chunk> chunk_;
  std::size_t total_ = 0, checked_ = 0;
};

// Bytes of this process's memory that lie in huge pages; 0 where the system does not say.
std::uint64_t huge_page_bytes();

// Bytes this process may still take: the smaller of MemAvailable and what its cgroups have left, less what it set aside
// and has not touched yet (Reserve). root: prefix of /proc and /sys, for tests, which nothing is taken off.
std::uint64_t memory_available(const std::string& root = "");
// CPUs this process may use: affinity mask and cgroup quota (rounded up), at least 1.
int cpus_available(const std::string& root = "");
std::string cpu_model();
// What an arm64 CPU can do, as the kernel says; all false on others.
struct ArmFeatures {
  bool dot_product = false, half_precision = false, int8_matrices = false;
};
ArmFeatures arm_features();
// Whether the threads of this process may use the CPU's matrix registers (AMX); asks the system for it.
bool permit_tiles();
// Pause-loop hint, and parking: wait while *word == expected (spurious returns allowed); wake up to n.
void cpu_relax();
void park(const std::uint32_t* word, std::uint32_t expected);
void unpark(const std::uint32_t* word, int n);

// The CPU and the system's id of the calling thread.
int current_cpu();
int thread_id();
// How often the calling thread lost its CPU to another one.
std::uint64_t preemptions();
// Puts the calling thread on another CPU that it may use, now; where it may run stays as it was. False when there is
// none.
bool move_away();
// Lets the calling thread run where thread `like` may, except on the CPUs taken[0, count). False, and nothing changed,
// when that leaves none.
bool leave_cpus(int like, const int* taken, int count);

// A variable of the environment, or null.
const char* environment(const char* name);
// From the kernel's generator; what nobody outside this process can guess. Throws internal.
std::uint64_t random_bits();
// The folder of the shared object (or program) that this function is linked into; empty when the system does not say.
std::string module_folder();
// Loads a shared object for the rest of the process's life, its symbols visible to nobody else: a handle, or null and
// why.
void* library_open(const std::string& path, std::string* reason);
// Null when there is no such symbol.
void* library_symbol(void* library, const char* name);

}  // namespace octavo::os

#include "os/os_sharing.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "error.h"
#include "os/os.h"

namespace octavo::os {

namespace {

constexpr const char* memory_name = "octavo-weights";
// Numbers of Linux's interface (memfd_create, fcntl, madvise) that older headers lack.
constexpr unsigned memfd_cloexec = 1, memfd_allow_sealing = 2, memfd_noexec_seal = 8;
constexpr int add_seals = 1033, get_seals = 1034;
constexpr int seal_seal = 1, seal_shrink = 2, seal_grow = 4, seal_write = 8;
constexpr int size_seals = seal_shrink | seal_grow, all_seals = size_seals | seal_write | seal_seal;
constexpr int advice_populate_read = 22, advice_collapse = 25;

std::string file_of(int process, int descriptor) {
  return "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor);
}

[[noreturn]] void fail_folder(const std::string& path, const std::string& expected, const std::string& found) {
  throw Error(Code::io_error, path + ": expected " + expected + ", found " + found,
              {{"path", path}, {"expected", expected}, {"found", found}});
}

int create_memory() {
  int fd = static_cast<int>(
      ::syscall(SYS_memfd_create, memory_name, memfd_cloexec | memfd_allow_sealing | memfd_noexec_seal));
  if (fd < 0 && errno == EINVAL)  // Linux before 6.3 does not know the last one
    fd = static_cast<int>(::syscall(SYS_memfd_create, memory_name, memfd_cloexec | memfd_allow_sealing));
  return fd;
}

// A read-only open file of the same memory: on Linux before 6.7 sealed memory is mapped through no other.
int open_read_only(int process, int descriptor) {
  return ::open(file_of(process, descriptor).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

// Refused as well while the system itself has a page in its hands, as for moving it: that is over soon.
bool add_all_seals(int descriptor) {
  constexpr int tries = 5;  // each waits up to a tenth of a second
  for (int i = 0; i < tries; ++i) {
    if (::fcntl(descriptor, add_seals, all_seals) == 0) return true;
    if (errno != EBUSY) return false;
  }
  return false;
}

}  // namespace

SharedMemory::SharedMemory(std::size_t bytes) : bytes_((bytes + huge_page - 1) / huge_page * huge_page) {
  const auto refuse = [&](const char* what) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    if (reservation_) ::munmap(reservation_, reserved_);
    throw Error(Code::out_of_memory,
                "cannot " + std::string(what) + " " + std::to_string(bytes) + " bytes of shared memory: " + reason,
                {{"expected", std::to_string(bytes)}, {"system", reason}});
  };
  descriptor_ = create_memory();
  if (descriptor_ < 0 || ::ftruncate(descriptor_, static_cast<off_t>(bytes_)) != 0 ||
      ::fcntl(descriptor_, add_seals, size_seals) != 0)
    refuse("make");
  if (!map(descriptor_, true)) refuse("map");
}

std::unique_ptr<SharedMemory> SharedMemory::adopt(int process, int descriptor) {
  char target[64];
  const ssize_t length = ::readlink(file_of(process, descriptor).c_str(), target, sizeof target);
  std::string wanted = "/memfd:";
  wanted += memory_name;
  if (length < static_cast<ssize_t>(wanted.size()) || wanted.compare(0, wanted.size(), target, wanted.size()) != 0)
    return nullptr;
  std::unique_ptr<SharedMemory> memory(new SharedMemory);
  memory->descriptor_ = open_read_only(process, descriptor);
  if (memory->descriptor_ < 0) return nullptr;
  struct stat info;
  if (::fstat(memory->descriptor_, &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != ::geteuid() ||
      info.st_size <= 0)
    return nullptr;
  const int seals = ::fcntl(memory->descriptor_, get_seals);
  if (seals < 0 || (seals & all_seals) != all_seals) return nullptr;
  memory->bytes_ = static_cast<std::size_t>(info.st_size);
  return memory->map(memory->descriptor_, false) ? std::move(memory) : nullptr;
}

// At a multiple of a huge page, in address space that is reserved once.
bool SharedMemory::map(int descriptor, bool writable) {
  if (!reservation_) {
    reserved_ = bytes_ + huge_page;
    void* const base = ::mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    reservation_ = base;
    const auto address = reinterpret_cast<std::uintptr_t>(base);
    data_ = static_cast<std::uint8_t*>(base) + (huge_page - address % huge_page) % huge_page;
  }
  const int rights = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  return ::mmap(data_, bytes_, rights, MAP_SHARED | MAP_FIXED, descriptor, 0) != MAP_FAILED;
}

SharedMemory::~SharedMemory() {
  if (reservation_) ::munmap(reservation_, reserved_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool SharedMemory::seal() {
  const int reader = open_read_only(process_id(), descriptor_);
  if (reader < 0) return false;
  // The system refuses the seal as long as there is a writable mapping.
  ::mmap(data_, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  const bool sealed = add_all_seals(descriptor_);
  if (!map(sealed ? reader : descriptor_, !sealed))
    throw Error(Code::out_of_memory, "cannot map shared memory again: " + std::string(std::strerror(errno)), {});
  if (sealed) ::close(std::exchange(descriptor_, reader));
  else ::close(reader);
  return sealed;
}

// Collapsing needs one page to begin with, and with no more than that costs less than taking all of them one by one.
void SharedMemory::use_huge_pages(std::size_t from, std::size_t bytes) const {
  const std::size_t end = std::min(from + bytes, bytes_) / huge_page * huge_page;
  for (std::size_t at = (from + huge_page - 1) / huge_page * huge_page; at < end; at += huge_page) {
    if (::madvise(data_ + at, 4096, advice_populate_read) == 0) ::madvise(data_ + at, huge_page, advice_collapse);
  }
}

bool huge_pages_allowed() {
  const int fd = ::open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[64] = {};
  const ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  return n > 0 && std::strstr(text, "[never]") == nullptr;
}

PrivateFolder::PrivateFolder(std::string path) : path_(std::move(path)) {
  if (path_.empty() || path_.find('\0') != std::string::npos)
    throw Error(Code::invalid_argument, "expected a folder's name, found an empty one or one with a zero byte");
  if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
    fail_folder(path_, "a folder that can be made", std::strerror(errno));
  const int fd = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) fail_folder(path_, "a folder and no link", std::strerror(errno));
  struct stat info;
  const bool known = ::fstat(fd, &info) == 0;
  ::close(fd);
  if (!known) fail_folder(path_, "a folder", "one that cannot be examined");
  if (info.st_uid != ::geteuid())
    fail_folder(path_, "a folder of this user", "user " + std::to_string(info.st_uid) + "'s");
  if ((info.st_mode & 077) != 0) fail_folder(path_, "a folder that only its owner may enter (mode 700)", "others may");
}

std::vector<std::string> PrivateFolder::names() const {
  std::vector<std::string> found;
  DIR* const folder = ::opendir(path_.c_str());
  if (!folder) return found;
  while (const dirent* entry = ::readdir(folder)) found.emplace_back(entry->d_name);
  ::closedir(folder);
  return found;
}

void PrivateFolder::add(const std::string& name) const {
  const int fd = ::open((path_ + "/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0) ::close(fd);
}

void PrivateFolder::remove(const std::string& name) const noexcept { ::unlink((path_ + "/" + name).c_str()); }

std::unique_ptr<PrivateFolder::Lock> PrivateFolder::try_lock(const std::string& name) const {
  const std::string path = path_ + "/" + name;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) fail_folder(path, "a file to lock", std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return std::make_unique<Lock>(fd);
  const int error = errno;
  ::close(fd);
  if (error != EWOULDBLOCK) fail_folder(path, "a file that can be locked", std::strerror(error));
  return nullptr;
}

PrivateFolder::Lock::~Lock() { ::close(descriptor_); }

int process_id() { return static_cast<int>(::getpid()); }

}  // namespace octavo::os

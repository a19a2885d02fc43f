// What of the operating system processes of one user need to share memory: sealed memory files (Linux's memfd), and a
// private folder where they tell each other of them. Whatever another process does, a mapping made here cannot be cut
// short: SharedMemory is sealed against changes of its size before it is mapped.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace octavo::os {

class SharedMemory {
 public:
  // Zeroed memory that this process may write until seal(). Pages are taken when they are written first. Throws
  // out_of_memory.
  explicit SharedMemory(std::size_t bytes);
  // The sealed memory behind an open file of another process, read-only; null unless it is a memory file of this user
  // that nobody can change any more.
  static std::unique_ptr<SharedMemory> adopt(int process, int descriptor);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::uint8_t* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  int descriptor() const { return descriptor_; }  // what other processes adopt
  // Read-only from here on, for everybody and for good; the address stays. Nobody may be writing. False, and still
  // writable, when the system refuses.
  bool seal();
  // Has bytes [from, from + bytes) lie in huge pages where the system can, whether they were written or not. It may
  // fail for pages that other threads write to meanwhile: those stay as they are.
  void use_huge_pages(std::size_t from, std::size_t bytes) const;

 private:
  SharedMemory() = default;
  bool map(int descriptor, bool writable);
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0, reserved_ = 0;
  void* reservation_ = nullptr;
  int descriptor_ = -1;
};
// Whether this system allows huge pages at all.
bool huge_pages_allowed();

// A folder of small files by which processes of one user find each other.
class PrivateFolder {
 public:
  // Makes the folder when it is missing. Throws io_error unless it is a folder (not a link) of this user that nobody
  // else may enter.
  explicit PrivateFolder(std::string path);
  std::vector<std::string> names() const;
  void add(const std::string& name) const;  // an empty file; a failure is ignored
  void remove(const std::string& name) const noexcept;

  // Held by one process, until the object or the process ends.
  class Lock {
   public:
    explicit Lock(int descriptor) : descriptor_(descriptor) {}
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_;
  };
  // Null when another one holds it. Throws io_error.
  std::unique_ptr<Lock> try_lock(const std::string& name) const;

 private:
  std::string path_;
};

int process_id();

}  // namespace octavo::os

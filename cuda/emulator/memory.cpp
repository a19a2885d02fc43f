// Memory of the device: an arena whose first megabyte is the running block's shared memory, the rest global
// allocations, each with its end against a page that cannot be touched. A 16-byte alignment of the end costs up to 15
// bytes of that.
//
// Shared arrays lie apart: dynamic ones at the offset that the kernel gave them, plus a red zone for each before them;
// static ones in the upper half. What lies between them has a pattern that must still be there when the block ends.
#include "emulator/memory.h"

#include <sys/mman.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "emulator/block.h"
#include "emulator/checker.h"

namespace octavo::shim {

namespace {

constexpr std::size_t arena_bytes = std::size_t{1} << 30, page = 4096;
constexpr std::size_t static_window = 512 << 10, static_bytes = 64 << 10, gap = 256, first_shared = 1024;
constexpr unsigned char red = 0xC5, fresh = 0xFF;
constexpr std::size_t most_arrays = 64;

char* arena = nullptr;
std::size_t top = shared_window_bytes;
std::size_t static_top = 0;
bool clean = false;  // shared memory is red but for the arrays of the block that ran last

std::map<char*, Allocation>& allocations() {
  static std::map<char*, Allocation> all;
  return all;
}

void open_arena() {
  if (arena != nullptr) return;
  void* const map = mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED || mprotect(map, shared_window_bytes, PROT_READ | PROT_WRITE) != 0) {
    std::perror("emulator: memory of the device");
    std::abort();
  }
  arena = static_cast<char*>(map);
}

std::size_t whole(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

std::size_t dynamic_end() { return first_shared + block.shared_bytes + most_arrays * gap; }

// An array of the running block: the first thread that asks for it makes it.
void* take(const void* key, char* begin, std::size_t bytes) {
  for (const SharedArray& array : block.arrays)
    if (array.key == key && array.begin == begin) return begin;
  std::memset(begin, fresh, bytes);
  block.arrays.push_back({key, begin, bytes});
  make_live(begin, bytes);
  return begin;
}

}  // namespace

bool is_device(const void* address) { return device_offset(address) < arena_bytes; }
bool is_shared(const void* address) { return device_offset(address) < shared_window_bytes; }
std::size_t device_offset(const void* address) {
  return arena == nullptr ? ~std::size_t{0} : static_cast<std::size_t>(static_cast<const char*>(address) - arena);
}

const Allocation* allocation_before(const void* address) {
  const auto it = allocations().upper_bound(static_cast<char*>(const_cast<void*>(address)));
  return it == allocations().begin() ? nullptr : &std::prev(it)->second;
}

void* allocate(std::size_t bytes, const char* name) {
  open_arena();
  const std::size_t pages = whole(bytes == 0 ? 1 : bytes, page);
  if (top + pages + 2 * page > arena_bytes) throw std::bad_alloc();
  char* const base = arena + top + page;
  top += pages + page;
  mprotect(base, pages, PROT_READ | PROT_WRITE);
  char* const begin = base + pages - whole(bytes, 16);
  std::memset(base, red, pages);
  std::memset(begin, fresh, bytes);
  allocations()[begin] = {begin, base, bytes, pages, name};
  make_live(begin, bytes);
  return begin;
}

void release(void* address) {
  const auto it = allocations().find(static_cast<char*>(address));
  if (it == allocations().end()) {
    report("release", address, nullptr, "release of %p, which was not allocated", address);
    return;
  }
  const Allocation& a = it->second;
  bool whole_zone = true;
  for (const char* p = a.base; p < a.base + a.pages; ++p)
    if ((p < a.begin || p >= a.begin + a.bytes) && static_cast<unsigned char>(*p) != red) whole_zone = false;
  if (!whole_zone) report("out-of-bounds", address, nullptr, "something was written beside '%s'", a.name.c_str());
  forget(a.begin, a.bytes);
  madvise(a.base, a.pages, MADV_DONTNEED);
  mprotect(a.base, a.pages, PROT_NONE);
  allocations().erase(it);
  if (allocations().empty()) top = shared_window_bytes;
}

// Of a block that wrote elsewhere, or did not come to its end, nothing is known: then all of it.
void begin_shared() {
  open_arena();
  static_top = static_window;
  const auto paint = [](char* begin, std::size_t bytes) {
    std::memset(begin, red, bytes);
    forget(begin, bytes);
  };
  if (clean)
    for (const SharedArray& array : block.arrays) paint(array.begin, array.bytes);
  else
    paint(arena, static_window + static_bytes);
  block.arrays.clear();
  clean = false;
}

// What no array owns must be as it was.
void check_shared() {
  std::sort(block.arrays.begin(), block.arrays.end(),
            [](const SharedArray& a, const SharedArray& b) { return a.begin < b.begin; });
  clean = true;
  const auto look = [](const char* begin, const char* end) {
    if (begin >= end) return;
    // All of them are the first one.
    if (static_cast<unsigned char>(*begin) == red &&
        std::memcmp(begin, begin + 1, static_cast<std::size_t>(end - begin) - 1) == 0)
      return;
    report("out-of-bounds", block.kernel, nullptr, "%s wrote behind a shared array", block.kernel->name);
    clean = false;
  };
  for (const auto& [first, end] : {std::pair{arena, arena + dynamic_end()},
                                   std::pair{arena + static_window, arena + static_window + static_bytes}}) {
    const char* from = first;
    for (const SharedArray& a : block.arrays) {
      if (a.begin < first || a.begin >= end) continue;
      look(from, a.begin);
      from = a.begin + a.bytes;
    }
    look(from, end);
  }
}

void* take_dynamic(std::size_t offset, int index, std::size_t bytes) {
  const void* const site = __builtin_return_address(0);
  if (offset + bytes > block.shared_bytes) {
    report("shared-memory", site, nullptr, "%zu bytes at %zu, but the launch gave %u bytes of dynamic shared memory",
           bytes, offset, block.shared_bytes);
    end_launch();
  }
  char* const begin = arena + first_shared + offset + static_cast<std::size_t>(index) * gap;
  return take(nullptr, begin, bytes);
}

void* take_static(const void* key, std::size_t bytes, std::size_t alignment) {
  for (const SharedArray& array : block.arrays)
    if (array.key == key) return array.begin;
  static_top = whole(static_top, alignment);
  char* const begin = arena + static_top;
  static_top = whole(static_top + bytes, 16) + gap;
  if (static_top - static_window > (std::size_t{48} << 10)) {
    report("shared-memory", key, nullptr, "more than 48 KB of static shared memory");
    end_launch();
  }
  return take(key, begin, bytes);
}

}  // namespace octavo::shim

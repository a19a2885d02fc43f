// Asynchronous copies (cp.async): groups of a thread, whose bytes arrive at its wait, at once, or by chance; and
// atomics.
#include "emulator/block.h"
#include "emulator/checker.h"
#include "emulator/memory.h"

namespace octavo::shim {

namespace {

void land(Copy& copy) {
  if (copy.done) return;
  std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.source_bytes));
  std::memset(copy.to + copy.source_bytes, 0, static_cast<std::size_t>(copy.bytes - copy.source_bytes));
  copy.done = true;
}

void finish_oldest(Fiber& fiber) {
  for (Copy& copy : fiber.committed.front()) {
    land(copy);
    copy_landed(copy.to, static_cast<std::size_t>(copy.bytes), fiber.thread);
  }
  fiber.committed.erase(fiber.committed.begin());
}

}  // namespace

void copy_async(void* shared, const void* global, int bytes, int source_bytes) {
  const void* const site = __builtin_return_address(0);
  const auto misaligned = [bytes](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % static_cast<unsigned>(bytes) != 0;
  };
  if (misaligned(shared) || (source_bytes > 0 && misaligned(global))) {
    report("misaligned", site, nullptr, "copy of %d bytes, %p to %p, at %s", bytes, global, shared,
           source_line(site).c_str());
    end_launch();
  }
  if (!is_shared(shared) || (source_bytes > 0 && (is_shared(global) || !is_device(global)))) {
    report("copy", site, nullptr, "an asynchronous copy goes from global to shared memory, not %p to %p, at %s", global,
           shared, source_line(site).c_str());
    end_launch();
  }
  check_copy(static_cast<char*>(shared), static_cast<const char*>(global), static_cast<std::size_t>(bytes),
             static_cast<std::size_t>(source_bytes), site);
  counters().copied_bytes += static_cast<std::uint64_t>(source_bytes);
  running->open.push_back(
      {static_cast<char*>(shared), static_cast<const char*>(global), bytes, source_bytes, site, false});
  const Landing landing = options().landing;
  if (landing == Landing::early || (landing == Landing::random && random_bits() % 2 != 0)) land(running->open.back());
}

void copies_commit() {
  running->committed.push_back(std::move(running->open));
  running->open.clear();
}

void copies_wait(int most_in_flight) {
  while (static_cast<int>(running->committed.size()) > most_in_flight) finish_oldest(*running);
}

void finish_copies(Fiber& fiber) {
  bool any = !fiber.open.empty();
  for (const auto& group : fiber.committed) any = any || !group.empty();
  if (any) report("copy", block.kernel, nullptr, "a thread ends with copies that it never waited for");
  fiber.committed.push_back(std::move(fiber.open));
  while (!fiber.committed.empty()) finish_oldest(fiber);
}

void atomic(void* address, std::size_t bytes, void (*change)(void*, void*), void* context) {
  check_atomic(static_cast<char*>(address), bytes, __builtin_return_address(0));
  change(address, context);
}

}  // namespace octavo::shim

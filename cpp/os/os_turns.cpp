#include "os/os_turns.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace octavo::os {

namespace {

// Of sched_setattr(2); the C library has neither the calls nor the structure.
struct SchedulingAttributes {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t turn_ns, deadline_ns, period_ns;  // turn_ns of ordinary threads: 0 where they have no such setting
};

// A thread that wakes up is let in at once for the first three quarters of a turn.
constexpr std::uint64_t times_the_usual = 4, longest_ns = 20'000'000;

}  // namespace

bool take_long_turns() {
  SchedulingAttributes attributes{};
  constexpr unsigned size = sizeof attributes;
  if (::syscall(SYS_sched_getattr, 0, &attributes, size, 0u) != 0) return false;
  if (attributes.policy != SCHED_OTHER || attributes.turn_ns == 0) return false;
  // Threads that a thread starts take turns like its own: what is usual is what the first one had.
  static const std::uint64_t usual_ns = attributes.turn_ns;
  attributes.size = size;
  attributes.turn_ns = std::min(times_the_usual * usual_ns, longest_ns);
  return ::syscall(SYS_sched_setattr, 0, &attributes, 0u) == 0;
}

}  // namespace octavo::os

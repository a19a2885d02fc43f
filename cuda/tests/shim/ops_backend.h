// A Backend whose operations are launches on the emulated device, one after the other: what it is given is copied
// there, what comes out is copied back, so tests hold it against the reference as they do any backend. Linear and
// what it needs are the reference's. Schedules take turns; a finding of the emulator is a failed check.
#pragma once
#include <functional>
#include <memory>

#include "backend.h"

namespace octavo::testing {

// multiprocessors: of the device that attention is planned for.
std::unique_ptr<Backend> make_ops_backend(int multiprocessors = 4);
// One for all tests that hold no device of another kind.
inline Backend& device() {
  static const std::unique_ptr<Backend> backend = make_ops_backend();
  return *backend;
}

// Where the emulator's checker looks on and every case is asked for: `body` in each of the emulator's schedules, given
// by its number. Otherwise once, -1, while schedules take turns.
void in_schedules(const std::function<void(int schedule)>& body);

}  // namespace octavo::testing

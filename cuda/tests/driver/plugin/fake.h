// The driver of our own in this process: loaded before the plugin asks for libcuda.so.1, and steered by its symbols.
#pragma once
#include "fake/control.h"

namespace octavo::testing {

struct FakeDriver {
  void (*configure)(const char* settings);
  void (*read)(octavo_fake_report* out);
  void (*reset)();
};
const FakeDriver& fake();
octavo_fake_report report();

// What the fake plays while this lives; afterwards it is as it was.
class Played {
 public:
  explicit Played(const char* settings);
  ~Played();
};

}  // namespace octavo::testing

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

// What is left of work that was done since this was made. Other tests hold a device open; that comes beneath.
struct Left {
  octavo_fake_report before = report();
  bool nothing() const {
    const octavo_fake_report now = report();
    return now.live_objects == before.live_objects && now.live_device == before.live_device &&
           now.live_host == before.live_host;
  }
};

// What the fake plays while this lives; afterwards it is as it was.
class Played {
 public:
  explicit Played(const char* settings);
  ~Played();
};

}  // namespace octavo::testing

#include "fake.h"

#include <dlfcn.h>
#include <doctest.h>

#include <stdexcept>

#include "cuda/cuda_backend.h"
#include "ops_backend.h"

namespace octavo::testing {

namespace {
FakeDriver load() {
  // A library of this name is there already when the plugin asks for it.
  void* library = dlopen(OCTAVO_FAKE_LIBRARY, RTLD_NOW | RTLD_GLOBAL);
  if (!library) throw std::runtime_error(dlerror());
  FakeDriver f;
  f.configure = reinterpret_cast<decltype(f.configure)>(dlsym(library, "octavo_fake_configure"));
  f.read = reinterpret_cast<decltype(f.read)>(dlsym(library, "octavo_fake_read"));
  f.reset = reinterpret_cast<decltype(f.reset)>(dlsym(library, "octavo_fake_reset"));
  f.configure("order=1");
  return f;
}
constexpr const char* as_it_was =
    "devices=1 capability=9.0 memory=85899345920 name=Fake_GPU multiprocessors=8 driver=13000 rules=abort order=1";
}  // namespace

const FakeDriver& fake() {
  static const FakeDriver f = load();
  return f;
}
octavo_fake_report report() {
  octavo_fake_report out;
  fake().read(&out);
  return out;
}

Played::Played(const char* settings) { fake().configure(settings); }
Played::~Played() {
  fake().reset();
  fake().configure(as_it_was);
}

void in_schedules(const std::function<void(int)>& body) { body(-1); }

// The tests of operations on the emulator run on the plugin as they are.
std::unique_ptr<Backend> make_ops_backend(int) {
  fake();
  return make_cuda_backend(0);
}

}  // namespace octavo::testing

// Those tests take fewer cases where the emulator's checker looks on; here it never does.
namespace octavo::shim {
bool checked() { return false; }
}  // namespace octavo::shim

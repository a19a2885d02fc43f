// See self_check.h.
#include "cuda/self_check.h"

#include <bit>
#include <cstdio>
#include <mutex>
#include <set>
#include <string>

#include "cuda/self_check_cases.h"
#include "error.h"
#include "os/os.h"

namespace octavo::cuda {

namespace {

std::string number(float x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g (%08x)", static_cast<double>(x), std::bit_cast<std::uint32_t>(x));
  return text;
}

[[noreturn]] void refuse(const std::string& where, const std::string& expected, const std::string& found) {
  throw Error(Code::device_unavailable,
              "the CUDA device computes other numbers than the specification: " + where + ": expected " + expected +
                  ", found " + found,
              {{"where", where}, {"expected", expected}, {"found", found}});
}

void compare(const Result& expected, const Result& found) {
  if (expected.values.size() != found.values.size())
    refuse(expected.of, std::to_string(expected.values.size()) + " results", std::to_string(found.values.size()));
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const float right = expected.values[i], made = found.values[i];
    if (std::bit_cast<std::uint32_t>(right) == std::bit_cast<std::uint32_t>(made)) continue;
    const auto width = static_cast<std::size_t>(expected.width);
    refuse(expected.of + ", row " + std::to_string(i / width) + ", column " + std::to_string(i % width), number(right),
           number(made));
  }
}

// Of all devices of this process. Loads that come together wait for each other here.
struct Passed {
  std::mutex mutex;
  std::set<std::string> keys;
};
Passed& passed() {
  static Passed* const all = new Passed;  // never destroyed: threads may still load while the process exits
  return *all;
}

bool is_off() {
  const char* const setting = os::environment("OCTAVO_CUDA_SELF_CHECK");
  return setting != nullptr && std::string(setting) == "off";
}

}  // namespace

void self_check(Backend& backend, int index, const ModelUse& use) {
  if (is_off()) return;
  const std::unique_ptr<Backend> reference = make_reference_backend();
  Passed& known = passed();
  const std::lock_guard lock(known.mutex);
  for (const Check& check : checks_of(use)) {
    const std::string key = std::to_string(index) + ' ' + check.key;
    if (known.keys.contains(key)) continue;
    const Results expected = check.run(*reference), found = check.run(backend);
    for (std::size_t i = 0; i < expected.size(); ++i) compare(expected[i], found[i]);
    known.keys.insert(key);
  }
}

}  // namespace octavo::cuda

// What a device is asked to compute of itself (self_check.h), as data: each check runs the same operations on the same
// numbers on whatever backend it is given. Small, with tails of everything that kernels cut: a check is a few launches.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "backend.h"
#include "device_steps.h"

namespace octavo::cuda {

struct Result {
  std::string of;
  int width;  // of a row
  std::vector<float> values;
};
using Results = std::vector<Result>;
struct Check {
  std::string key;  // everything that kernels, or how they are launched, may differ by
  std::function<Results(Backend&)> run;
};

// For all that a model asks for; `use` outlives them.
std::vector<Check> checks_of(const ModelUse& use);

}  // namespace octavo::cuda

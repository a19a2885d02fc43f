// See limits.h.
#include "limits.h"

namespace octavo::cuda {

Limits limits_of(int capability) {
  for (const Limits& row : limits_table) {
    if (row.capability == capability) return row;
  }
  // Not known: what every device since 8.0 can do.
  Limits least = limits_table[1];
  least.capability = capability;
  return least;
}

std::string broken_limit(const Launch& launch, const Limits& limits, unsigned static_shared) {
  const auto text = [&](const std::string& what) { return std::string(launch.kernel) + ": " + what; };
  const auto three = [](const unsigned(&n)[3]) {
    return std::to_string(n[0]) + " x " + std::to_string(n[1]) + " x " + std::to_string(n[2]);
  };
  for (int k = 0; k < 3; ++k) {
    if (launch.grid[k] == 0 || launch.grid[k] > limits.grid[k]) return text("a grid of " + three(launch.grid));
    if (launch.block[k] == 0 || launch.block[k] > (k == 2 ? 64u : limits.threads))
      return text("a block of " + three(launch.block));
  }
  const std::uint64_t threads = static_cast<std::uint64_t>(launch.block[0]) * launch.block[1] * launch.block[2];
  if (threads > limits.threads) return text("a block of " + std::to_string(threads) + " threads");
  const std::uint64_t shared = static_cast<std::uint64_t>(launch.shared) + static_shared;
  if (shared > limits.shared_bytes) {
    return text(std::to_string(shared) + " bytes of shared memory, a device of capability " +
                std::to_string(limits.capability / 10) + "." + std::to_string(limits.capability % 10) + " has " +
                std::to_string(limits.shared_bytes));
  }
  if (launch.params_bytes > most_params_bytes)
    return text(std::to_string(launch.params_bytes) + " bytes of parameters");
  return "";
}

}  // namespace octavo::cuda

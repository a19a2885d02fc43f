// What this device is and gives: its limits beside the table that launches are held against, what the probe's kernels need
// of it, R (a read-only stream of 1 GB) and C (a device copy). Speeds elsewhere are shares of these.
#include "card.h"
#include "commands.h"
#include "host/limits.h"
#include "params_probe.h"
#include "report.h"

namespace octavo::bench {

int run_limits() {
  Card card(0);
  const int capability = card.capability();
  const cuda::Limits table = cuda::limits_of(capability);
  const auto shared = static_cast<unsigned>(card.attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  const auto threads = static_cast<unsigned>(card.attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK));
  say(card.name() + ", capability " + std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
      ", driver " + std::to_string(cuda::driver().version));
  figure("device.capability", capability, "");
  figure("device.multiprocessors", card.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), "");
  if (shared < table.shared_bytes || threads < table.threads)
    fail("the table of limits promises " + std::to_string(table.shared_bytes) + " bytes of shared memory and " +
         std::to_string(table.threads) + " threads, the device has " + std::to_string(shared) + " and " +
         std::to_string(threads));
  figure("device.sharedBytes", shared, "bytes a block");

  const std::size_t bytes = options.tiny ? std::size_t{1} << 16 : std::size_t{1} << 30;
  const CUdeviceptr from = card.allocate(bytes), to = card.allocate(bytes);
  const std::vector<char> zeros(options.tiny ? bytes : std::size_t{64} << 20);
  for (std::size_t at = 0; at < bytes; at += zeros.size()) card.upload(from + at, zeros.data(), zeros.size());
  double best = 0;
  for (const unsigned blocks : {8u, 16u, 32u}) {
    const unsigned grid = blocks * static_cast<unsigned>(card.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
    const cuda::Launch read =
        cuda::make_launch("octavo_probe_read", {grid}, {256}, 0,
                          ProbeParams{reinterpret_cast<unsigned*>(to), reinterpret_cast<const unsigned*>(from),
                                      static_cast<long long>(bytes / 16), 1});
    best = std::max(best, static_cast<double>(bytes) / card.seconds(read, options.tiny ? 1 : 4));
    if (options.tiny) break;
  }
  figure("limit.read", best / 1e9, "GB/s");
  const double copy = card.copy_seconds(to, from, bytes, options.tiny ? 1 : 4);
  figure("limit.copy", 2 * static_cast<double>(bytes) / copy / 1e9, "GB/s, both ways");
  return 0;
}

}  // namespace octavo::bench

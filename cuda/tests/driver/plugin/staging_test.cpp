// Transfers that are larger than the pinned memory they go through: halves are filled again and again while copies out of
// them are under way.
#include <doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_loader.h"
#include "fake.h"
#include "tests/random_data.h"

using namespace octavo;
using namespace octavo::testing;

TEST_CASE("plugin: transfers larger than the staging memory, in pieces of any size") {
  fake();
  std::string reason;
  const octavo_cuda_api* const api = cuda_api(&reason);
  REQUIRE_MESSAGE(api != nullptr, reason);
  octavo_cuda_message message = {};
  octavo_cuda_options options = {};
  options.staging_bytes = 2048;
  octavo_cuda_context* context = nullptr;
  REQUIRE(api->open(0, &options, &context, &message) == 0);
  Rng rng(77);
  const std::size_t bytes = 20000;
  std::uint64_t device = 0;
  REQUIRE(api->allocate(context, OCTAVO_CUDA_SCRATCH, bytes, &device, &message) == 0);
  std::vector<std::uint8_t> sent(bytes), found(bytes);
  for (std::uint8_t& b : sent) b = static_cast<std::uint8_t>(rng.below(256));
  for (std::size_t at = 0, now; at < bytes; at += now) {
    now = std::min(bytes - at, static_cast<std::size_t>(rng.between(1, 5000)));
    CHECK(api->upload(context, device + at, &sent[at], now, &message) == 0);
  }
  CHECK(api->download(context, found.data(), device, bytes, &message) == 0);
  CHECK(found == sent);
  api->release(context, device);
  api->close(context);
}

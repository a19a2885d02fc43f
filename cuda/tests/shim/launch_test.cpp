// A launch is a copy of what it was made of: sizes in their order, the parameter's bytes.
#include "ops/launch.h"

#include <string>

#include <doctest.h>

namespace {

struct PairParams {
  long long first;
  float second;
};

}  // namespace

TEST_CASE("a launch holds sizes and the bytes of its parameter") {
  const PairParams params{7, 0.5f};
  const octavo::cuda::Launch launch = octavo::cuda::make_launch("octavo_pair", {2, 3, 4}, {32, 2, 1}, 128, params);
  CHECK(std::string(launch.kernel) == "octavo_pair");
  for (unsigned i = 0; i < 3; ++i) CHECK(launch.grid[i] == i + 2);
  CHECK(launch.block[0] == 32);
  CHECK(launch.block[1] == 2);
  CHECK(launch.shared == 128);
  REQUIRE(launch.params_bytes == sizeof(PairParams));
  PairParams back;
  std::memcpy(&back, launch.params, sizeof(back));
  CHECK(back.first == params.first);
  CHECK(back.second == params.second);
}

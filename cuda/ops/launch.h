// One kernel launch as data. An operation (cuda/ops) is a pure function of shapes and device properties that appends
// launches to a vector; whoever owns the device carries them out, in order, on one stream: the plugin through the
// driver, the tests through the emulator (cuda/emulator) or the PTX interpreter.
#pragma once
#include <cstring>
#include <type_traits>
#include <vector>

namespace octavo::cuda {

struct Size3 {
  unsigned x = 1, y = 1, z = 1;
};

// Bytes of a kernel's one parameter. The driver takes 4,096; what is kept by the thousand is smaller.
inline constexpr unsigned most_params_bytes = 1024;

struct Launch {
  const char* kernel;  // its extern "C" name; a string that outlives the launch
  unsigned grid[3], block[3];
  unsigned shared;  // bytes of dynamic shared memory
  alignas(16) unsigned char params[most_params_bytes];
  unsigned params_bytes;
};

using Launches = std::vector<Launch>;

template <class Params>
Launch make_launch(const char* kernel, Size3 grid, Size3 block, unsigned shared, const Params& params) {
  static_assert(std::is_trivially_copyable_v<Params> && std::is_standard_layout_v<Params>);
  static_assert(sizeof(Params) <= most_params_bytes && alignof(Params) <= 16);
  Launch launch;
  launch.kernel = kernel;
  const unsigned sizes[6] = {grid.x, grid.y, grid.z, block.x, block.y, block.z};
  std::memcpy(launch.grid, sizes, sizeof(launch.grid));
  std::memcpy(launch.block, sizes + 3, sizeof(launch.block));
  launch.shared = shared;
  std::memcpy(launch.params, &params, sizeof(Params));
  launch.params_bytes = sizeof(Params);
  return launch;
}

}  // namespace octavo::cuda

// The emulator as a test sees it: memory of the device, launches by name, what was found. One device a process, used by
// one thread.
//
// A launch runs its blocks one after the other, each thread a fiber; options say in which order and when copies in
// flight land. What breaks a rule of CUDA is a Finding: always those that show by themselves (deadlock, divergence,
// misuse, a write behind an array); in a build whose kernels were compiled with -fsanitize=thread also what no result
// need show (checker.h). A launch ends where it cannot go on.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ops/launch.h"

namespace octavo::shim {

// When the bytes of an asynchronous copy arrive: at its wait, at once, or by chance one or the other.
enum class Landing { late, early, random };

struct Options {
  std::uint64_t seed = 1;  // of the order of blocks and threads; 0: as they are numbered
  Landing landing = Landing::late;
  bool traffic = false;  // count what accesses cost (traffic.h)
};
Options& options();

// ---- memory of the device -------------------------------------------------------------------------------------
// Its end, rounded up to 16 bytes, lies against a page that cannot be touched. All bytes are 0xFF, and none counts as
// written.
void* allocate(std::size_t bytes, const char* name);
void release(void* begin);
// As if the host had copied to it.
void mark_written(void* begin, std::size_t bytes);

// ---- launches -------------------------------------------------------------------------------------------------
void run(const cuda::Launch& launch);
void run(const cuda::Launches& launches);
// Names of the kernels in this program.
std::vector<std::string> kernel_names();

// ---- what was found -------------------------------------------------------------------------------------------
struct Finding {
  std::string kind, text;
};
const std::vector<Finding>& findings();
void clear_findings();
// Whether the kernels report their accesses: a build for the checker.
bool checked();

// Since the last reset; counts of all launches.
struct Counters {
  std::uint64_t launches = 0, matrix_products = 0, barriers = 0, warp_exchanges = 0, copied_bytes = 0, switches = 0;
};
Counters& counters();

// Of accesses to memory, where options().traffic asks for it. A request is an instruction of a warp.
struct GlobalTraffic {
  std::uint64_t requests = 0, sectors = 0, bytes = 0;
};
struct SharedTraffic {
  std::uint64_t requests = 0, wavefronts = 0, least_wavefronts = 0;  // least: without conflicts of banks
};
struct Traffic {
  GlobalTraffic loads, stores;
  SharedTraffic shared;
};
Traffic& traffic();
// The same, by the name of the kernel.
std::map<std::string, Traffic>& kernel_traffic();

}  // namespace octavo::shim

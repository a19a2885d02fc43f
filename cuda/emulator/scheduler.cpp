// Launches: the blocks one after the other, the threads of a block by turns, in the order that the seed gives.
#include <ucontext.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <algorithm>
#include <stdexcept>

#include "emulator/block.h"
#include "emulator/checker.h"
#include "emulator/fiber.h"
#include "emulator/traffic.h"

namespace octavo::shim {

ThreadIndices* current = nullptr;
Block block;
Fiber* running = nullptr;

namespace {

Stacks stacks;
void* scheduler_stack = nullptr;
std::uint64_t random_state = 1;
alignas(16) unsigned char parameters[cuda::most_params_bytes];  // of the launch that runs

std::vector<const Kernel*>& kernels() {
  static std::vector<const Kernel*> all;
  return all;
}

void to_scheduler() {
  Fiber* const me = running;
  switch_stack(&me->stack, scheduler_stack);
}

[[noreturn]] void exit_fiber() {
  running->state = State::done;
  to_scheduler();
  __builtin_unreachable();
}

void enter_fiber() {
  block.kernel->body(parameters);
  finish_copies(*running);
  ++block.exited;
  exit_fiber();
}

// A wild access becomes a finding: the fiber goes on in end_launch.
void on_bad_access(int signal, siginfo_t* info, void* opaque) {
  if (running == nullptr) {
    std::signal(signal, SIG_DFL);
    return;
  }
  auto* const context = static_cast<ucontext_t*>(opaque);
  auto& registers = context->uc_mcontext.gregs;
  report("out-of-bounds", reinterpret_cast<const void*>(registers[REG_RIP]), nullptr,
         "access to %p, which is no memory, at %s", info->si_addr,
         source_line(reinterpret_cast<const void*>(registers[REG_RIP] + 1)).c_str());
  registers[REG_RSP] = ((registers[REG_RSP] - 1024) & ~15ll) - 8;
  registers[REG_RIP] = reinterpret_cast<greg_t>(&end_launch);
}

// For the time of a launch: test frameworks have handlers of their own.
class AccessHandler {
 public:
  AccessHandler() {
    stack_t own{};
    own.ss_sp = stack_;
    own.ss_size = sizeof(stack_);
    sigaltstack(&own, &stack_before_);
    struct sigaction action {};
    action.sa_sigaction = on_bad_access;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_);
  }
  ~AccessHandler() {
    sigaction(SIGSEGV, &before_, nullptr);
    sigaltstack(&stack_before_, nullptr);
  }

 private:
  alignas(16) static inline char stack_[1 << 16];
  stack_t stack_before_;
  struct sigaction before_;
};

void start_threads(const cuda::Launch& launch) {
  const unsigned* const size = launch.block;
  for (int t = 0; t < block.threads; ++t) {
    Fiber& f = block.fibers[static_cast<std::size_t>(t)];
    const unsigned u = static_cast<unsigned>(t);
    f.indices = {{u % size[0], u / size[0] % size[1], u / (size[0] * size[1])},
                 block.index,
                 {size[0], size[1], size[2]},
                 {launch.grid[0], launch.grid[1], launch.grid[2]}};
    f.stack = stacks.prepare(static_cast<std::size_t>(t), enter_fiber);
    f.thread = t;
    f.warp = t / 32;
    f.lane = t % 32;
    f.state = State::ready;
    f.waits_in = nullptr;
    f.site = nullptr;
    f.open.clear();
    f.committed.clear();
    f.accesses.clear();
    block.ready.push_back(t);
  }
}

int next_ready() {
  const std::size_t i = options().seed == 0 ? 0 : random_bits() % block.ready.size();
  const int thread = block.ready[i];
  if (options().seed == 0) {
    block.ready.erase(block.ready.begin());
  } else {
    block.ready[i] = block.ready.back();
    block.ready.pop_back();
  }
  return thread;
}

void run_block(const cuda::Launch& launch) {
  block.barriers.clear();
  block.ready.clear();
  block.exited = 0;
  for (auto& of_warp : block.meetings) of_warp.clear();
  begin_shared();
  begin_checked_block(block.threads);
  start_threads(launch);
  while (!block.ready.empty() && !block.ended) {
    running = &block.fibers[static_cast<std::size_t>(next_ready())];
    current = &running->indices;
    ++counters().switches;
    switch_stack(&scheduler_stack, running->stack);
  }
  if (!block.ended && block.exited < block.threads) {
    for (Fiber& f : block.fibers)
      if (f.state != State::done) running = &f;
    report("deadlock", running->site, nullptr, "%d of %d threads ended, the others wait: thread %d in %s at %s",
           block.exited, block.threads, running->thread, running->waits_in, source_line(running->site).c_str());
    block.ended = true;
  }
  running = nullptr;
  current = nullptr;
  for (int warp = 0; warp * 32 < block.threads; ++warp) flush_accesses(warp, ~0u);
  if (!block.ended) check_shared();
}

const Kernel& find_kernel(const cuda::Launch& launch) {
  for (const Kernel* kernel : kernels()) {
    if (std::strcmp(kernel->name, launch.kernel) != 0) continue;
    if (kernel->params_bytes != launch.params_bytes)
      throw std::invalid_argument(std::string(kernel->name) + " takes " + std::to_string(kernel->params_bytes) +
                                  " bytes, the launch has " + std::to_string(launch.params_bytes));
    return *kernel;
  }
  throw std::invalid_argument(std::string("no kernel has the name ") + launch.kernel);
}

// What every device refuses. What one device refuses is a table of the plugin's.
void check_sizes(const Kernel& kernel, const cuda::Launch& launch) {
  const auto product = [](const unsigned(&s)[3]) { return static_cast<unsigned long long>(s[0]) * s[1] * s[2]; };
  const unsigned long long threads = product(launch.block);
  const bool fits = product(launch.grid) > 0 && threads > 0 && threads <= kernel.bounds.threads &&
                    launch.grid[1] <= 65535 && launch.grid[2] <= 65535 && launch.shared <= 227 * 1024;
  if (fits) return;
  char text[200];
  std::snprintf(text, sizeof(text), "%s: grid %u x %u x %u, block %u x %u x %u (bound %u), %u bytes shared",
                kernel.name, launch.grid[0], launch.grid[1], launch.grid[2], launch.block[0], launch.block[1],
                launch.block[2], kernel.bounds.threads, launch.shared);
  throw std::invalid_argument(text);
}

std::vector<std::size_t> block_order(std::size_t count) {
  std::vector<std::size_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  if (options().seed != 0)
    for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random_bits() % i]);
  return order;
}

}  // namespace

Kernel::Kernel(const char* name, unsigned params_bytes, LaunchBounds bounds, void (*body)(const void*))
    : name(name), params_bytes(params_bytes), bounds(bounds), body(body) {
  kernels().push_back(this);
}

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const Kernel* kernel : kernels()) names.push_back(kernel->name);
  std::sort(names.begin(), names.end());
  return names;
}

std::uint64_t random_bits() {  // xorshift64*
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (random_state * 0x2545F4914F6CDD1Dull) >> 16;
}
void seed_random(std::uint64_t seed) { random_state = seed * 0x9E3779B97F4A7C15ull + 1; }

void wait_in(const char* what, const void* site) {
  running->state = State::waits;
  running->waits_in = what;
  running->site = site;
  to_scheduler();
}

void wake(int thread) {
  Fiber& f = block.fibers[static_cast<std::size_t>(thread)];
  if (f.state != State::waits) return;
  f.state = State::ready;
  block.ready.push_back(thread);
}

void end_launch() {
  block.ended = true;
  exit_fiber();
}

void trap() {
  report("trap", __builtin_return_address(0), nullptr, "__trap at %s",
         source_line(__builtin_return_address(0)).c_str());
  end_launch();
}

bool is_parameter(const void* address) { return address >= parameters && address < parameters + sizeof(parameters); }
bool is_stack(const void* address) { return stacks.holds(address); }

void run(const cuda::Launch& launch) {
  const Kernel& kernel = find_kernel(launch);
  check_sizes(kernel, launch);
  const AccessHandler handler;
  seed_random(options().seed);
  std::memcpy(parameters, launch.params, launch.params_bytes);
  std::memset(parameters + launch.params_bytes, 0xFF, sizeof(parameters) - launch.params_bytes);
  block.kernel = &kernel;
  block.threads = static_cast<int>(launch.block[0] * launch.block[1] * launch.block[2]);
  block.shared_bytes = launch.shared;
  block.ended = false;
  block.fibers.resize(static_cast<std::size_t>(block.threads));
  block.meetings.resize(static_cast<std::size_t>(block.threads + 31) / 32);
  stacks.reserve(block.fibers.size());
  begin_checked_launch();
  ++counters().launches;
  const std::size_t blocks = static_cast<std::size_t>(launch.grid[0]) * launch.grid[1] * launch.grid[2];
  for (const std::size_t i : block_order(blocks)) {
    const unsigned at = static_cast<unsigned>(i);
    block.index = {at % launch.grid[0], at / launch.grid[0] % launch.grid[1], at / (launch.grid[0] * launch.grid[1])};
    run_block(launch);
    if (block.ended) break;
  }
  block.kernel = nullptr;
}

void run(const cuda::Launches& launches) {
  for (const cuda::Launch& launch : launches) run(launch);
}

}  // namespace octavo::shim

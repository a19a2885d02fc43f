// The plugin's table by itself: transfers larger than the memory they go through, what is left open when a context is closed,
// a capture in which a launch fails.
#include <doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda_loader.h"
#include "fake.h"
#include "kernels/params_ops.h"
#include "ops/launch.h"
#include "tests/random_data.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

const octavo_cuda_api& plugin() {
  fake();
  std::string reason;
  const octavo_cuda_api* const api = cuda_api(&reason);
  REQUIRE_MESSAGE(api != nullptr, reason);
  std::int32_t devices = 0;
  octavo_cuda_message message = {};
  REQUIRE(api->device_count(&devices, &message) == 0);
  return *api;
}

struct Context {
  explicit Context(std::uint64_t staging_bytes = 0) {
    const octavo_cuda_options options{staging_bytes};
    REQUIRE(api.open(0, &options, &context, &message) == 0);
    REQUIRE(api.allocate(context, OCTAVO_CUDA_SCRATCH, bytes, &device, &message) == 0);
  }
  ~Context() { api.close(context); }
  // out[i] of 64 numbers, of 128 behind them
  cuda::Launches gate() const {
    gpu::GateParams p{};
    p.out = reinterpret_cast<float*>(device), p.gate_up = p.out + 64, p.rows = 1, p.width = 64;
    return {cuda::make_launch("octavo_gate", {1, 1, 1}, {256, 1, 1}, 0, p)};
  }
  std::int32_t make_graph(octavo_cuda_graph** graph) {
    const cuda::Launches launches = gate();
    return api.graph_make(context, reinterpret_cast<const octavo_cuda_launch*>(launches.data()), 1, graph, &message);
  }

  static constexpr std::uint64_t bytes = 20000;
  const octavo_cuda_api& api = plugin();
  octavo_cuda_context* context = nullptr;
  octavo_cuda_message message = {};
  std::uint64_t device = 0;
};

}  // namespace

TEST_CASE("plugin: transfers larger than the staging memory, in pieces of any size") {
  Context c(2048);
  Rng rng(77);
  std::vector<std::uint8_t> sent(c.bytes), found(c.bytes);
  for (std::uint8_t& b : sent) b = static_cast<std::uint8_t>(rng.below(256));
  for (std::size_t at = 0, now; at < sent.size(); at += now) {
    now = std::min(sent.size() - at, static_cast<std::size_t>(rng.between(1, 5000)));
    CHECK(c.api.upload(c.context, c.device + at, &sent[at], now, &c.message) == 0);
  }
  CHECK(c.api.download(c.context, found.data(), c.device, found.size(), &c.message) == 0);
  CHECK(found == sent);
}

TEST_CASE("plugin: what shares a piece of memory outlives what was given back") {
  Context c;
  for (const int kind : {OCTAVO_CUDA_WEIGHTS, OCTAVO_CUDA_KV, OCTAVO_CUDA_SCRATCH}) {
    CAPTURE(kind);
    std::uint64_t one = 0, other = 0;
    REQUIRE(c.api.allocate(c.context, kind, 1000, &one, &c.message) == 0);
    REQUIRE(c.api.allocate(c.context, kind, 1000, &other, &c.message) == 0);
    const std::vector<std::uint8_t> sent(1000, 17);
    std::vector<std::uint8_t> found(1000);
    CHECK(c.api.upload(c.context, other, sent.data(), sent.size(), &c.message) == 0);
    c.api.release(c.context, one);
    CHECK(c.api.download(c.context, found.data(), other, found.size(), &c.message) == 0);
    CHECK(found == sent);
    c.api.release(c.context, other);
  }
}

TEST_CASE("plugin: what is left open is given back with its context") {
  const octavo_cuda_api& api = plugin();
  const Left alive;
  {
    Context c;
    void* pinned = nullptr;
    octavo_cuda_event* event = nullptr;
    octavo_cuda_graph* graph = nullptr;
    CHECK(api.pin(c.context, 4096, &pinned, &c.message) == 0);
    CHECK(api.event_make(c.context, &event, &c.message) == 0);
    CHECK(c.make_graph(&graph) == 0);
    CHECK(!alive.nothing());
  }
  CHECK_MESSAGE(alive.nothing(), report().message);
}

TEST_CASE("plugin: of a graph that cannot be made nothing is left, and the next one can") {
  Context c;
  octavo_cuda_graph* graph = nullptr;
  // Its kernel is looked up once; what is counted is a capture alone.
  REQUIRE(c.make_graph(&graph) == 0);
  c.api.graph_release(c.context, graph);
  const Left alive;
  const std::uint64_t before = report().calls;
  REQUIRE(c.make_graph(&graph) == 0);
  const std::uint64_t calls = report().calls - before;
  c.api.graph_release(c.context, graph);
  CHECK(calls >= 4);
  for (std::uint64_t k = 1; k <= calls; ++k) {
    CAPTURE(k);
    {
      const Played played(("rules=record fail=" + std::to_string(k) + ":999").c_str());
      if (c.make_graph(&graph) == 0) c.api.graph_release(c.context, graph);
    }
    CHECK(c.make_graph(&graph) == 0);
    c.api.graph_release(c.context, graph);
    CHECK_MESSAGE(alive.nothing(), report().message);
  }
}

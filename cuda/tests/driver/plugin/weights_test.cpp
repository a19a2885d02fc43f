// Weights on a device: one piece of memory for all, taken late; packed by the host or by the device's own kernels,
// to the same bytes.
#include <doctest.h>

#include <algorithm>
#include <thread>

#include "cuda/memory/cuda_weight.h"
#include "error.h"
#include "fake.h"
#include "ops/repack.h"
#include "tests/compare.h"

using namespace octavo;
using namespace octavo::testing;
using cuda::CudaWeight;
using cuda::WeightMemory;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes packed(Format format, int n, int k, const Bytes& rows) {
  Bytes out(cuda::device_weight_bytes(format, n, k));
  cuda::pack_rows(format, n, k, 0, n, rows.data(), out.data());
  return out;
}
Bytes on_device(cuda::Device& device, const CudaWeight& w) {
  Bytes out(cuda::device_weight_bytes(w.format, w.n, w.k));
  device.download(out.data(), reinterpret_cast<std::uint64_t>(w.packed()), out.size());
  return out;
}

}  // namespace

TEST_CASE("plugin: weights are one piece of memory, taken with the first row") {
  fake();
  cuda::Device device(0);
  const octavo_fake_report before = report();
  const auto memory = std::make_shared<WeightMemory>(device);
  CudaWeight first(memory, Format::q4_0, 64, 64), second(memory, Format::f16, 33, 48);
  CHECK(report().live_device == before.live_device);
  CHECK(!memory->is_taken());
  Rng rng(7);
  const Bytes rows = random_rows(Format::f16, 33, 48, rng);
  second.load(0, 33, rows.data());
  CHECK(memory->is_taken());
  CHECK(report().live_device == before.live_device + 1);
  CHECK(on_device(device, second) == packed(Format::f16, 33, 48, rows));
  const Bytes none = on_device(device, first);  // nothing was loaded
  CHECK(std::all_of(none.begin(), none.end(), [](std::uint8_t byte) { return byte == 0; }));
  CHECK(device.memory().used_bytes[OCTAVO_CUDA_WEIGHTS] == first.resident_bytes() + second.resident_bytes());
  CHECK_THROWS_AS(CudaWeight(memory, Format::q4_0, 64, 64), Error);
}

TEST_CASE("plugin: the device packs rows as the host does, every format, from several threads") {
  fake();
  cuda::Device device(0);
  Rng rng(8);
  for (const Format format : all_formats) {
    CAPTURE(std::string(traits(format).name));
    const int n = 73, k = fitting(format, 96);
    const Bytes rows = random_rows(format, n, k, rng), expected = packed(format, n, k, rows);
    const std::size_t stride = row_bytes(format, static_cast<std::size_t>(k));
    for (const std::size_t packed_here : {std::size_t{0}, WeightMemory::small_model}) {
      const auto memory = std::make_shared<WeightMemory>(device, packed_here);
      CudaWeight weight(memory, format, n, k);
      std::vector<std::thread> loaders;
      for (const int first : {64, 0, 32})
        loaders.emplace_back([&, first] {
          weight.load(first, std::min(32, n - first), rows.data() + stride * static_cast<std::size_t>(first));
        });
      for (std::thread& loader : loaders) loader.join();
      CHECK(on_device(device, weight) == expected);
    }
  }
}

TEST_CASE("plugin: a scale that is not finite is refused, with its row") {
  fake();
  cuda::Device device(0);
  Rng rng(9);
  Bytes rows = random_rows(Format::q8_0, 40, 64, rng);
  rows[35 * row_bytes(Format::q8_0, 64) + 35] = 0x7C;  // infinity, of the second group
  rows[35 * row_bytes(Format::q8_0, 64) + 34] = 0;
  for (const std::size_t packed_here : {std::size_t{0}, WeightMemory::small_model}) {
    CudaWeight weight(std::make_shared<WeightMemory>(device, packed_here), Format::q8_0, 40, 64);
    CHECK_THROWS_WITH_AS(weight.load(0, 40, rows.data()), doctest::Contains("row 35"), Error);
  }
}

TEST_CASE("plugin: a load in which a call fails leaves nothing behind, whoever packs, and the next one works") {
  fake();
  Rng rng(10);
  const int n = 96, k = 64;
  const Bytes rows = random_rows(Format::q5_1, n, k, rng), expected = packed(Format::q5_1, n, k, rows);
  const auto load = [&](std::size_t packed_here) {
    cuda::Device device(0);
    CudaWeight weight(std::make_shared<WeightMemory>(device, packed_here), Format::q5_1, n, k);
    for (const int first : {0, 64, 32})
      weight.load(first, 32, rows.data() + row_bytes(Format::q5_1, k) * static_cast<std::size_t>(first));
    return on_device(device, weight) == expected;
  };
  for (const std::size_t packed_here : {std::size_t{0}, WeightMemory::small_model}) {
    const std::uint64_t before = report().calls;
    CHECK(load(packed_here));
    const std::uint64_t calls = report().calls - before;
    const octavo_fake_report empty = report();
    int failed = 0;
    for (std::uint64_t call = 1; call <= calls; ++call) {
      CAPTURE(call);
      const Played played(("rules=record fail=" + std::to_string(call) + ":" + (call % 2 ? "2" : "999")).c_str());
      try {
        const bool right = load(packed_here);  // giving back may fail without harm
        CHECK(right);
      } catch (const Error& e) {
        ++failed;
        CHECK((e.code() == Code::out_of_memory || e.code() == Code::engine_failed));
      }
      const octavo_fake_report left = report();
      CHECK(left.live_objects == empty.live_objects);
      CHECK(left.live_device == empty.live_device);
      CHECK(left.live_host == empty.live_host);
      CHECK_MESSAGE(left.broken_rules == 0, left.message);
    }
    CHECK(failed > 20);
    CHECK(load(packed_here));
  }
}

// What goes wrong at the driver becomes an error with a code, and nothing is left behind: every call that a piece of
// work makes is made to fail once.
#include <doctest.h>

#include <map>
#include <string>

#include "cuda/cuda_backend.h"
#include "cuda/memory/device.h"
#include "cuda_loader.h"
#include "error.h"
#include "fake.h"
#include "host/limits.h"
#include "tests/compare.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

// A load, a step of some operations, an exchange of a block, a close. Whether what came out is right.
bool work() {
  Rng rng(5);
  const auto rows = random_rows(Format::q8_0, 40, 64, rng);
  const auto x = random_activations(3 * 64, rng);
  const std::unique_ptr<Backend> b = make_cuda_backend(0);
  const auto weight = make_weight(*b, Format::q8_0, 40, 64, rows);
  const auto kv = b->kv_create({2, 4, 1, 16, KvDtype::f16});
  std::vector<float> out(3 * 40), made(2 * 64), k(2 * 16, 1.5f);
  b->linear(out.data(), 40, LinearInput(x.data()), *weight, nullptr, 3, Epilogue::store);
  const std::int32_t ids[2] = {39, 0}, slots[2] = {16, 17};
  b->embed(made.data(), *weight, ids, 2);
  b->kv_write(*kv, 1, nullptr, 0, k.data(), k.data(), 16, slots, 2);
  b->kv_copy(*kv, 3, 1);
  std::vector<std::uint8_t> bytes(kv_block_bytes(kv->shape)), again(bytes.size());
  b->kv_export(bytes.data(), *kv, 1);
  b->kv_import(*kv, 2, bytes.data());
  b->kv_export(again.data(), *kv, 3);
  std::vector<float> expected(3 * 40);
  reference().linear(expected.data(), 40, LinearInput(x.data()), *make_weight(reference(), Format::q8_0, 40, 64, rows),
                     nullptr, 3, Epilogue::store);
  return expected == out && bytes == again;
}

}  // namespace

TEST_CASE("plugin: a piece of work gives everything back") {
  fake();
  const Left left;
  CHECK(work());
  CHECK(left.nothing());
  CHECK(report().inexact_sums == 0);
}

TEST_CASE("plugin: each call fails once in turn: an error with a code, nothing left, and the next one works") {
  fake();
  work();
  std::uint64_t calls = report().calls;
  work();
  calls = report().calls - calls;
  CHECK(calls > 100);
  std::map<Code, int> codes;
  const int errors[] = {2, 719, 999};
  for (const int& error : errors) {
    // Each call with one of the errors; with all of them where every case is asked for.
    for (std::uint64_t k = 1 + static_cast<std::uint64_t>(deep() ? 0 : &error - errors); k <= calls;
         k += deep() ? 1 : 3) {
      CAPTURE(k);
      CAPTURE(error);
      const Left left;
      const Played played(("rules=record fail=" + std::to_string(k) + ":" + std::to_string(error)).c_str());
      try {
        // Giving back may fail without harm: then all that was asked for was done.
        const bool right = work();
        CHECK(right);
      } catch (const Error& e) {
        ++codes[e.code()];
        CHECK((e.code() == Code::out_of_memory || e.code() == Code::engine_failed));
        CHECK(std::string(e.what()).size() > 10);
      }
      CHECK_MESSAGE(left.nothing(), report().message);
      CHECK_MESSAGE(report().broken_rules == 0, report().message);
    }
    CHECK(work());
  }
  CHECK(codes[Code::out_of_memory] > 20);
  CHECK(codes[Code::engine_failed] > 60);
}

TEST_CASE("plugin: a device lost in the midst of work") {
  fake();
  const std::uint64_t calls = [] {
    const std::uint64_t before = report().calls;
    work();
    return report().calls - before;
  }();
  for (std::uint64_t k = 1; k <= calls; k += 11) {
    CAPTURE(k);
    const Left left;
    const Played played(("rules=record lost=" + std::to_string(k)).c_str());
    try {
      work();
    } catch (const Error& e) {
      CHECK(e.code() == Code::engine_failed);
    }
    CHECK_MESSAGE(left.nothing(), report().message);
  }
  CHECK(work());
}

TEST_CASE("plugin: too little memory, a driver too old, devices too old, none at all") {
  fake();
  {
    const Played played("memory=300000000");
    const std::unique_ptr<Backend> b = make_cuda_backend(0);
    CHECK_THROWS_WITH_AS(b->kv_create({30, 1000, 8, 128, KvDtype::f16}), doctest::Contains("are free"), Error);
    const auto small = b->kv_create({1, 100, 1, 64, KvDtype::f16});
  }
  {
    const Played played("capability=7.5");
    const CudaStatus status = cuda_status();
    CHECK(!status.available);
    CHECK(status.reason == "no CUDA device has compute capability 8.0 or more");
  }
  CHECK_THROWS_WITH_AS(make_cuda_backend(3), doctest::Contains("INVALID_DEVICE"), Error);
  {
    const Played played("capability=8.6 name=Small_GPU");
    const CudaStatus status = cuda_status();
    CHECK(status.info.size() == 1);
    CHECK(status.info[0].name == "Small_GPU");
    CHECK(status.info[0].compute_minor == 6);
    CHECK(work());
  }
}

TEST_CASE("plugin: a launch beyond the limits of a device is refused before the driver sees it") {
  cuda::Launch launch = cuda::make_launch("octavo_norm", {1}, {256}, 0, 1);
  const auto broken = [&](int capability, unsigned static_shared = 0) {
    return cuda::broken_limit(launch, cuda::limits_of(capability), static_shared);
  };
  CHECK(broken(80) == "");
  launch.shared = 111616;
  CHECK(broken(80) == "");
  CHECK(broken(90) == "");
  CHECK(broken(86) == "octavo_norm: 111616 bytes of shared memory, a device of capability 8.6 has 101376");
  CHECK(broken(89) != "");
  CHECK(broken(120) != "");
  CHECK(broken(130) != "");
  launch.shared = 99 * 1024;
  CHECK(broken(86) == "");
  CHECK(broken(86, 16) != "");
  launch.shared = 0;
  launch.grid[1] = 65536;
  CHECK(broken(90) == "octavo_norm: a grid of 1 x 65536 x 1");
  launch.grid[1] = 1, launch.block[0] = 1024, launch.block[1] = 2;
  CHECK(broken(90) == "octavo_norm: a block of 2048 threads");
  launch.block[0] = 0;
  CHECK(broken(90) != "");

  fake();
  cuda::Device device(0);
  launch = cuda::make_launch("octavo_norm", {1}, {256}, 1 << 20, 1);
  CHECK_THROWS_WITH_AS(device.run({launch}), doctest::Contains("bytes of shared memory"), Error);
  launch = cuda::make_launch("octavo_nothing", {1}, {256}, 0, 1);
  CHECK_THROWS_WITH_AS(device.run({launch}), doctest::Contains("octavo_nothing"), Error);
}

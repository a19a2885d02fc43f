// The emulator itself: what threads do together gives the result that CUDA's rules say in every schedule, and each
// broken rule is found.
#include <doctest.h>

#include <algorithm>
#include <numeric>

#include "emulator/device_array.h"
#include "emulator/matrix.h"
#include "emulator_params.h"
#include "schedules.h"
#include "tests/compare.h"

namespace {

using namespace octavo;
using shim::DeviceArray;

std::vector<unsigned> random_words(std::size_t count, std::uint64_t seed) {
  testing::Rng rng(seed);
  std::vector<unsigned> words(count);
  for (unsigned& w : words) w = static_cast<unsigned>(rng.next());
  return words;
}

struct Result {
  std::vector<unsigned> out;
  std::vector<std::string> kinds;  // of findings, each once
  bool has(const char* kind) const { return std::find(kinds.begin(), kinds.end(), kind) != kinds.end(); }
};

Result probe(const char* kernel, const std::vector<unsigned>& in, std::size_t out_count, unsigned threads, int flag = 0,
             unsigned shared = 0, unsigned blocks = 1) {
  shim::clear_findings();
  const DeviceArray<unsigned> source(in, "in");
  const DeviceArray<unsigned> out(out_count, "out");
  const ProbeParams params{source.get(), out.get(), static_cast<int>(in.size()), flag};
  shim::run(cuda::make_launch(kernel, {blocks, 1, 1}, {threads, 1, 1}, shared, params));
  Result result{out.download(), {}};
  for (const shim::Finding& f : shim::findings()) result.kinds.push_back(f.kind);
  std::sort(result.kinds.begin(), result.kinds.end());
  result.kinds.erase(std::unique(result.kinds.begin(), result.kinds.end()), result.kinds.end());
  shim::clear_findings();
  return result;
}

// Signed byte i of a row of registers.
int byte_of(unsigned word, int i) { return static_cast<signed char>(word >> (8 * i)); }

}  // namespace

TEST_CASE("emulator: shuffles, barriers and shared memory in every schedule") {
  const auto in = random_words(128, 1);
  const unsigned sum = std::accumulate(in.begin(), in.end(), 0u);
  octavo::testing::for_each_schedule([&] {
    const Result r = probe("octavo_probe_sum", in, 128, 128);
    CHECK(r.kinds.empty());
    CHECK(r.out == std::vector<unsigned>(128, sum));
  });
}

TEST_CASE("emulator: named barriers order the turns of warps") {
  const auto in = random_words(128, 2);
  octavo::testing::for_each_schedule([&] {
    const Result r = probe("octavo_probe_turns", in, 32, 128);
    CHECK(r.kinds.empty());
    for (std::size_t l = 0; l < 32; ++l)
      CHECK(r.out[l] == ((in[l] * 3 + in[32 + l]) * 3 + in[64 + l]) * 3 + in[96 + l]);
  });
}

TEST_CASE("emulator: asynchronous copies are there after their wait") {
  const auto in = random_words(256, 3);
  octavo::testing::for_each_schedule([&] {
    const Result r = probe("octavo_probe_copy", in, 64, 64, 0, 1024);
    CHECK(r.kinds.empty());
    for (std::size_t t = 0; t < 64; ++t) CHECK(r.out[t] == in[4 * (63 - t) + 1]);
  });
}

TEST_CASE("emulator: a copy that was not waited for, or not met after") {
  const auto in = random_words(256, 3);
  shim::options() = {7, shim::Landing::late};
  const Result early = probe("octavo_probe_copy", in, 64, 64, 2, 1024);
  CHECK(early.out[0] == ~0u);  // what the array held before
  const Result unmet = probe("octavo_probe_copy", in, 64, 64, 3, 1024);
  if (shim::checked()) {
    CHECK(early.has("copy-in-flight"));
    CHECK(unmet.has("race-read-write"));
  }
}

TEST_CASE("emulator: products of matrices, against sums over rows and columns") {
  const auto in = random_words(320, 4);
  const Result r = probe("octavo_probe_product", in, 128, 32);
  CHECK(r.kinds.empty());
  // Lane and register of A[row][k], B[k][column]: the PTX tables read the other way round.
  const auto a = [&](int row, int k) {
    const int lane = row % 8 * 4 + k % 16 / 4, reg = row / 8 + 2 * (k / 16);
    return byte_of(in[static_cast<std::size_t>(10 * lane + reg)], k % 4);
  };
  const auto b = [&](int k, int column) {
    return byte_of(in[static_cast<std::size_t>(10 * (column * 4 + k % 16 / 4) + 4 + k / 16)], k % 4);
  };
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      const int lane = row % 8 * 4 + column / 2, reg = row / 8 * 2 + column % 2;
      unsigned sum = in[static_cast<std::size_t>(10 * lane + 6 + reg)];
      for (int k = 0; k < 32; ++k) sum += static_cast<unsigned>(a(row, k) * b(k, column));
      CHECK(r.out[static_cast<std::size_t>(4 * lane + reg)] == sum);
    }
  }
}

TEST_CASE("emulator: each broken rule is found") {
  const auto in = random_words(64, 5);
  struct Case {
    int flag;
    const char* kind;
    bool needs_checker;
    unsigned blocks = 1;
  };
  const Case cases[] = {{1, "out-of-bounds", false}, {2, "out-of-bounds", false},   {3, "deadlock", false},
                        {4, "deadlock", false},      {5, "race-write-write", true}, {6, "uninitialised", true},
                        {7, "misaligned", true},     {8, "race-blocks", true, 2},   {9, "race-write-read", true},
                        {10, "trap", false},         {11, "shuffle", false}};
  CHECK(probe("octavo_probe_fault", in, 127, 64, 0, 512).kinds.empty());
  for (const Case& c : cases) {
    if (c.needs_checker && !shim::checked()) continue;
    CAPTURE(c.flag);
    const Result r = probe("octavo_probe_fault", in, 127, 64, c.flag, 512, c.blocks);
    CHECK(r.has(c.kind));
  }
}

TEST_CASE("emulator: sectors and wavefronts of accesses that are some words apart") {
  if (!shim::checked()) return;  // only there accesses are seen
  const auto in = random_words(32 * 32, 6);
  shim::options().traffic = true;
  struct Case {
    int stride;
    std::uint64_t sectors, wavefronts;
  };
  // The array is filled without conflicts, 32 wavefronts.
  for (const Case& c : {Case{0, 1, 1}, Case{1, 4, 1}, Case{2, 8, 2}, Case{8, 32, 8}, Case{31, 32, 1}}) {
    CAPTURE(c.stride);
    shim::traffic() = {};
    probe("octavo_probe_stride", in, 32, 32, c.stride, 4096);
    CHECK(shim::traffic().loads.sectors == c.sectors);
    CHECK(shim::traffic().loads.bytes == 128);
    CHECK(shim::traffic().stores.sectors == 4);
    CHECK(shim::traffic().shared.wavefronts == 32 + c.wavefronts);
    CHECK(shim::traffic().shared.least_wavefronts == 33);
  }
  shim::options() = {};
}

TEST_CASE("emulator: launches that no device takes, and kernels that are not there") {
  const ProbeParams params{nullptr, nullptr, 0, 0};
  CHECK_THROWS(shim::run(cuda::make_launch("octavo_probe_sum", {1, 1, 1}, {256, 1, 1}, 0, params)));
  CHECK_THROWS(shim::run(cuda::make_launch("octavo_probe_sum", {1, 65536, 1}, {128, 1, 1}, 0, params)));
  CHECK_THROWS(shim::run(cuda::make_launch("octavo_none", {1, 1, 1}, {128, 1, 1}, 0, params)));
  CHECK_THROWS(shim::run(cuda::make_launch("octavo_probe_sum", {1, 1, 1}, {128, 1, 1}, 0, 1)));
}

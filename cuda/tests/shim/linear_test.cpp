// linear on the emulator against the reference, bit for bit: every format, every kernel, odd sizes, in several
// schedules.
#include <doctest.h>

#include <cmath>
#include <limits>

#include "emulator/device_array.h"
#include "emulator/matrix.h"
#include "kernels/linear/linear_shapes.h"
#include "ops/linear.h"
#include "ops/repack.h"
#include "linear_case.h"
#include "schedules.h"
#include "tests/compare.h"
#include "tests/formats.h"

namespace {

using namespace octavo;
using namespace octavo::cuda;
using namespace octavo::testing;
using shim::DeviceArray;

std::vector<LinearKernel> kernels_of(Format format) {
  if (!is_quantised(format)) return {LinearKernel::floats};
  return {LinearKernel::decode, LinearKernel::tile_s8, LinearKernel::tile_f16};
}

// One token and row; turns of all warps and a round with a few; tiles that are cut on every side.
const Shape shapes[] = {{1, 1, 32},        {3, 40, 32 * 37}, {9, 17, 32 * 7},
                        {20, 33, 32 * 35}, {8, 31, 32 * 32}, {17, 16, 32 * 3}};

}  // namespace

TEST_CASE("linear equals the reference: every format and kernel, odd sizes") {
  Rng rng(1);
  const bool named = std::getenv("OCTAVO_FORMATS") != nullptr;
  int turn = 0;
  for (const Format format : chosen({std::begin(all_formats), std::end(all_formats)})) {
    for (const Shape& shape : shapes) {
      // A sample, in turns: three of a format; under the checker, which takes twice as long, one of a format.
      const int at = turn++, format_at = at / static_cast<int>(std::size(shapes));
      if (!deep() && !named && (at + format_at) % (shim::checked() ? static_cast<int>(std::size(shapes)) : 2) != 0)
        continue;
      const Case c(format, shape, {LinearInputKind::plain, rng.chance(2), rng.chance(2)}, rng);
      for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
    }
  }
  CHECK(shim::inexact_sums() == 0);
}

TEST_CASE("linear equals the reference: more than one block of tokens and rows") {
  Rng rng(4);
  for (const Format format : chosen({Format::q4_0, Format::q4_k, Format::q6_k, Format::bf16})) {
    if (shim::checked() && !deep() && format != Format::q4_k) continue;
    const Case c(format, {133, 150, 32 * 9}, {LinearInputKind::plain, true, false}, rng);
    for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
  }
}

TEST_CASE("linear equals the reference: in every schedule") {
  Rng rng(2);
  // So many groups that every stage of a ring is filled twice.
  for (const Format format : chosen({Format::q4_0, Format::q5_1, Format::q6_k, Format::q2_k, Format::f16})) {
    if (shim::checked() && !deep() && std::getenv("OCTAVO_FORMATS") == nullptr && format != Format::q5_1) continue;
    const Case c(format, {5, 20, 32 * 130}, {LinearInputKind::plain, true, true}, rng);
    for_each_schedule([&] {
      for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
    });
  }
  // All formats, in turns of all warps.
  if (!deep()) return;
  for (const Format format : chosen({std::begin(all_formats), std::end(all_formats)})) {
    const Case c(format, {3, 20, 32 * 37}, {LinearInputKind::plain, true, true}, rng);
    for_each_schedule([&] {
      for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
    });
  }
}

TEST_CASE("linear equals the reference: normalised and gated inputs") {
  Rng rng(3);
  for (const Format format : chosen({Format::q4_0, Format::q4_1, Format::q2_k, Format::bf16})) {
    for (const LinearInputKind input : {LinearInputKind::normed, LinearInputKind::gated}) {
      for (const int m : {1, 40}) {
        if (shim::checked() && !deep() && m > 1) continue;
        const Case c(format, {m, 20, 32 * 9}, {input, false, true}, rng);
        for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
      }
    }
  }
}

TEST_CASE("linear: a NaN or an infinity in a row reaches every output of that row and of no other") {
  Rng rng(5);
  for (const Format format : chosen({Format::q4_0, Format::q4_1, Format::q6_k, Format::f16})) {
    for (const float broken : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      Case c(format, {10, 20, 32 * 5}, {}, rng);
      c.break_token(3, 70, broken);
      for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
    }
  }
}

TEST_CASE("linear: which kernel, by tokens and device") {
  const DeviceProperties data_centre{90, 132, 232448}, consumer{89, 128, 101376};
  CHECK(linear_kernel(Format::q4_0, 1, data_centre) == LinearKernel::decode);
  CHECK(linear_kernel(Format::q4_0, 512, data_centre) == LinearKernel::tile_f16);
  CHECK(linear_kernel(Format::q4_0, 512, consumer) == LinearKernel::tile_s8);
  CHECK(linear_kernel(Format::bf16, 512, consumer) == LinearKernel::floats);
}

TEST_CASE("linear: the shared memory that a kernel asks for is what every device gives") {
  for (const gpu::PackingTraits& p : gpu::packing_table) {
    CAPTURE(std::string(p.name));
    for (const int tiles : {1, 2}) CHECK(gpu::decode_shape(p, tiles).shared_bytes <= gpu::most_shared_bytes);
    for (const bool halves : {false, true}) CHECK(gpu::tile_shape(p, halves).shared_bytes <= gpu::most_shared_bytes);
  }
}

TEST_CASE("linear: few tokens read each byte of the weight once, in whole sectors") {
  if (!shim::checked()) return;  // only there accesses are seen
  Rng rng(6);
  for (const Format format : {Format::q4_0, Format::q4_k, Format::q8_0}) {
    CAPTURE(std::string(traits(format).name));
    const int n = 64, groups = 64;
    const Case c(format, {1, n, 32 * groups}, {}, rng);
    const gpu::PackingTraits& p = gpu::packing_table[static_cast<int>(packing_of(format))];
    const gpu::DecodeShape shape = gpu::decode_shape(p, 1);
    shim::options().traffic = true;
    shim::traffic() = {};
    c.check(LinearKernel::decode);
    shim::options() = {};
    // Of a quad: what all row blocks have, and the input once for each block of the launch. Headers are read by both quads
    // that share them. The rounding of the input reads 128 bytes a group.
    const int row_blocks = n / 16, quads = groups / 4;
    const int bytes = quads * (row_blocks * shape.row_block_bytes + row_blocks / shape.row_blocks * shape.input_bytes);
    CHECK(shim::traffic().loads.sectors == static_cast<std::uint64_t>(bytes / 32 + groups * 4));
    CHECK(shim::traffic().loads.bytes == static_cast<std::uint64_t>(bytes + groups * 128));
  }
}

TEST_CASE("linear: no bank of shared memory is asked twice") {
  if (!shim::checked()) return;
  Rng rng(7);
  for (const Format format : {Format::q4_0, Format::q4_1, Format::q5_0, Format::q8_0, Format::q5_k, Format::q6_k,
                              Format::q2_k, Format::iq4_xs, Format::nvfp4, Format::bf16}) {
    const Case c(format, {16, 32, 256}, {}, rng);
    for (const LinearKernel kernel : kernels_of(format)) {
      CAPTURE(std::string(traits(format).name));
      CAPTURE(static_cast<int>(kernel));
      shim::options().traffic = true;
      shim::traffic() = {};
      c.check(kernel);
      shim::options() = {};
      CHECK(shim::traffic().shared.wavefronts == shim::traffic().shared.least_wavefronts);
    }
  }
}

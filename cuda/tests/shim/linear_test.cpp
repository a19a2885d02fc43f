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
#include "schedules.h"
#include "tests/compare.h"

namespace {

using namespace octavo;
using namespace octavo::cuda;
using namespace octavo::testing;
using shim::DeviceArray;

struct Shape {
  int m, n, k;
};

// What a linear is asked for besides its sizes.
struct Kinds {
  LinearInputKind input = LinearInputKind::plain;
  bool bias = false, add = false;
};

LinearInput reference_input(const Kinds& kinds, const float* x, const float* norm_weight) {
  switch (kinds.input) {
    case LinearInputKind::normed:
      return LinearInput::normed(x, norm_weight, 1e-5f);
    case LinearInputKind::gated:
      return LinearInput::gated(x, Activation::silu);
    case LinearInputKind::plain:
      break;
  }
  return LinearInput(x);
}

// Values of one linear on the host, with rows of the output further apart than they are long.
class Case {
 public:
  Case(Format format, const Shape& wanted, const Kinds& kinds, Rng& rng)
      : format_(format), shape_{wanted.m, wanted.n, fitting(format, wanted.k)}, kinds_(kinds), ld_(shape_.n + 3) {
    const std::size_t width = static_cast<std::size_t>(kinds.input == LinearInputKind::gated ? 2 * shape_.k : shape_.k);
    x_ = kinds.input == LinearInputKind::plain ? random_activations(static_cast<std::size_t>(shape_.m) * width, rng)
                                               : random_normals(static_cast<std::size_t>(shape_.m) * width, rng, 2);
    rows_ = random_rows(format, shape_.n, shape_.k, rng);
    norm_weight_ = random_normals(static_cast<std::size_t>(shape_.k), rng);
    bias_ = random_normals(static_cast<std::size_t>(shape_.n), rng);
    before_ = random_normals(static_cast<std::size_t>(shape_.m) * static_cast<std::size_t>(ld_), rng);
    expected_ = before_;
    const auto w = make_weight(reference(), format, shape_.n, shape_.k, rows_);
    reference().linear(expected_.data(), ld_, reference_input(kinds, x_.data(), norm_weight_.data()), *w,
                       kinds.bias ? bias_.data() : nullptr, shape_.m, kinds.add ? Epilogue::add : Epilogue::store);
  }

  // What then comes out of that token is not finite, but not fixed.
  void break_token(int token, int element, float value) {
    x_[static_cast<std::size_t>(token) * static_cast<std::size_t>(shape_.k) + static_cast<std::size_t>(element)] =
        value;
    broken_ = token;
  }

  void check(LinearKernel kernel) const {
    CAPTURE(std::string(traits(format_).name));
    CAPTURE(shape_.m);
    CAPTURE(shape_.n);
    CAPTURE(shape_.k);
    CAPTURE(static_cast<int>(kernel));
    CAPTURE(static_cast<int>(kinds_.input));
    std::vector<unsigned char> packed(device_weight_bytes(format_, shape_.n, shape_.k));
    pack_rows(format_, shape_.n, shape_.k, 0, shape_.n, rows_.data(), packed.data());
    const DeviceArray<unsigned char> weight(packed, "weight");
    const DeviceArray<float> x(x_, "x"), norm_weight(norm_weight_, "norm_weight"), bias(bias_, "bias"),
        out(before_, "out");
    const DeviceArray<unsigned char> scratch(linear_scratch_bytes(shape_.m, shape_.k), "scratch");
    Linear l{};
    l.format = format_;
    l.n = shape_.n, l.k = shape_.k, l.m = shape_.m;
    l.weight = weight.get();
    l.kind = kinds_.input;
    l.x = x.get();
    l.ld_x = kinds_.input == LinearInputKind::gated ? 2 * shape_.k : shape_.k;
    l.norm_weight = norm_weight.get();
    l.eps = 1e-5f;
    l.bias = kinds_.bias ? bias.get() : nullptr;
    l.out = out.get();
    l.ld = ld_;
    l.add = kinds_.add;
    l.scratch = scratch.get();
    Launches launches;
    append_linear(launches, l, kernel);
    shim::run(launches);
    for (const shim::Finding& f : shim::findings()) FAIL_CHECK((f.kind + ": " + f.text));
    shim::clear_findings();
    CHECK(difference(out.download()) == "");
  }

 private:
  // Every bit, guard columns too; but which number that is none is not fixed.
  std::string difference(const std::vector<float>& found) const {
    for (std::size_t i = 0; i < found.size(); ++i) {
      const float a = expected_[i], b = found[i];
      const std::size_t row = i % static_cast<std::size_t>(ld_);
      if (static_cast<int>(i / static_cast<std::size_t>(ld_)) == broken_ && row < static_cast<std::size_t>(shape_.n)) {
        if (std::isfinite(b)) return "a finite number where a row was broken";
        continue;
      }
      if (std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b)))
        continue;
      char text[160];
      std::snprintf(text, sizeof(text), "token %zu, row %zu: expected %a, found %a", i / static_cast<std::size_t>(ld_),
                    row, static_cast<double>(a), static_cast<double>(b));
      return text;
    }
    return "";
  }

  Format format_;
  Shape shape_;
  Kinds kinds_;
  int ld_, broken_ = -1;
  std::vector<float> x_, norm_weight_, bias_, before_, expected_;
  std::vector<std::uint8_t> rows_;
};

std::vector<LinearKernel> kernels_of(Format format) {
  if (!is_quantised(format)) return {LinearKernel::floats};
  return {LinearKernel::decode, LinearKernel::tile_s8, LinearKernel::tile_f16};
}

// Of these formats those that OCTAVO_FORMATS names (a list with commas; all of them where it is not set): planted
// faults are compiled into the kernels of a few formats only.
std::vector<Format> chosen(const std::vector<Format>& formats) {
  const char* const names = std::getenv("OCTAVO_FORMATS");
  if (names == nullptr) return formats;
  const std::string list = "," + std::string(names) + ",";
  std::vector<Format> all;
  for (const Format format : formats)
    if (list.find("," + std::string(traits(format).name) + ",") != std::string::npos) all.push_back(format);
  return all;
}

// One token and row; turns of all warps and a round with a few; tiles that are cut on every side.
const Shape shapes[] = {{1, 1, 32},        {3, 40, 32 * 37}, {9, 17, 32 * 7},
                        {20, 33, 32 * 35}, {8, 31, 32 * 32}, {17, 16, 32 * 3}};

}  // namespace

TEST_CASE("linear equals the reference: every format and kernel, odd sizes") {
  Rng rng(1);
  for (const Format format : chosen({std::begin(all_formats), std::end(all_formats)})) {
    for (const Shape& shape : shapes) {
      if (shim::checked() && !deep() && !rng.chance(3)) continue;
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

// linear on the emulator against the reference, bit for bit: every format, every kernel, odd sizes, in several schedules.
#include <doctest.h>

#include <cmath>

#include "emulator/device_array.h"
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
    case LinearInputKind::normed: return LinearInput::normed(x, norm_weight, 1e-5f);
    case LinearInputKind::gated: return LinearInput::gated(x, Activation::silu);
    case LinearInputKind::plain: break;
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

  void check(LinearKernel kernel) const {
    CAPTURE(traits(format_).name);
    CAPTURE(shape_.m);
    CAPTURE(shape_.n);
    CAPTURE(shape_.k);
    CAPTURE(static_cast<int>(kernel));
    CAPTURE(static_cast<int>(kinds_.input));
    std::vector<unsigned char> packed(device_weight_bytes(format_, shape_.n, shape_.k));
    pack_rows(format_, shape_.n, shape_.k, 0, shape_.n, rows_.data(), packed.data());
    const DeviceArray<unsigned char> weight(packed, "weight");
    const DeviceArray<float> x(x_, "x"), norm_weight(norm_weight_, "norm_weight"), bias(bias_, "bias"), out(before_, "out");
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
      if (std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b))) continue;
      char text[160];
      std::snprintf(text, sizeof(text), "token %zu, row %zu: expected %a, found %a", i / static_cast<std::size_t>(ld_),
                    i % static_cast<std::size_t>(ld_), static_cast<double>(a), static_cast<double>(b));
      return text;
    }
    return "";
  }

  Format format_;
  Shape shape_;
  Kinds kinds_;
  int ld_;
  std::vector<float> x_, norm_weight_, bias_, before_, expected_;
  std::vector<std::uint8_t> rows_;
};

bool is_float(Format format) { return !is_quantised(format); }

std::vector<LinearKernel> kernels_of(Format format) {
  if (is_float(format)) return {LinearKernel::floats};
  return {LinearKernel::decode, LinearKernel::tile_s8, LinearKernel::tile_f16};
}

}  // namespace

TEST_CASE("linear equals the reference: every format and kernel, odd sizes") {
  Rng rng(1);
  for (const Format format : all_formats) {
    for (const Shape& shape : {Shape{1, 1, 32}, Shape{3, 40, 32 * 37}, Shape{9, 17, 32 * 7}, Shape{20, 33, 32 * 35}}) {
      const Kinds kinds{LinearInputKind::plain, rng.chance(2), rng.chance(2)};
      const Case c(format, shape, kinds, rng);
      for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
    }
  }
}

TEST_CASE("linear equals the reference: in every schedule") {
  Rng rng(2);
  for (const Format format : {Format::q4_0, Format::q5_1, Format::q6_k, Format::q2_k, Format::f16}) {
    const Case c(format, {5, 40, 32 * 70}, {LinearInputKind::plain, true, true}, rng);
    for_each_schedule([&] {
      for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
    });
  }
}

TEST_CASE("linear equals the reference: normalised and gated inputs") {
  Rng rng(3);
  for (const Format format : {Format::q4_0, Format::q4_1, Format::bf16}) {
    for (const LinearInputKind input : {LinearInputKind::normed, LinearInputKind::gated}) {
      for (const int m : {1, 40}) {
        const Case c(format, {m, 20, 32 * 9}, {input, false, true}, rng);
        for (const LinearKernel kernel : kernels_of(format)) c.check(kernel);
      }
    }
  }
}

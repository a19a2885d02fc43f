// One linear: its values, what the reference makes of them, and what a kernel does on the emulator.
#pragma once
#include <doctest.h>

#include <cmath>

#include "emulator/device_array.h"
#include "emulator/runtime.h"
#include "ops/linear.h"
#include "ops/repack.h"
#include "tests/compare.h"

namespace octavo::testing {

using namespace octavo::cuda;
using shim::DeviceArray;

struct Shape {
  int m, n, k;
};

// What a linear is asked for besides its sizes.
struct Kinds {
  LinearInputKind input = LinearInputKind::plain;
  bool bias = false, add = false;
};

inline LinearInput reference_input(const Kinds& kinds, const float* x, const float* norm_weight) {
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
    const std::vector<float> out = run(kernel);
    for (const shim::Finding& f : shim::findings()) FAIL_CHECK((f.kind + ": " + f.text));
    shim::clear_findings();
    CHECK(difference(out) == "");
  }

  // What comes out on the emulator.
  std::vector<float> run(LinearKernel kernel) const {
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
    return out.download();
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

}  // namespace octavo::testing

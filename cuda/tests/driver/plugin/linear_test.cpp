// linear through the plugin against the reference: every format, inputs of each kind, biases, both epilogues.
#include <doctest.h>

#include "ops_backend.h"
#include "tests/compare.h"
#include "tests/formats.h"

using namespace octavo;
using namespace octavo::testing;

TEST_CASE("plugin: linear equals the reference, every format") {
  const std::unique_ptr<Backend> device = make_ops_backend();
  Rng rng(41);
  for (const Format format : chosen({std::begin(all_formats), std::end(all_formats)})) {
    CAPTURE(std::string(traits(format).name));
    for (const int M : {1, 3, 17, 70}) {
      const int N = rng.pick(std::vector<int>{1, 7, 33, 100}),
                K = fitting(format, rng.pick(std::vector<int>{32, 96, 288}));
      const int kind = rng.below(3), ld = N + rng.below(5);
      CAPTURE(M);
      const auto rows = random_rows(format, N, K, rng);
      const std::size_t width = static_cast<std::size_t>(kind == 2 ? 2 * K : K);
      const auto x = kind == 0 ? random_activations(static_cast<std::size_t>(M) * width, rng)
                               : random_normals(static_cast<std::size_t>(M) * width, rng, 2);
      const auto norm = random_normals(static_cast<std::size_t>(K), rng),
                 bias = random_normals(static_cast<std::size_t>(N), rng);
      const LinearInput in = kind == 0   ? LinearInput(x.data())
                             : kind == 1 ? LinearInput::normed(x.data(), norm.data(), 1e-5f)
                                         : LinearInput::gated(x.data(), Activation::silu);
      const Epilogue epilogue = rng.chance(2) ? Epilogue::add : Epilogue::store;
      const Rows start(M, ld, N, rng);
      Rows expected = start, found = start;
      const float* b = rng.chance(2) ? bias.data() : nullptr;
      reference().linear(expected.data(), ld, in, *make_weight(reference(), format, N, K, rows), b, M, epilogue);
      device->linear(found.data(), ld, in, *make_weight(*device, format, N, K, rows), b, M, epilogue);
      CHECK(expected.difference(found) == "");
    }
  }
}

TEST_CASE("plugin: linear equals the reference where stages are filled more than once") {
  const std::unique_ptr<Backend> device = make_ops_backend();
  Rng rng(43);
  for (const Format format : chosen({Format::q4_0, Format::q5_1})) {
    CAPTURE(std::string(traits(format).name));
    const int N = 20, K = 32 * 130;
    const auto rows = random_rows(format, N, K, rng);
    for (const int M : {5, 40}) {
      CAPTURE(M);
      const auto x = random_activations(static_cast<std::size_t>(M * K), rng);
      const Rows start(M, N, N, rng);
      Rows expected = start, found = start;
      reference().linear(expected.data(), N, LinearInput(x.data()), *make_weight(reference(), format, N, K, rows),
                         nullptr, M, Epilogue::store);
      device->linear(found.data(), N, LinearInput(x.data()), *make_weight(*device, format, N, K, rows), nullptr, M,
                     Epilogue::store);
      CHECK(expected.difference(found) == "");
    }
  }
}

TEST_CASE("plugin: a weight that was not loaded is zero, and rows may come in any order and after use") {
  const std::unique_ptr<Backend> device = make_ops_backend();
  Rng rng(42);
  const int N = 70, K = 64, M = 2;
  const auto rows = random_rows(Format::q4_0, N, K, rng);
  const auto x = random_activations(M * K, rng);
  const std::size_t stride = row_bytes(Format::q4_0, K);
  auto weight = device->weight_create(Format::q4_0, N, K), truth = reference().weight_create(Format::q4_0, N, K);
  const auto same = [&] {
    std::vector<float> expected(M * N), found(M * N);
    reference().linear(expected.data(), N, LinearInput(x.data()), *truth, nullptr, M, Epilogue::store);
    device->linear(found.data(), N, LinearInput(x.data()), *weight, nullptr, M, Epilogue::store);
    CHECK(std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)) == 0);
  };
  same();
  for (const int first : {64, 0, 32}) {
    const int count = std::min(32, N - first);
    for (Backend* b : {device.get(), &reference()})
      b->weight_load(b == device.get() ? *weight : *truth, first, count,
                     rows.data() + stride * static_cast<std::size_t>(first));
    same();
  }
}

// Operations on rows of activations on the emulated device against the reference, bit for bit.
#include <doctest.h>

#include "ops_backend.h"
#include "tests/compare.h"

namespace {

using namespace octavo;
using namespace octavo::testing;

const std::vector<int> some_rows = {1, 2, 3, 7, 33};

}  // namespace

TEST_CASE("device: embed equals the reference, every format of a table") {
  Rng rng(300);
  in_schedules([&](int) {
    for (const Format format : all_formats) {
      CAPTURE(std::string(traits(format).name));
      for (const int wanted : {16, 32, 48, 96, 576}) {
        if (is_quantised(format) && wanted % 32 != 0) continue;
        const int K = fitting(format, wanted), N = 41, T = rng.pick(some_rows);
        const std::vector<std::uint8_t> rows = random_rows(format, N, K, rng);
        std::vector<std::int32_t> ids;
        for (int t = 0; t < T; ++t) ids.push_back(t == 0 ? N - 1 : rng.below(N));
        const Rows start(T, K, K, rng);
        Rows expected = start, found = start;
        reference().embed(expected.data(), *make_weight(reference(), format, N, K, rows), ids.data(), T);
        device().embed(found.data(), *make_weight(device(), format, N, K, rows), ids.data(), T);
        CHECK(expected.difference(found) == "");
      }
    }
  });
}

TEST_CASE("device: norm equals the reference, rows and heads of any width, in place or not") {
  Rng rng(301);
  in_schedules([&](int) {
    for (const int width : {16, 48, 64, 80, 128, 576, 1040, 2048, 2064, 4112, 6160}) {
      for (const int heads : {1, 2, 5}) {
        if (heads > 1 && width > 2048) continue;
        const int T = rng.pick(some_rows), ld = width * heads + rng.below(20);
        CAPTURE(width);
        CAPTURE(heads);
        CAPTURE(T);
        const std::vector<float> weight = random_normals(static_cast<std::size_t>(width), rng);
        Rows x(T, ld, width * heads, rng);
        const std::vector<float> hard = random_activations(static_cast<std::size_t>(T * width * heads), rng);
        for (int t = 0; t < T; ++t)
          std::copy_n(&hard[static_cast<std::size_t>(t * width * heads)], width * heads, x.data() + t * ld);
        const int out_ld = width * heads + rng.below(20);
        const Rows start(T, out_ld, width * heads, rng);
        Rows expected = start, found = start;
        reference().norm(expected.data(), out_ld, x.data(), ld, weight.data(), 1e-5f, T, heads, width);
        device().norm(found.data(), out_ld, x.data(), ld, weight.data(), 1e-5f, T, heads, width);
        CHECK(expected.difference(found) == "");
        Rows in_place = x, expected_in_place = x;
        reference().norm(expected_in_place.data(), ld, expected_in_place.data(), ld, weight.data(), 1e-6f, T, heads,
                         width);
        device().norm(in_place.data(), ld, in_place.data(), ld, weight.data(), 1e-6f, T, heads, width);
        CHECK(expected_in_place.difference(in_place) == "");
      }
    }
  });
}

TEST_CASE("device: rope equals the reference, both styles, part of a head or all of it") {
  Rng rng(302);
  in_schedules([&](int) {
    for (const RopeStyle style : {RopeStyle::interleaved, RopeStyle::half}) {
      for (const int D : {16, 64, 80, 128, 256}) {
        for (const int dims : {D, D / 2, 2}) {
          const int heads = rng.between(1, 5), T = rng.pick(some_rows), ld = heads * D + rng.below(40);
          CAPTURE(D);
          CAPTURE(dims);
          const std::vector<float> angles = random_normals(static_cast<std::size_t>(T * dims), rng);
          Rows expected(T, ld, heads * D, rng), found = expected;
          reference().rope(expected.data(), ld, heads, D, angles.data(), dims, style, T);
          device().rope(found.data(), ld, heads, D, angles.data(), dims, style, T);
          CHECK(expected.difference(found) == "");
        }
      }
    }
  });
}

TEST_CASE("device: gate equals the reference") {
  Rng rng(303);
  in_schedules([&](int) {
    for (const int F : {16, 48, 704, 1040, 4112}) {
      const int T = rng.pick(some_rows);
      CAPTURE(F);
      std::vector<float> x = random_activations(static_cast<std::size_t>(T * 2 * F), rng);
      x[0] = 200, x[1] = -200, x[2] = 88.5f, x[3] = -88.5f, x[4] = -87.25f;
      const Rows start(T, F, F, rng);
      Rows expected = start, found = start;
      reference().gate(expected.data(), x.data(), F, Activation::silu, T);
      device().gate(found.data(), x.data(), F, Activation::silu, T);
      CHECK(expected.difference(found) == "");
    }
  });
}

TEST_CASE("device: gather copies rows, of widths that are whole vectors and others") {
  Rng rng(304);
  in_schedules([&](int) {
    for (const int width : {1, 3, 16, 48, 1030, 2048}) {
      const int all = 9, R = rng.between(1, 12);
      const std::vector<float> x = random_normals(static_cast<std::size_t>(all * width), rng);
      std::vector<std::int32_t> rows;
      for (int r = 0; r < R; ++r) rows.push_back(rng.below(all));
      const Rows start(R, width, width, rng);
      Rows expected = start, found = start;
      reference().gather(expected.data(), x.data(), rows.data(), R, width);
      device().gather(found.data(), x.data(), rows.data(), R, width);
      CHECK(expected.difference(found) == "");
    }
  });
}

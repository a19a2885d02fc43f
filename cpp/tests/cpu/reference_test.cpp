// The reference backend itself: small cases computed by hand from docs/numerics.md, then every operation with sums
// against double precision, with bounds that follow from the rounding steps. Last, the proof that comparing bits has
// teeth: a planted change in the order of additions must be seen.
#include <doctest.h>

#include <cmath>

#include "tests/compare.h"
#include "error.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

constexpr double half_ulp = 0x1p-24;  // relative error of one f32 rounding

// One group of weights: scale (and minimum) as f16 bits, then the codes.
std::vector<std::uint8_t> group_q8(std::uint16_t d, const std::vector<int>& codes) {
  std::vector<std::uint8_t> out = {static_cast<std::uint8_t>(d), static_cast<std::uint8_t>(d >> 8)};
  for (int i = 0; i < 32; ++i)
    out.push_back(
        static_cast<std::uint8_t>(i < static_cast<int>(codes.size()) ? codes[static_cast<std::size_t>(i)] : 0));
  return out;
}

float linear_one(Format format, const std::vector<std::uint8_t>& row, const std::vector<float>& x,
                 const float* bias = nullptr, Epilogue epilogue = Epilogue::store, float out = 0) {
  const auto w = make_weight(reference(), format, 1, static_cast<std::int64_t>(x.size()), row);
  reference().linear(&out, 1, x.data(), *w, bias, 1, epilogue);
  return out;
}

// A KV store with one layer and keys and values for positions 0.. in the blocks of `table`.
std::unique_ptr<KvStore> filled_store(int head_size, const std::vector<std::int32_t>& table,
                                      const std::vector<float>& k, const std::vector<float>& v) {
  auto store = reference().kv_create({1, static_cast<int>(table.size()), 1, head_size, KvDtype::f16});
  std::vector<std::int32_t> slots;
  for (std::size_t t = 0; t < k.size() / static_cast<std::size_t>(head_size); ++t)
    slots.push_back(table[t / 16] * 16 + static_cast<std::int32_t>(t % 16));
  reference().kv_write(*store, 0, nullptr, 0, k.data(), v.data(), head_size, slots.data(),
                       static_cast<int>(slots.size()));
  return store;
}

std::vector<float> attend(const KvStore& store, const std::vector<float>& q, const std::vector<std::int32_t>& table,
                          int position, int window, float scale) {
  std::vector<float> out(q.size());
  const AttentionSegment segment{0, 1, position, table.data()};
  reference().attention(out.data(), q.data(), static_cast<int>(q.size()), store, 0, {&segment, 1, 1},
                        {1, scale, window});
  return out;
}

}  // namespace

TEST_CASE("reference: linear by hand") {
  // amax = 127 makes d and 1/d one, so quantised values are the inputs rounded to even: 2.5 -> 2, 3.5 -> 4, -0.5 -> 0.
  std::vector<float> x(32);
  x[0] = 127, x[1] = 2.5f, x[2] = 3.5f, x[3] = -0.5f, x[31] = -3;
  SUBCASE("q8_0") {
    std::vector<int> codes(32, 7);
    codes[0] = -128, codes[1] = 10, codes[2] = 100, codes[31] = 127;
    // dot = 127 * -128 + 2 * 10 + 4 * 100 - 0 - 3 * 127 = -16217, d = 0.5
    CHECK(linear_one(Format::q8_0, group_q8(0x3800, codes), x) == -8108.5f);
  }
  SUBCASE("q4_0") {
    std::vector<std::uint8_t> row = {0x00, 0x40};  // d = 2
    for (int j = 0; j < 16; ++j) row.push_back(0x88);
    row[2] = 0x8F, row[3] = 0x80, row[4] = 0x89, row[17] = 0x18;  // codes 15, 0, 9, and 1 for element 31
    // dot = 127 * 7 + 2 * -8 + 4 * 1 - 3 * -7 = 898
    CHECK(linear_one(Format::q4_0, row, x) == 1796.0f);
  }
  SUBCASE("q4_1") {
    std::vector<std::uint8_t> row = {0x00, 0x40, 0x00, 0xB8};  // d = 2, m = -0.5
    for (int j = 0; j < 16; ++j) row.push_back(0x00);
    row[4] = 0x0F, row[5] = 0x01, row[19] = 0x20;  // codes 15, 1, and 2 for element 31
    // dot = 127 * 15 + 2 * 1 - 3 * 2 = 1901; sum = 127 + 2 + 4 - 0 - 3 = 130; y = 3802 - 65
    CHECK(linear_one(Format::q4_1, row, x) == 3737.0f);
  }
  SUBCASE("bias and epilogue") {
    const float bias = 0.25f;
    CHECK(linear_one(Format::q8_0, group_q8(0x3C00, {1}), x, &bias) == 127.25f);
    CHECK(linear_one(Format::q8_0, group_q8(0x3C00, {1}), x, &bias, Epilogue::add, 1000) == 1127.25f);
  }
  SUBCASE("a group below 1e-30 counts as zero, the smallest one above does not") {
    std::vector<float> tiny(32);
    tiny[0] = 9.99e-31f;
    CHECK(linear_one(Format::q8_0, group_q8(0x7BFF, {127}), tiny) == 0.0f);
    tiny[0] = 1.01e-30f;
    CHECK(linear_one(Format::q8_0, group_q8(0x7BFF, {127}), tiny) > 0.0f);
  }
  SUBCASE("plain formats add one product after the other") {
    // (2^24 + 1) + 1 stays 2^24 twice; from the other side 1 + 1 + 2^24 would be 2^24 + 2.
    std::vector<float> w(32), ones(32, 1.0f);
    w[0] = 0x1p24f, w[1] = 1, w[2] = 1;
    std::vector<std::uint8_t> row(128);
    std::memcpy(row.data(), w.data(), 128);
    CHECK(linear_one(Format::f32, row, ones) == 0x1p24f);
    std::swap(w[0], w[2]);
    std::memcpy(row.data(), w.data(), 128);
    CHECK(linear_one(Format::f32, row, ones) == 0x1p24f + 2);
  }
}

TEST_CASE("reference: a NaN or infinity in a row reaches every output of that row and of no other") {
  Rng rng(11);
  for (const Format format : all_formats) {
    const int K = fitting(format, 64);
    const auto w = make_weight(reference(), format, 5, K, random_rows(format, 5, K, rng));
    for (const float poison : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x = random_normals(static_cast<std::size_t>(2 * K), rng), out(10);
      x[static_cast<std::size_t>(K + 40)] = poison;
      reference().linear(out.data(), 5, x.data(), *w, nullptr, 2, Epilogue::store);
      for (int n = 0; n < 5; ++n)
        CHECK(
            (std::isfinite(out[static_cast<std::size_t>(n)]) && !std::isfinite(out[5 + static_cast<std::size_t>(n)])));
    }
  }
}

TEST_CASE("reference: small operations by hand") {
  SUBCASE("norm: the mean square of 3, 4 and zeros over 16 is 25 / 16") {
    std::vector<float> x(16), w(16, 2.0f), out(16);
    x[3] = 3, x[12] = 4;
    reference().norm(out.data(), 16, x.data(), 16, w.data(), 0, 1, 1, 16);
    CHECK(out[3] == 3 * 0.8f * 2);
    CHECK(out[12] == 4 * 0.8f * 2);
    CHECK(out[0] == 0);
  }
  SUBCASE("norm: the tree adds lane i + 8 to lane i first") {
    // Lanes 0 and 8 hold 2^24 and 1 (lost when added), lane 4 holds 1: any tree that joins 4 and 8 first gives 2^24
    // + 2.
    std::vector<float> x(16), w(16, 1.0f), out(16);
    x[0] = 4096, x[8] = 1, x[4] = 1;
    reference().norm(out.data(), 16, x.data(), 16, w.data(), 0, 1, 1, 16);
    CHECK(out[4] == 1.0f / std::sqrt(0x1p24f / 16.0f));
  }
  SUBCASE("rope: a quarter turn, in both styles, and dimensions that pass through") {
    const float quarter[4] = {0, 1, 0, 1};
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    reference().rope(x, 8, 1, 8, quarter, 4, RopeStyle::interleaved, 1);
    reference().rope(y, 8, 1, 8, quarter, 4, RopeStyle::half, 1);
    CHECK(std::vector<float>(x, x + 8) == std::vector<float>{-2, 1, -4, 3, 5, 6, 7, 8});
    CHECK(std::vector<float>(y, y + 8) == std::vector<float>{-3, -4, 1, 2, 5, 6, 7, 8});
  }
  SUBCASE("gate: silu(0) is 0, silu(x) is x far right and 0 far left") {
    const float gate_up[8] = {0, 100, -100, 1, 3, 3, 3, 3};
    float out[4];
    reference().gate(out, gate_up, 4, Activation::silu, 1);
    CHECK(out[0] == 0);
    CHECK(out[1] == 300);
    CHECK(std::fabs(out[2]) < 1e-35f);
    CHECK(out[3] == doctest::Approx(3 / (1 + std::exp(-1.0))).epsilon(1e-6));
  }
  SUBCASE("gather") {
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const std::int32_t rows[3] = {2, 0, 2};
    float out[6];
    reference().gather(out, x, rows, 3, 2);
    CHECK(std::vector<float>(out, out + 6) == std::vector<float>{5, 6, 1, 2, 5, 6});
  }
  SUBCASE("attention: one key gives its value, as f16 with overflow clamped") {
    std::vector<float> k(16, 1), v(16);
    v[0] = 1e6f, v[1] = -1e6f, v[2] = 1 + 0x1p-12f, v[3] = 65519;
    const auto store = filled_store(16, {0}, k, v);
    const std::vector<float> out = attend(*store, k, {0}, 0, 0, 1);
    CHECK((out[0] == 65504 && out[1] == -65504 && out[2] == 1 && out[3] == 65504));
  }
  SUBCASE("attention: equal scores give the mean; a window forgets what is before it") {
    std::vector<float> k(3 * 16, 1), v(3 * 16);
    for (int d = 0; d < 16; ++d)
      v[static_cast<std::size_t>(d)] = 8, v[16 + static_cast<std::size_t>(d)] = 2,
      v[32 + static_cast<std::size_t>(d)] = 4;
    const auto store = filled_store(16, {0}, k, v);
    const std::vector<float> q(16, 0.5f);
    CHECK(attend(*store, q, {0}, 1, 0, 1)[5] == 5);
    CHECK(attend(*store, q, {0}, 2, 2, 1)[5] == 3);
    CHECK(attend(*store, q, {0}, 2, 1, 1)[5] == 4);
  }
}

TEST_CASE("reference: linear against double precision") {
  Rng rng(12);
  for (const Format format : all_formats) {
    CAPTURE(std::string(traits(format).name));
    const int K = fitting(format, 576);
    double worst = 0;  // error as a share of its bound
    for (int round = 0; round < 40; ++round) {
      const std::vector<std::uint8_t> row = random_rows(format, 1, K, rng);
      const std::vector<float> x = random_normals(static_cast<std::size_t>(K), rng);
      std::vector<float> w(static_cast<std::size_t>(K));
      dequantise_row(format, row.data(), w.size(), w.data());
      double sum = 0, terms = 0, bound = 0;
      for (int g = 0; g < K / 32; ++g) {
        double weights = 0, amax = 0;
        for (int i = g * 32; i < g * 32 + 32; ++i) {
          sum += static_cast<double>(w[static_cast<std::size_t>(i)]) * x[static_cast<std::size_t>(i)];
          terms += std::fabs(static_cast<double>(w[static_cast<std::size_t>(i)]) * x[static_cast<std::size_t>(i)]);
          weights += std::fabs(w[static_cast<std::size_t>(i)]);
          amax = std::max(amax, std::fabs(static_cast<double>(x[static_cast<std::size_t>(i)])));
        }
        if (is_quantised(format)) bound += weights * (amax / 127) * 0.5001;  // each input moves by up to half a step
      }
      // f32 roundings: one per product and sum; q4_1's two terms may each be larger than the sum of both.
      bound += terms * half_ulp * (is_quantised(format) ? 64 : K);
      worst = std::max(worst, std::fabs(linear_one(format, row, x) - sum) / bound);
    }
    CAPTURE(worst);
    CHECK(worst <= 1);
  }
}

TEST_CASE("reference: norm, gate and rope against double precision") {
  Rng rng(13);
  const int width = 576;
  const std::vector<float> x = random_normals(width, rng, 3), w = random_normals(width, rng);
  std::vector<float> out(width);
  reference().norm(out.data(), width, x.data(), width, w.data(), 1e-5f, 1, 1, width);
  double squares = 0, worst = 0;
  for (const float v : x) squares += static_cast<double>(v) * v;
  const double r = 1 / std::sqrt(squares / width + static_cast<double>(1e-5f));
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::fabs(out[i] / (static_cast<double>(x[i]) * r * w[i]) - 1));
  CHECK(worst <
        24 * half_ulp);  // 36 + 4 additions of positives (half counts, under the root), root, quotient, two products

  worst = 0;
  for (int i = 0; i < 20000; ++i) {
    const float pair[2] = {static_cast<float>(rng.uniform() * 160 - 80), 1};
    float y;
    reference().gate(&y, pair, 1, Activation::silu, 1);
    worst = std::max(worst, std::fabs(y / (pair[0] / (1 + std::exp(-static_cast<double>(pair[0])))) - 1));
  }
  CHECK(worst < 8 * half_ulp);  // exp's polynomial is good to about two units in the last place

  worst = 0;
  for (int i = 0; i < 2000; ++i) {
    const double angle = rng.uniform() * 6.28;
    const float table[2] = {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
    float v[2] = {rng.normal(), rng.normal()};
    const double u0 = v[0], u1 = v[1];
    reference().rope(v, 2, 1, 2, table, 2, RopeStyle::half, 1);
    const double size = std::hypot(u0, u1);
    worst = std::max(worst, std::fabs(v[0] - (u0 * table[0] - u1 * table[1])) / size);
    worst = std::max(worst, std::fabs(v[1] - (u0 * table[1] + u1 * table[0])) / size);
  }
  CHECK(worst < 2 * half_ulp);
}

TEST_CASE("reference: attention against double precision") {
  Rng rng(14);
  const int D = 64, length = 700;
  std::vector<std::int32_t> table(44);
  for (int i = 0; i < 44; ++i) table[static_cast<std::size_t>(i)] = i;
  shuffle(table, rng);
  // Values that f16 holds exactly, so that the cache adds no error.
  std::vector<float> k = random_normals(length * D, rng), v = random_normals(length * D, rng);
  for (float& x : k) x = f16_to_f32(f32_to_f16(x));
  for (float& x : v) x = f16_to_f32(f32_to_f16(x));
  const auto store = filled_store(D, table, k, v);
  for (const int position : {0, 1, 15, 16, 255, 256, 257, 511, 512, 699}) {
    for (const int window : {0, 1, 100, 256, 300}) {
      CAPTURE(position);
      CAPTURE(window);
      const std::vector<float> q = random_normals(D, rng, 2), out = attend(*store, q, table, position, window, 0.125f);
      std::vector<double> expected(D);
      double total = 0, worst = 0;
      for (int j = window > 0 ? std::max(0, position - window + 1) : 0; j <= position; ++j) {
        double s = 0;
        for (int d = 0; d < D; ++d)
          s += static_cast<double>(q[static_cast<std::size_t>(d)]) * k[static_cast<std::size_t>(j * D + d)];
        const double p = std::exp(s * 0.125);
        total += p;
        for (int d = 0; d < D; ++d) expected[static_cast<std::size_t>(d)] += p * v[static_cast<std::size_t>(j * D + d)];
      }
      for (std::size_t d = 0; d < D; ++d) worst = std::max(worst, std::fabs(out[d] - expected[d] / total));
      // Scores are sums of 64 products of size 2 / 8 with roundings of 2^-24: a few 1e-6 in p, averaged over values of
      // size 1.
      CHECK(worst < 5e-6);
    }
  }
}

TEST_CASE("comparing bits sees a planted fault in the order of additions") {
  Rng rng(15);
  const int K = 256, N = 33;
  SUBCASE("linear") {
    const std::vector<std::uint8_t> rows = random_rows(Format::q8_0, N, K, rng);
    const std::vector<float> x = random_normals(K, rng);
    const auto w = make_weight(reference(), Format::q8_0, N, K, rows);
    Rows expected(1, N, N, rng);
    Rows found = expected;
    reference().linear(expected.data(), N, x.data(), *w, nullptr, 1, Epilogue::store);
    enum class Fault { none, descending, two_accumulators, other_product, no_fma };
    const auto run = [&](Fault fault) {
      for (int n = 0; n < N; ++n) {
        float acc[2] = {0, 0};
        for (int step = 0; step < K / 32; ++step) {
          const int g = fault == Fault::descending ? K / 32 - 1 - step : step;
          const std::uint8_t* p = rows.data() + (n * (K / 32) + g) * 34;
          std::uint16_t bits;
          std::memcpy(&bits, p, 2);
          float amax = 0;
          for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[static_cast<std::size_t>(g * 32 + i)]));
          int dot = 0;
          for (int i = 0; i < 32; ++i)
            dot += static_cast<std::int8_t>(p[2 + i]) *
                   static_cast<int>(std::lrint(x[static_cast<std::size_t>(g * 32 + i)] * (127 / amax)));
          float& a = acc[fault == Fault::two_accumulators ? step % 2 : 0];
          const float d = amax / 127, dw = f16_to_f32(bits), f = static_cast<float>(dot);
          if (fault == Fault::other_product)
            a = std::fma(f * dw, d, a);
          else if (fault == Fault::no_fma)
            a = f * (dw * d) + a;
          else
            a = std::fma(f, dw * d, a);
        }
        found.data()[n] = acc[0] + acc[1];
      }
      return expected.difference(found);
    };
    CHECK(run(Fault::none) == "");
    for (const Fault fault : {Fault::descending, Fault::two_accumulators, Fault::other_product, Fault::no_fma})
      CHECK(run(fault).find("expected") != std::string::npos);
  }
  SUBCASE("attention: the same keys one block further on, so that chunks end elsewhere") {
    const int D = 64, length = 512;
    std::vector<std::int32_t> table(33), shifted(33);
    for (int i = 0; i < 33; ++i)
      table[static_cast<std::size_t>(i)] = i, shifted[static_cast<std::size_t>(i)] = (i + 32) % 33;
    const std::vector<float> k = random_normals(length * D, rng), v = random_normals(length * D, rng),
                             q = random_normals(D, rng);
    const auto store = filled_store(D, table, k, v);
    const std::vector<float> here = attend(*store, q, table, length - 1, 0, 0.125f);
    const std::vector<float> there = attend(*store, q, shifted, length + 15, length, 0.125f);
    double worst = 0;
    for (std::size_t d = 0; d < D; ++d) worst = std::max(worst, std::fabs(static_cast<double>(here[d]) - there[d]));
    CHECK(worst < 1e-6);
    CHECK(std::memcmp(here.data(), there.data(), D * sizeof(float)) != 0);
  }
  SUBCASE("one bit, and one write outside of a row") {
    Rows expected(3, 10, 7, rng);
    Rows found = expected;
    CHECK(expected.difference(found) == "");
    found.data()[12] = std::nextafter(found.data()[12], INFINITY);
    CHECK(expected.difference(found).find("row 1 of 3, column 2 of 7:") != std::string::npos);
    found = expected;
    found.data()[18] = 0;
    CHECK(expected.difference(found).find("column 8 of 7 (padding)") != std::string::npos);
  }
}

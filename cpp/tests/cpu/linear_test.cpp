// linear, feed_forward and their weights against the reference backend: every format on every instruction set, equal
// bit for bit (docs/numerics.md). Shapes come from one table: one, primes, tails of every vector width and tile, and
// the widths of real models. A default run takes a seeded sample in which each value of each dimension occurs, and for
// each shape and instruction set one number of threads; OCTAVO_DEEP=1 takes all.
#include <doctest.h>

#include <limits>
#include <set>
#include <thread>

#include "error.h"
#include "os/os.h"
#include "tests/compare.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

const std::vector<int> table_N = {1, 7, 32, 33, 61, 100, 960};
const std::vector<int> table_K = {32, 64, 96, 576, 1536};

struct LinearShape {
  int m, n, k;
  double size() const { return static_cast<double>(m) * n * k; }
};

// N x K of real models: SmolLM2-135M (qkv, attention output, gate and up, down), TinyLlama-1.1B, and a slice of a
// vocabulary.
const std::vector<LinearShape> model_shapes = {{1, 960, 576},   {1, 576, 576},   {1, 3072, 576},   {1, 576, 1536},
                                               {1, 2560, 2048}, {1, 2048, 5632}, {1, 11264, 2048}, {1, 4099, 576}};

// Many tokens: quantised by several threads, cut into several blocks that fit a cache.
const std::vector<LinearShape> prompt_shapes = {{513, 33, 576}, {300, 7, 1536}, {257, 65, 320}, {130, 33, 2048}};

std::vector<LinearShape> linear_shapes(Rng& rng) {
  std::vector<LinearShape> all;
  for (const int m : table_M)
    for (const int n : table_N)
      for (const int k : table_K) all.push_back({m, n, k});
  if (deep()) {
    for (const LinearShape& shape : model_shapes)
      for (const int m : {1, 5, 33}) all.push_back({m, shape.n, shape.k});
    all.insert(all.end(), prompt_shapes.begin(), prompt_shapes.end());
    return all;
  }
  // Of each format every value of each dimension, in few cases: always the next one with most values that none has
  // had. Small ones, so that the sample is quick under a sanitizer too.
  constexpr double largest = 1e6;
  std::erase_if(all, [](const LinearShape& shape) { return shape.size() > largest; });
  shuffle(all, rng);
  std::vector<LinearShape> sample;
  std::set<int> had_m, had_n, had_k;
  const auto gained = [&](const LinearShape& s) {
    return !had_m.contains(s.m) + !had_n.contains(s.n) + !had_k.contains(s.k);
  };
  const auto most_gained = [&] {
    return *std::max_element(all.begin(), all.end(),
                             [&](const LinearShape& a, const LinearShape& b) { return gained(a) < gained(b); });
  };
  for (LinearShape next = most_gained(); gained(next) > 0; next = most_gained()) {
    sample.push_back(next);
    had_m.insert(next.m), had_n.insert(next.n), had_k.insert(next.k);
  }
  sample.push_back(model_shapes[static_cast<std::size_t>(rng.below(4))]);
  if (rng.chance(3)) sample.push_back(rng.pick(prompt_shapes));
  return sample;
}

std::string words(Format format, const LinearShape& shape, bool bias, Epilogue epilogue) {
  return std::string(traits(format).name) + " M " + std::to_string(shape.m) + " N " + std::to_string(shape.n) + " K " +
         std::to_string(shape.k) + (bias ? ", bias" : "") + (epilogue == Epilogue::add ? ", add" : ", store");
}

// Rows in pieces of 32 times anything, in any order, as a loader may bring them.
void load_in_pieces(Backend& backend, Weight& w, const std::vector<std::uint8_t>& rows, Rng& rng) {
  const std::size_t stride = row_bytes(w.format, static_cast<std::size_t>(w.k));
  std::vector<std::pair<std::int64_t, std::int64_t>> pieces;
  for (std::int64_t row = 0; row < w.n;) {
    const std::int64_t count = std::min<std::int64_t>(w.n - row, 32 * rng.between(1, 12));
    pieces.push_back({row, count});
    row += count;
  }
  shuffle(pieces, rng);
  for (const auto& [row, count] : pieces)
    backend.weight_load(w, row, count, rows.data() + stride * static_cast<std::size_t>(row));
}

// Steps of any size prefetch, some sizes do, none do.
const std::vector<int> prefetch_starts = {1, 3, 6, std::numeric_limits<int>::max()};
// Steps of any size use matrix registers, some sizes do.
const std::vector<int> matrix_starts = {1, 1, 12};

void check_linear(Format format, const LinearShape& wanted, Rng& rng) {
  const LinearShape shape{wanted.m, wanted.n, fitting(format, wanted.k)};
  const bool with_bias = rng.chance(2);
  const Epilogue epilogue = rng.chance(2) ? Epilogue::add : Epilogue::store;
  const InputKind kind = static_cast<InputKind>(rng.between(0, 2));
  CAPTURE(words(format, shape, with_bias, epilogue));
  CAPTURE(static_cast<int>(kind));
  const std::vector<std::uint8_t> rows = random_rows(format, shape.n, shape.k, rng);
  const std::size_t inputs = static_cast<std::size_t>(shape.m) * shape.k * (kind == InputKind::gated ? 2 : 1);
  const Input x(random_activations(inputs, rng), rng);
  const Input norm_weight(random_activations(static_cast<std::size_t>(shape.k), rng), rng);
  const LinearInput in = kind == InputKind::plain   ? LinearInput(x)
                         : kind == InputKind::gated ? LinearInput::gated(x, Activation::silu)
                                                    : LinearInput::normed(x, norm_weight, 1e-5f);
  const Input bias(random_activations(static_cast<std::size_t>(shape.n), rng), rng);
  const Rows start(shape.m, shape.n + (rng.chance(2) ? rng.between(1, 40) : 0), shape.n, rng);
  const auto run = [&](Backend& backend, const Weight& w) {
    Rows out = start;
    backend.linear(out.data(), out.ld(), in, w, with_bias ? static_cast<const float*>(bias) : nullptr, shape.m,
                   epilogue);
    return out;
  };
  const Rows expected = run(reference(), *make_weight(reference(), format, shape.n, shape.k, rows));
  for (const auto& backend : cpus()) {
    const std::unique_ptr<Weight> w = backend->weight_create(format, shape.n, shape.k);
    if (rng.chance(2)) w->pair_halves();
    load_in_pieces(*backend, *w, rows, rng);
    for (const int threads : thread_counts(rng)) {
      backend->set_threads(threads);
      backend->set_tuning({.prefetch_from_tokens = rng.pick(prefetch_starts),
                           .matrix_from_tokens = rng.pick(matrix_starts)});
      const std::string difference = expected.difference(run(*backend, *w));
      CHECK_MESSAGE(difference.empty(), std::string(backend->isa()), ", ", threads, " threads: ", difference);
    }
    backend->set_tuning({});
  }
}

// Bytes that are no finite scale, and where in a stored block.
struct BadScale {
  std::size_t at;
  std::uint32_t bits;
  std::size_t bytes;
};

std::vector<BadScale> bad_scales(Format format) {
  if (!is_quantised(format)) return {};
  if (format == Format::mxfp4) return {{0, 255, 1}};
  if (format == Format::nvfp4) return {};  // has no bits for one
  std::vector<BadScale> all;
  for (const std::uint32_t bits : {0x7C00u, 0xFC00u, 0x7E00u}) {
    if (format == Format::iq1_m) {  // a nibble of it in bytes 49, 51, 53 and 55; the last two hold the exponent
      all.push_back({53, (bits >> 8 & 15) << 4 | bits >> 12 << 20, 3});
      continue;
    }
    all.push_back({scale_offset(format), bits, 2});
    if (has_minimum(format)) all.push_back({scale_offset(format) + 2, bits, 2});
  }
  return all;
}

}  // namespace

TEST_CASE("linear equals the reference") {
  for (const Format format : all_formats) {
    Rng rng(100 + static_cast<std::uint64_t>(format));
    for (const LinearShape& shape : linear_shapes(rng)) check_linear(format, shape, rng);
  }
}

TEST_CASE("linear: one to four panels of matrix registers, with widths of few groups, equal the reference") {
  for (const Format format : {Format::q4_0, Format::q4_1, Format::q8_0}) {
    Rng rng(160 + static_cast<std::uint64_t>(format));
    for (const int k : {32, 64, 96, 128, 160, 288, 544})
      for (const int m : {5, 9, 12, 14, 16, 17, 24, 31, 33, 40, 48, 49})
        if (deep() || rng.chance(3)) check_linear(format, {m, rng.between(1, 100), k}, rng);
    // More tiles than a run has at most.
    for (const int k : {32, 96, 160}) check_linear(format, {rng.between(5, 48), rng.between(1025, 1400), k}, rng);
  }
}

TEST_CASE("linear and embed: float weights whose width is no multiple of 32 equal the reference") {
  for (const Format format : {Format::f32, Format::f16, Format::bf16}) {
    Rng rng(120 + static_cast<std::uint64_t>(format));
    for (const int k : {16, 48, 80, 112, 336}) {
      for (const int m : {1, 2, 3, 5, 8, 9, 33})
        for (const int n : {1, 16, 48, 80, 133}) check_linear(format, {m, n, k}, rng);
      const std::vector<std::uint8_t> rows = random_rows(format, 41, k, rng);
      const std::vector<std::int32_t> ids = {0, 40, 31, 32, 7};
      const int T = static_cast<int>(ids.size());
      const Rows start(T, k, k, rng);
      Rows expected = start;
      reference().embed(expected.data(), *make_weight(reference(), format, 41, k, rows), ids.data(), T);
      on_every_cpu([&](Backend& backend, const std::string& label) {
        Rows found = start;
        backend.embed(found.data(), *make_weight(backend, format, 41, k, rows), ids.data(), T);
        const std::string difference = expected.difference(found);
        CHECK_MESSAGE(difference.empty(), label, ": ", difference);
      });
    }
  }
  for (const Format format : all_formats) {
    const int wrong = is_quantised(format) ? static_cast<int>(traits(format).group) + 16 : 24;
    for (const auto& backend : cpus()) CHECK_THROWS_AS(backend->weight_create(format, 32, wrong), Error);
  }
}

TEST_CASE("feed_forward equals its two linears: formats of both, biases, every number of tokens") {
  Rng rng(150);
  for (const Format format : all_formats) {
    for (const int M : deep() ? table_M : std::vector<int>{1, 2, 5, 8, 9, 33, 70}) {
      if (!deep() && !rng.chance(3)) continue;  // over the formats each is met
      const Format after =
          rng.chance(2) ? format : rng.pick(std::vector<Format>(std::begin(all_formats), std::end(all_formats)));
      const int E = fitting(format, 96), F = fitting(after, 32 * rng.between(1, 9)), N = rng.between(1, 100);
      CAPTURE(std::string(traits(format).name) + ", " + traits(after).name + " M " + std::to_string(M) + " F " +
              std::to_string(F));
      const bool bias = rng.chance(2);
      const std::vector<float> gate_up_bias = random_normals(static_cast<std::size_t>(2 * F), rng),
                               down_bias = random_normals(static_cast<std::size_t>(N), rng);
      const std::vector<float> x = random_activations(static_cast<std::size_t>(M) * E, rng),
                               norm = random_normals(static_cast<std::size_t>(E), rng);
      const std::vector<std::uint8_t> first = random_rows(format, 2 * F, E, rng),
                                      second = random_rows(after, N, F, rng);
      const Rows start(M, N, N, rng);
      const auto run = [&](Backend& backend, bool side_by_side) {
        Rows out = start;
        std::vector<float> between(static_cast<std::size_t>(M) * 2 * F);
        const auto gate_up = backend.weight_create(format, 2 * F, E), down = make_weight(backend, after, N, F, second);
        if (side_by_side) gate_up->pair_halves();
        load_in_pieces(backend, *gate_up, first, rng);
        backend.feed_forward(out.data(), LinearInput::normed(x.data(), norm.data(), 1e-5f),
                             {*gate_up, bias ? gate_up_bias.data() : nullptr, *down, bias ? down_bias.data() : nullptr,
                              Activation::silu},
                             between.data(), M);
        return out;
      };
      const Rows expected = run(reference(), false);
      on_every_cpu([&](Backend& backend, const std::string& label) {
        const std::string difference = expected.difference(run(backend, rng.chance(2)));
        CHECK_MESSAGE(difference.empty(), label, ": ", difference);
      }, &rng);
    }
  }
}

TEST_CASE("linear: rows do not depend on the batch, its pieces or the threads") {
  Rng rng(200);
  const int M = 37, N = 133;
  for (const Format format : all_formats) {
    const int K = fitting(format, 192);
    CAPTURE(std::string(traits(format).name));
    const std::vector<std::uint8_t> rows = random_rows(format, N, K, rng);
    const std::vector<float> x = random_activations(static_cast<std::size_t>(M) * K, rng);
    const Rows start(M, N, N, rng);
    const Rows* first = nullptr;
    std::unique_ptr<Rows> kept;
    for (const auto& backend : cpus()) {
      const auto w = make_weight(*backend, format, N, K, rows);
      for (const int piece : {M, 1, 2, 5, 8, 16, 36}) {
        if (!deep() && piece != M && rng.chance(2)) continue;
        for (const int threads : thread_counts(rng)) {
          backend->set_threads(threads);
          Rows out = start;
          for (int t = 0; t < M; t += piece)
            backend->linear(out.data() + t * N, N, x.data() + t * K, *w, nullptr, std::min(piece, M - t),
                            Epilogue::store);
          if (first == nullptr) first = (kept = std::make_unique<Rows>(out)).get();
          const std::string difference = first->difference(out);
          CHECK_MESSAGE(difference.empty(), std::string(backend->isa()), ", ", threads, " threads, pieces of ", piece,
                        ": ", difference);
        }
      }
    }
  }
}

TEST_CASE("linear: an output too large for the caches is the same wherever it lies") {
  Rng rng(250);
  const int M = 9, K = 32, N = 32 * 2740 + 16, floats_a_line = 16;  // 3 MiB and more; the last tile is half a tile
  for (const Format format : {Format::q4_0, Format::q8_0, Format::q5_0}) {
    CAPTURE(std::string(traits(format).name));
    const std::vector<std::uint8_t> rows = random_rows(format, N, K, rng);
    const std::vector<float> x = random_activations(static_cast<std::size_t>(M) * K, rng);
    const std::vector<float> bias = random_normals(static_cast<std::size_t>(N), rng);
    // At a cache line, rows as well; and neither.
    for (const int shift : {0, 1}) {
      const int ld = N + shift * 3;
      os::Memory memory(sizeof(float) * (static_cast<std::size_t>(M) * static_cast<std::size_t>(ld) + floats_a_line));
      float* const out = static_cast<float*>(memory.data()) + shift;
      std::vector<float> expected(static_cast<std::size_t>(M) * static_cast<std::size_t>(ld));
      reference().linear(expected.data(), ld, x.data(), *make_weight(reference(), format, N, K, rows), bias.data(), M,
                         Epilogue::store);
      on_every_cpu([&](Backend& backend, const std::string& label) {
        std::fill_n(out, expected.size(), -1.0f);
        backend.linear(out, ld, x.data(), *make_weight(backend, format, N, K, rows), bias.data(), M, Epilogue::store);
        int different = 0;
        for (int t = 0; t < M; ++t)
          different += std::memcmp(out + t * ld, expected.data() + t * ld, sizeof(float) * N) != 0;
        CHECK_MESSAGE(different == 0, label, ", shift ", shift, ": ", different, " rows differ");
      }, &rng);
    }
  }
}

TEST_CASE("linear: a NaN or infinity in a row reaches every output of that row and of no other") {
  Rng rng(201);
  const int M = 9, N = 45;
  for (const Format format : all_formats) {
    const int K = fitting(format, 96);
    const std::vector<std::uint8_t> rows = random_rows(format, N, K, rng);
    const std::vector<float> clean = random_normals(static_cast<std::size_t>(M) * K, rng);
    for (const float poison : {NAN, INFINITY, -INFINITY}) {
      const int row = rng.below(M);
      std::vector<float> x = clean;
      x[static_cast<std::size_t>(row * K + rng.below(K))] = poison;
      on_every_cpu([&](Backend& backend, const std::string& label) {
        const auto w = make_weight(backend, format, N, K, rows);
        std::vector<float> expected(M * N), found(M * N);
        backend.linear(expected.data(), N, clean.data(), *w, nullptr, M, Epilogue::store);
        backend.linear(found.data(), N, x.data(), *w, nullptr, M, Epilogue::store);
        int wrong = 0;
        for (int i = 0; i < M * N; ++i) {
          const auto at = static_cast<std::size_t>(i);
          wrong += i / N == row ? std::isfinite(found[at]) : std::memcmp(&found[at], &expected[at], 4) != 0;
        }
        CHECK_MESSAGE(wrong == 0, std::string(traits(format).name), ", ", label, ": ", wrong, " outputs");
      });
    }
  }
}

TEST_CASE("weights: zeroed when made, refused when a scale is not finite, loaded from two threads") {
  Rng rng(210);
  on_every_cpu([&](Backend& backend, const std::string& label) {
    CAPTURE(label);
    for (const Format format : all_formats) {
      const int K = fitting(format, 64);
      const std::size_t stride = row_bytes(format, static_cast<std::size_t>(K));
      const std::vector<float> x = random_normals(static_cast<std::size_t>(K), rng);
      std::vector<float> out(70, 1.0f);
      const auto zero = backend.weight_create(format, 70, K);
      CHECK(zero->resident_bytes() >= stride * 70);
      backend.linear(out.data(), 70, x.data(), *zero, nullptr, 1, Epilogue::store);
      CHECK(out == std::vector<float>(70, 0.0f));

      const std::vector<std::uint8_t> rows = random_rows(format, 70, K, rng);
      const auto w = backend.weight_create(format, 70, K), expected = make_weight(reference(), format, 70, K, rows);
      std::thread other([&] { backend.weight_load(*w, 0, 32, rows.data()); });
      backend.weight_load(*w, 32, 38, rows.data() + 32 * stride);
      other.join();
      std::vector<float> a(70), b(70);
      backend.linear(a.data(), 70, x.data(), *w, nullptr, 1, Epilogue::store);
      reference().linear(b.data(), 70, x.data(), *expected, nullptr, 1, Epilogue::store);
      CHECK(std::memcmp(a.data(), b.data(), 70 * sizeof(float)) == 0);

      for (const BadScale& bad : bad_scales(format)) {
        std::vector<std::uint8_t> broken = rows;
        std::memcpy(&broken[stride * 70 - traits(format).group_bytes + bad.at], &bad.bits, bad.bytes);
        for (Backend* const loader : {&backend, &reference()}) {
          const auto target = loader->weight_create(format, 70, K);
          try {
            loader->weight_load(*target, 0, 70, broken.data());
            FAIL_CHECK(std::string(traits(format).name), ": a scale of ", bad.bits, " was accepted");
          } catch (const Error& error) {
            CHECK(error.code() == Code::model_invalid);
          }
        }
      }
    }
  });
}

TEST_CASE("weights: a width that is not whole blocks of the format is refused") {
  on_every_cpu([&](Backend& backend, const std::string& label) {
    CAPTURE(label);
    for (const Format format : {Format::q2_k, Format::q3_k, Format::q4_k, Format::q5_k, Format::q6_k, Format::iq4_xs}) {
      try {
        backend.weight_create(format, 32, 288);
        FAIL_CHECK("accepted");
      } catch (const Error& error) {
        CHECK(error.code() == Code::invalid_argument);
      }
    }
  });
}

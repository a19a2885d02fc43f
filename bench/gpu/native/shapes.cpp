// Operations at the sizes of an 8B model (Llama 3.1: 4096 wide, 32 heads on 8, 14336 within, 128256 tokens) on the GPU and by
// the CPU's kernels, which tests hold against the reference: the same bits, or the run ends.
#include <cstring>
#include <thread>

#include "commands.h"
#include "cuda/cuda_backend.h"
#include "files/synthetic.h"
#include "report.h"
#include "tests/attention_scene.h"

namespace octavo::bench {

namespace {

using namespace octavo::testing;

struct Pair {
  std::unique_ptr<Backend> gpu = make_cuda_backend(0), cpu = make_cpu_backend(nullptr);
  Rng rng{8};
  int cases = 0;

  Pair() { cpu->set_threads(static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))); }
  void check(const std::string& what, const std::string& difference) {
    if (!difference.empty()) fail(what + " differs from the CPU: " + difference);
    ++cases;
  }
};

void check_linear(Pair& pair, Format format, int n, int k) {
  std::vector<std::uint8_t> rows(row_bytes(format, static_cast<std::size_t>(k)) * static_cast<std::size_t>(n));
  synthetic_rows(format, 1, 1, 0, n, k, rows.data());
  const auto on_gpu = make_weight(*pair.gpu, format, n, k, rows), on_cpu = make_weight(*pair.cpu, format, n, k, rows);
  for (const int m : options.tiny ? std::vector<int>{3} : std::vector<int>{1, 5, 16, 64, 200}) {
    if (n > 100000 && m > 64) continue;
    const auto x = random_normals(static_cast<std::size_t>(m) * static_cast<std::size_t>(k), pair.rng);
    Rows expected = Rows::blank(m, n, n, pair.rng), found = expected;
    pair.cpu->linear(expected.data(), n, LinearInput(x.data()), *on_cpu, nullptr, m, Epilogue::store);
    pair.gpu->linear(found.data(), n, LinearInput(x.data()), *on_gpu, nullptr, m, Epilogue::store);
    pair.check("linear " + std::string(traits(format).name) + " " + std::to_string(n) + "x" + std::to_string(k) +
                   " of " + std::to_string(m),
               expected.difference(found));
  }
}

void check_attention(Pair& pair, KvDtype dtype) {
  const std::vector<std::pair<int, int>> lengths =
      options.tiny ? std::vector<std::pair<int, int>>{{40, 3}}
                   : std::vector<std::pair<int, int>>{{5000, 1}, {1000, 5}, {700, 700}};
  const Scene scene = make_scene(dtype, options.tiny ? 64 : 128, options.tiny ? 1 : 8, 4, 0, lengths, pair.rng);
  Rng once(3), again(3);
  const auto on_cpu = fill(*pair.cpu, scene, 256, once), on_gpu = fill(*pair.gpu, scene, 256, again);
  const Rows q(scene.rows, scene.q_width(), scene.q_width(), pair.rng),
      start = Rows::blank(scene.rows, scene.q_width(), scene.q_width(), pair.rng);
  pair.check("attention " + scene.words(),
             attend(*pair.cpu, scene, *on_cpu, q, start, scene.segments)
                 .difference(attend(*pair.gpu, scene, *on_gpu, q, start, scene.segments)));
}

void check_rows(Pair& pair) {
  const int width = options.tiny ? 64 : 4096, rows = options.tiny ? 3 : 777, heads = width / 64;
  const auto weight = random_normals(static_cast<std::size_t>(width), pair.rng);
  const Rows x(rows, width, width, pair.rng);
  Rows expected = x, found = x;
  pair.cpu->norm(expected.data(), width, x.data(), width, weight.data(), 1e-5f, rows, 1, width);
  pair.gpu->norm(found.data(), width, x.data(), width, weight.data(), 1e-5f, rows, 1, width);
  pair.check("norm", expected.difference(found));
  const auto turns = random_normals(static_cast<std::size_t>(rows) * 64, pair.rng);
  pair.cpu->rope(expected.data(), width, heads, 64, turns.data(), 64, RopeStyle::half, rows);
  pair.gpu->rope(found.data(), width, heads, 64, turns.data(), 64, RopeStyle::half, rows);
  pair.check("rope", expected.difference(found));
  Rows gated = Rows::blank(rows, width / 2, width / 2, pair.rng), gated_too = gated;
  pair.cpu->gate(gated.data(), x.data(), width / 2, Activation::silu, rows);
  pair.gpu->gate(gated_too.data(), x.data(), width / 2, Activation::silu, rows);
  pair.check("gate", gated.difference(gated_too));
}

void check_sample(Pair& pair) {
  const int V = options.tiny ? 500 : 128256, B = options.tiny ? 4 : 64;
  const auto logits = random_normals(static_cast<std::size_t>(B) * static_cast<std::size_t>(V), pair.rng, 4);
  std::vector<SamplerParams> params(static_cast<std::size_t>(B));
  std::vector<std::int32_t> history(300);
  for (std::size_t i = 0; i < history.size(); ++i) history[i] = pair.rng.below(V);
  std::vector<SampleRow> rows(params.size());
  for (std::size_t b = 0; b < params.size(); ++b) {
    SamplerParams& p = params[b];
    p.seed = b, p.temperature = b % 4 == 0 ? 0.0f : 0.9f, p.top_p = b % 3 == 1 ? 0.9f : 1.0f,
    p.top_k = b % 5 == 2 ? 40 : 0;
    p.min_p = b % 7 == 3 ? 0.05f : 0.0f, p.repetition_penalty = b % 6 == 5 ? 1.2f : 1.0f,
    p.logprobs = b % 8 == 1 ? 5 : -1;
    p.prompt_length = 100;
    rows[b].params = &p, rows[b].history = history.data(), rows[b].history_length = static_cast<int>(history.size());
  }
  auto found_rows = rows;
  auto on_cpu = logits, on_gpu = logits;
  pair.cpu->sample(on_cpu.data(), V, rows.data(), B);
  pair.gpu->sample(on_gpu.data(), V, found_rows.data(), B);
  for (std::size_t b = 0; b < rows.size(); ++b) {
    const bool same =
        rows[b].token == found_rows[b].token && std::memcmp(&rows[b].logprob, &found_rows[b].logprob, 4) == 0;
    pair.check("draw " + std::to_string(b),
               same ? "" : std::to_string(found_rows[b].token) + " instead of " + std::to_string(rows[b].token));
  }
}

}  // namespace

int run_shapes() {
  Pair pair;
  if (options.tiny) {
    check_linear(pair, Format::q4_0, 48, 96);
  } else {
    for (const Format format : {Format::q4_0, Format::q4_k, Format::q8_0})
      for (const auto& [n, k] : {std::pair{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}})
        check_linear(pair, format, n, k);
    check_linear(pair, Format::q6_k, 128256, 4096);
  }
  for (const KvDtype dtype : kv_dtypes) check_attention(pair, dtype);
  check_rows(pair);
  check_sample(pair);
  figure("shapes.equal", pair.cases, "cases, the CPU's bits");
  return 0;
}

}  // namespace octavo::bench

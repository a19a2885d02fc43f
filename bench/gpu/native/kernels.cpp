// How fast operations are on this device. Weights are rotated over more memory than its caches hold, operations of a kind
// stand in one CUDA graph, figures are medians, and what a linear computed is compared with the CPU before it is timed
// (other operations: shapes.cpp, at the same sizes). Shares are of R, or of a device copy, from the same run (limits.cpp).
#include <cstring>
#include <thread>

#include "ops/kv.h"
#include "ops/linear.h"
#include "ops/repack.h"
#include "ops/rows.h"
#include "ops/sample.h"
#include "commands.h"
#include "cuda/steps/attention_inputs.h"
#include "cuda/steps/sample_inputs.h"
#include "files/synthetic.h"
#include "tests/compare.h"
#include "timing.h"

namespace octavo::bench {

namespace {

using cuda::Buffer;
using cuda::Launches;
using Bytes = std::vector<std::uint8_t>;

struct Bench {
  cuda::Device device{0};
  std::unique_ptr<Backend> cpu = make_cpu_backend(nullptr);
  testing::Rng rng{12};
  double read = known_figure("limit.read") * 1e9, copy = known_figure("limit.copy") * 1e9;

  Bench() {
    cpu->set_threads(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
    if (read == 0 || copy == 0) fail("limit.read and limit.copy are not in figures.tsv: run `limits` first");
  }
  Buffer<float> floats(std::size_t count) { return Buffer<float>(device, testing::random_normals(count, rng)); }
  void report(const std::string& name, double seconds, double bytes, double of) {
    figure(name + ".us", seconds * 1e6, "us");
    if (bytes > 0) figure(name + ".share", bytes / seconds / of, "of what memory gives");
  }
};

constexpr std::size_t rotation_bytes = std::size_t{200} << 20;

// ---- linear ---------------------------------------------------------------------------------------------------

struct LinearBench {
  Bench& bench;
  const Format format;
  const int n, k;
  Bytes rows;
  std::unique_ptr<Weight> truth;
  std::vector<Buffer<std::uint8_t>> copies;

  LinearBench(Bench& bench, Format format, int n, int k) : bench(bench), format(format), n(n), k(k) {
    rows.resize(row_bytes(format, static_cast<std::size_t>(k)) * static_cast<std::size_t>(n));
    synthetic_rows(format, 1, 1, 0, n, k, rows.data());
    truth = testing::make_weight(*bench.cpu, format, n, k, rows);
    Bytes packed(cuda::device_weight_bytes(format, n, k));
    cuda::pack_rows(format, n, k, 0, n, rows.data(), packed.data());
    const std::size_t count =
        options.tiny ? 2 : std::max<std::size_t>(2, (rotation_bytes + packed.size() - 1) / packed.size());
    for (std::size_t i = 0; i < count; ++i) copies.emplace_back(bench.device, packed.data(), packed.size());
  }

  // form: null for the one that the device is given.
  void time(int m, const cuda::LinearKernel* form, const std::string& suffix) {
    const auto x = testing::random_normals(static_cast<std::size_t>(m) * static_cast<std::size_t>(k), bench.rng);
    const std::size_t outputs = static_cast<std::size_t>(m) * static_cast<std::size_t>(n);
    const Buffer<float> given(bench.device, x), out(bench.device, outputs);
    const Buffer<std::uint8_t> scratch(bench.device, cuda::linear_scratch_bytes(m, k));
    Launches launches;
    for (const Buffer<std::uint8_t>& weight : copies) {
      cuda::Linear linear{};
      linear.format = format, linear.n = n, linear.k = k, linear.m = m, linear.weight = weight.get();
      linear.x = given.get(), linear.ld_x = k, linear.out = out.get(), linear.ld = n, linear.scratch = scratch.get();
      if (form == nullptr)
        cuda::append_linear(launches, linear, bench.device.properties());
      else
        cuda::append_linear(launches, linear, *form);
    }
    const std::string name = "linear." + std::string(traits(format).name) + "." + std::to_string(n) + "x" +
                             std::to_string(k) + ".m" + std::to_string(m) + suffix;
    const double seconds = seconds_in_graph(bench.device, launches, static_cast<int>(copies.size()));
    std::vector<float> found(outputs), expected(outputs);
    out.download(found.data());
    bench.cpu->linear(expected.data(), n, LinearInput(x.data()), *truth, nullptr, m, Epilogue::store);
    if (std::memcmp(found.data(), expected.data(), outputs * sizeof(float)) != 0) fail(name + " differs from the CPU");
    bench.report(name, seconds, static_cast<double>(copies[0].bytes()), bench.read);
    if (m >= 512) figure(name + ".tops", 2.0 * m * n * k / seconds / 1e12, "TOPS");
  }
};

void linears(Bench& bench) {
  if (options.tiny) {
    LinearBench tiny(bench, Format::q4_0, 40, 64);
    for (const int m : {1, 9}) tiny.time(m, nullptr, "");
    const cuda::LinearKernel f16 = cuda::LinearKernel::tile_f16;
    tiny.time(33, &f16, ".f16");
    return;
  }
  const cuda::LinearKernel s8 = cuda::LinearKernel::tile_s8, f16 = cuda::LinearKernel::tile_f16;
  for (const Format format : {Format::q4_0, Format::q4_k, Format::q6_k}) {
    for (const auto& [n, k] : {std::pair{8192, 8192}, {4096, 4096}, {28672, 4096}}) {
      if (format != Format::q4_0 && n != 8192) continue;
      LinearBench one(bench, format, n, k);
      for (const int m : {1, 4, 8, 16, 32, 64, 128}) one.time(m, nullptr, "");
      if (n != 8192) continue;
      for (const int m : {512, 2048}) {
        one.time(m, nullptr, "");
        one.time(m, &s8, ".s8");
        one.time(m, &f16, ".f16");
      }
    }
  }
}

// ---- attention ------------------------------------------------------------------------------------------------

// `sequences` of `length` keys each, of which the last `queries` ask; one layer of `heads` heads on a quarter of them.
void attention(Bench& bench, KvDtype dtype, int sequences, int length, int queries, const std::string& name) {
  const int D = options.tiny ? 64 : 128, heads = options.tiny ? 4 : 32, groups = heads / 4, blocks = (length + 15) / 16;
  const KvShape shape{1, sequences * blocks, groups, D, dtype};
  const cuda::AttentionShape asked{static_cast<gpu::KvKind>(dtype), heads, groups, D, 0, 0};
  std::vector<std::int32_t> table(static_cast<std::size_t>(sequences * blocks));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>((i * 7919) % table.size());
  std::vector<cuda::Segment> segments;
  for (int s = 0; s < sequences; ++s) segments.push_back({s * queries, queries, length - queries, s * blocks});
  const cuda::AttentionPlan plan =
      cuda::plan_attention(asked, segments, bench.device.properties().multiprocessors, 1 << 17);
  // Two stores in turn, so that the second is not what a cache has of the first.
  const std::size_t bytes = kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks);
  Buffer<std::uint8_t> stores[2] = {{bench.device, bytes, OCTAVO_CUDA_KV}, {bench.device, bytes, OCTAVO_CUDA_KV}};
  for (auto& store : stores) store.zero();
  const std::size_t width = static_cast<std::size_t>(sequences * queries * heads * D),
                    partials = static_cast<std::size_t>(plan.partials);
  const Buffer<float> q = bench.floats(width), out(bench.device, width), ml(bench.device, partials * 2),
                      o(bench.device, partials * static_cast<std::size_t>(D));
  const Buffer<gpu::AttentionTile> tiles(bench.device, plan.tiles);
  const Buffer<gpu::AttentionItem> items(bench.device, plan.items);
  const Buffer<std::int32_t> tables(bench.device, table);
  Launches launches;
  constexpr int rounds = 8;
  for (int i = 0; i < rounds; ++i) {
    gpu::AttentionParams params{};
    params.out = out.get(), params.q = q.get(), params.layer = stores[i % 2].get(), params.tables = tables.get();
    params.tiles = tiles.get(), params.items = items.get(), params.partial_ml = ml.get(), params.partial_o = o.get();
    params.q_ld = heads * D, params.heads = heads, params.kv_heads = groups, params.head_size = D;
    params.scale = 0.1f;
    cuda::add_attention(launches, asked, plan, params);
  }
  const double seconds = seconds_in_graph(bench.device, launches, rounds);
  const std::string full = "attention." + std::string(traits(dtype).name) + "." + name;
  bench.report(full, seconds, queries == 1 ? static_cast<double>(bytes) : 0, bench.read);
  if (queries > 1)
    figure(full + ".tflops", 4.0 * heads * D * (0.5 * queries * queries) * sequences / seconds / 1e12, "TFLOP/s");
}

void attentions(Bench& bench) {
  for (const KvDtype dtype : {KvDtype::int8, KvDtype::bf16, KvDtype::fp8, KvDtype::f16}) {
    if (options.tiny) {
      attention(bench, dtype, 2, 20, 1, "2x20");
      continue;
    }
    attention(bench, dtype, 64, 1024, 1, "64x1024");
    attention(bench, dtype, 1, 1024, 1, "1x1024");
    attention(bench, dtype, 1, 32768, 1, "1x32768");
    if (dtype == KvDtype::int8 || dtype == KvDtype::bf16) attention(bench, dtype, 1, 4096, 4096, "prefill4096");
  }
}

// ---- rows and draws -------------------------------------------------------------------------------------------

void rows(Bench& bench) {
  const int T = options.tiny ? 2 : 4096, width = options.tiny ? 64 : 4096, rounds = 4;
  const std::size_t count = static_cast<std::size_t>(T) * static_cast<std::size_t>(width);
  const Buffer<float> x = bench.floats(count), out = bench.floats(count),
                      weight = bench.floats(static_cast<std::size_t>(width)),
                      turns = bench.floats(static_cast<std::size_t>(T) * 64);
  const Buffer<std::uint8_t> scratch(bench.device, cuda::linear_scratch_bytes(T, width));
  const double moved = 8.0 * static_cast<double>(count);
  const auto time = [&](const char* name, double bytes, const auto& add) {
    Launches launches;
    for (int i = 0; i < rounds; ++i) add(launches);
    bench.report(std::string("rows.") + name, seconds_in_graph(bench.device, launches, rounds), bytes, bench.copy);
  };
  time("norm", moved, [&](Launches& l) {
    cuda::add_norm(l, {out.get(), x.get(), weight.get(), width, width, T, 1, width, 1e-5f});
  });
  time("rope", moved, [&](Launches& l) {
    cuda::add_rope(l, {out.get(), turns.get(), width, T, width / 64, 64, 64, 0});
  });
  time("gate", 0.75 * moved, [&](Launches& l) { cuda::add_gate(l, {out.get(), x.get(), T, width / 2}); });
  time("quantise", 0.625 * moved, [&](Launches& l) {
    cuda::Linear linear{};
    linear.format = Format::q4_0, linear.n = 16, linear.k = width, linear.m = T, linear.weight = scratch.get();
    linear.x = x.get(), linear.ld_x = width, linear.out = out.get(), linear.ld = 16, linear.scratch = scratch.get();
    Launches both;
    cuda::append_linear(both, linear, bench.device.properties());
    l.push_back(both[0]);
  });
}

void draws(Bench& bench, bool greedy) {
  const int V = options.tiny ? 300 : 128256, B = options.tiny ? 2 : 64;
  const auto all = static_cast<std::size_t>(B), vocabulary = static_cast<std::size_t>(V);
  std::vector<SamplerParams> params(all);
  cuda::SampleInputs in;
  for (std::size_t b = 0; b < all; ++b) {
    params[b].seed = b, params[b].temperature = greedy ? 0.0f : 0.8f;
    if (!greedy) params[b].top_p = 0.95f, params[b].top_k = 40;
    SampleRow row;
    row.params = &params[b], row.history = nullptr, row.history_length = 0;
    in.add(row, V);
  }
  const Buffer<float> logits = bench.floats(all * vocabulary),
                      maxima(bench.device, all * static_cast<std::size_t>(cuda::sample_groups(V))),
                      logprobs(bench.device, all), top_logprobs(bench.device, all);
  const Buffer<gpu::SampleRow> wanted(bench.device, in.rows);
  const Buffer<std::int32_t> tokens(bench.device, all), top_counts(bench.device, all), top_tokens(bench.device, all);
  gpu::SampleParams given{};
  given.logits = logits.get(), given.group_max = maxima.get(), given.rows = wanted.get(), given.tokens = tokens.get();
  given.logprobs = logprobs.get(), given.top_counts = top_counts.get(), given.top_tokens = top_tokens.get();
  given.top_logprobs = top_logprobs.get(), given.vocab = V, given.most_top = 1;
  Launches launches;
  for (int i = 0; i < 8; ++i) cuda::add_sample(launches, given, B);
  const double bytes = 4.0 * static_cast<double>(all * vocabulary);
  bench.report(std::string("sample.") + (greedy ? "greedy." : "top.") + std::to_string(B) + "x" + std::to_string(V),
               seconds_in_graph(bench.device, launches, 8), bytes, bench.read);
  if (greedy) figure("sample.allowed.us", 2e6 * bytes / bench.read + 5, "us");
}

}  // namespace

int run_kernels() {
  Bench bench;
  linears(bench);
  attentions(bench);
  rows(bench);
  draws(bench, true);
  draws(bench, false);
  return 0;
}

}  // namespace octavo::bench

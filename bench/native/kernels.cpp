// Speed of the CPU backend's operations, each as a share of this machine's limits measured in the same run. Prints one
// JSON line per row. Weights are rotated over more memory than any cache holds, so that they stream from DRAM as in a
// model.
//
//   octavo_kernels [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S] [--best] [--prefetch-from TOKENS]
//                  [--matrix-from TOKENS] [--tokens N]
//
// peak: share of the int8 (linear, quantised) operations per second of vectors; matrix: of matrix registers; bound: time
// the bytes or the operations need at the limits, whichever is longer, over the measured time. A group of 32 fills half
// of a matrix register: half of that peak is the limit, or that of vectors where it is more.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend.h"
#include "cpu/limits.h"
#include "files/synthetic.h"

namespace {

using namespace octavo;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Options {
  int threads = static_cast<int>(std::min(2u, std::max(1u, std::thread::hardware_concurrency())));
  const char* isa = nullptr;
  const char* only = "";
  double seconds = 0.15;  // per row
  bool best = false;
  int prefetch_from = 0, matrix_from = 0;  // tokens; 0: as usual
  int tokens = 0;                          // of linear; 0: a list of them
};

// Twice the L3 cache, of which other programs of the machine keep a part: what is read again has left it meanwhile.
std::size_t rotation_size() {
  constexpr std::size_t least = std::size_t{192} << 20, most = std::size_t{1} << 30;
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return std::clamp(cache > 0 ? 2 * static_cast<std::size_t>(cache) : least, least, most);
}
const std::size_t rotation_bytes = rotation_size();
constexpr double batch_seconds = 2e-4;                          // short calls are timed in batches this long

struct Bench {
  Options options;
  MachineLimits limits;
  std::unique_ptr<Backend> backend;

  void measure() { limits = measure_limits(options.threads); }
  // Afterwards the better of both counts: the CPUs of a virtual machine move.
  void measure_again() {
    const MachineLimits before = limits;
    measure();
    limits.read_bytes_per_second = std::max(limits.read_bytes_per_second, before.read_bytes_per_second);
    limits.int8_ops_per_second = std::max(limits.int8_ops_per_second, before.int8_ops_per_second);
    limits.matrix_ops_per_second = std::max(limits.matrix_ops_per_second, before.matrix_ops_per_second);
    limits.fma_ops_per_second = std::max(limits.fma_ops_per_second, before.fma_ops_per_second);
  }

  bool wanted(const std::string& name) const { return name.find(options.only) != std::string::npos; }

  // Seconds of one call of f(i), i counting up over all calls: the median batch, or with --best the fastest one, which
  // is what the kernel can do on a machine that others use as well.
  template <class F>
  double seconds_of(F&& f) const {
    int i = 0;
    f(i++);
    std::vector<double> batches;
    const double begin = now();
    for (double start = begin; start - begin < options.seconds || batches.size() < 5;) {
      int calls = 0;
      double end;
      do {
        f(i++);
        ++calls;
        end = now();
      } while (end - start < batch_seconds);
      batches.push_back((end - start) / calls);
      start = now();
    }
    std::sort(batches.begin(), batches.end());
    return options.best ? batches[0] : batches[batches.size() / 2];
  }

  // operations: int8 ones (0: none counted against the peak).
  // file_bytes: the same data as the file has it (layouts widen some formats).
  // An instruction set of one's choice may leave the matrix registers alone.
  bool has_matrix() const { return limits.matrix_ops_per_second > 0 && std::strcmp(backend->isa(), cpu_isas()[0]) == 0; }
  void report(const std::string& name, double seconds, double bytes, double operations, double file_bytes = 0) const {
    const double matrix = has_matrix() ? limits.matrix_ops_per_second : 0;
    const double byte_seconds = bytes / limits.read_bytes_per_second,
                 op_seconds = operations / std::max(limits.int8_ops_per_second, matrix / 2);
    std::printf(
        "{\"op\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"us\":%.2f,\"gbPerSecond\":%.2f,\"fileGbPerSecond\":%.2f,"
        "\"percentRead\":%.1f,"
        "\"gopPerSecond\":%.1f,"
        "\"percentPeak\":%.1f,\"percentMatrix\":%.1f,\"percentBound\":%.1f}\n",
        name.c_str(), backend->isa(), options.threads, seconds * 1e6, bytes / seconds / 1e9,
        (file_bytes > 0 ? file_bytes : bytes) / seconds / 1e9, 100 * byte_seconds / seconds, operations / seconds / 1e9,
        100 * operations / limits.int8_ops_per_second / seconds,
        matrix > 0 ? 100 * operations / matrix / seconds : 0.0, 100 * std::max(byte_seconds, op_seconds) / seconds);
    std::fflush(stdout);
  }
};

std::vector<float> noise(std::size_t n, std::uint32_t seed) {
  std::vector<float> out(n);
  for (float& x : out) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<std::int32_t>(seed)) * (1.0f / 2147483648.0f);
  }
  return out;
}

void bench_linear(const Bench& bench, Format format, int n, int k) {
  const std::string shape =
      std::string("linear ") + traits(format).name + " " + std::to_string(n) + "x" + std::to_string(k);
  if (!bench.wanted(shape)) return;
  Backend& backend = *bench.backend;
  std::vector<std::uint8_t> rows(row_bytes(format, static_cast<std::size_t>(k)) * static_cast<std::size_t>(n));
  synthetic_rows(format, 1, 1, 0, n, k, rows.data());
  std::vector<std::unique_ptr<Weight>> weights;
  std::size_t bytes = 0;
  // All before the first is loaded, as a model does: memory that has a use up to its end comes in huge pages.
  do {
    weights.push_back(backend.weight_create(format, n, k));
    bytes += weights.back()->resident_bytes();
  } while (bytes < rotation_bytes);
  for (const auto& weight : weights) backend.weight_load(*weight, 0, n, rows.data());
  const int largest = n > 30000 ? 32 : 512;
  const std::vector<float> x = noise(static_cast<std::size_t>(largest) * static_cast<std::size_t>(k), 7);
  std::vector<float> out(static_cast<std::size_t>(largest) * static_cast<std::size_t>(n));
  const std::vector<int> counts = bench.options.tokens > 0 ? std::vector<int>{bench.options.tokens}
                                                           : std::vector<int>{1, 2, 4, 8, 16, 32, 128, 512};
  for (const int m : counts) {
    if (m > largest) break;
    const double seconds = bench.seconds_of([&](int i) {
      backend.linear(out.data(), n, x.data(), *weights[static_cast<std::size_t>(i) % weights.size()], nullptr, m,
                     Epilogue::store);
    });
    bench.report(shape + " M=" + std::to_string(m), seconds, static_cast<double>(weights[0]->resident_bytes()),
                 is_quantised(format) ? 2.0 * m * n * k : 0, static_cast<double>(rows.size()));
  }
}

// Operations that take 64 stored numbers of keys or values to what `rows` query rows make of them: an FMA for each, or
// for int8 two integer multiply-adds. Conversions to f32 (instructions for 64 numbers: f16, bf16 two for 16; fp8 nine)
// count where FMAs leave them no room: a core issues two vector instructions in the time of an FMA.
double attention_operations(KvDtype dtype, int rows) {
  constexpr double fma = 32;  // operations of 16 lanes
  if (dtype == KvDtype::int8) return 64 * 2 * 2 * rows;
  const double fmas = 4 * rows, conversions = dtype == KvDtype::fp8 ? 9 : 8;
  return fma * std::max(fmas, (fmas + conversions) / 2);
}

// A block's contents, the same in each layer, as steps write them: how many codes are subnormal shows in some kernels.
std::vector<std::uint8_t> block_of_noise(Backend& backend, const KvShape& shape) {
  const auto kv = backend.kv_create({1, 1, shape.kv_heads, shape.head_size, shape.dtype});
  const int width = shape.kv_heads * shape.head_size;
  const std::vector<float> rows = noise(std::size_t{3} * kv_block_tokens * static_cast<std::size_t>(width), 11);
  std::vector<std::int32_t> slots(kv_block_tokens);
  for (int i = 0; i < kv_block_tokens; ++i) slots[static_cast<std::size_t>(i)] = i;
  backend.kv_write(*kv, 0, rows.data(), shape.kv_heads, rows.data() + width, rows.data() + 2 * width, 3 * width,
                   slots.data(), kv_block_tokens);
  std::vector<std::uint8_t> layer(kv_block_bytes(kv->shape)), codes;
  backend.kv_export(layer.data(), *kv, 0);
  for (int i = 0; i < shape.layers; ++i) codes.insert(codes.end(), layer.begin(), layer.end());
  return codes;
}

// `sequences` sequences of `context` keys, blocks scattered over the pool; each computes `count` tokens at its end.
// percentBound counts the bytes against the read bandwidth or the operations against 80% of the FMA peak (int8: of the
// int8 peak), whichever takes longer.
void bench_attention(Bench& bench, KvDtype dtype, int heads, int kv_heads, int head_size, int sequences,
                     int context, int count) {
  const std::string name = "attention " + std::string(traits(dtype).name) + " heads=" + std::to_string(heads) + "/" +
                           std::to_string(kv_heads) + " size=" + std::to_string(head_size) +
                           " sequences=" + std::to_string(sequences) + " keys=" + std::to_string(context) +
                           " tokens=" + std::to_string(count);
  if (!bench.wanted(name)) return;
  const int sequence_blocks = (context + kv_block_tokens - 1) / kv_block_tokens, blocks = sequence_blocks * sequences;
  const std::size_t layer_bytes = kv_block_bytes({1, 1, kv_heads, head_size, dtype}) * static_cast<std::size_t>(blocks);
  const int layers = static_cast<int>(std::clamp<std::size_t>(rotation_bytes / layer_bytes, 1, 256));
  const auto kv = bench.backend->kv_create({layers, blocks, kv_heads, head_size, dtype});
  const std::vector<std::uint8_t> codes = block_of_noise(*bench.backend, kv->shape);
  for (int b = 0; b < blocks; ++b) bench.backend->kv_import(*kv, b, codes.data());  // memory of its own for every block
  std::vector<std::int32_t> table(static_cast<std::size_t>(blocks));
  for (int i = 0; i < blocks; ++i) table[static_cast<std::size_t>(i)] = i;
  std::uint32_t seed = 5;
  for (int i = blocks - 1; i > 0; --i) {
    seed = seed * 1664525u + 1013904223u;
    std::swap(table[static_cast<std::size_t>(i)], table[(seed >> 8) % static_cast<unsigned>(i + 1)]);
  }
  const int rows = sequences * count, width = heads * head_size;
  const std::vector<float> q = noise(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width), 9);
  std::vector<float> out(q.size());
  std::vector<AttentionSegment> segments;
  for (int s = 0; s < sequences; ++s)
    segments.push_back(
        {s * count, count, context - count, table.data() + static_cast<std::ptrdiff_t>(s) * sequence_blocks});
  const AttentionPlan plan{segments.data(), sequences, rows};
  const AttentionParams params{heads, 0.125f, 0};
  bench.measure();
  const double seconds = bench.seconds_of(
      [&](int i) { bench.backend->attention(out.data(), q.data(), width, *kv, i % layers, plan, params); });
  bench.measure_again();
  const double pairs = static_cast<double>(sequences) * kv_heads *
                       (static_cast<double>(context) * count - 0.5 * count * (count - 1));  // (token, key) per kv head
  const double operations = 2 * pairs * head_size / 64 * attention_operations(dtype, heads / kv_heads * count) / count;
  const double peak = dtype == KvDtype::int8 ? bench.limits.int8_ops_per_second : bench.limits.fma_ops_per_second;
  const double read_seconds = static_cast<double>(layer_bytes) / bench.limits.read_bytes_per_second,
               op_seconds = operations / (0.8 * peak);
  std::printf(
      "{\"op\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"us\":%.2f,\"gbPerSecond\":%.2f,\"readGbPerSecond\":%.1f,"
      "\"percentRead\":%.1f,"
      "\"gflopPerSecond\":%.1f,\"percentOps\":%.1f,\"percentBound\":%.1f}\n",
      name.c_str(), bench.backend->isa(), bench.options.threads, seconds * 1e6, layer_bytes / seconds / 1e9,
      bench.limits.read_bytes_per_second / 1e9, 100 * read_seconds / seconds,
      4 * pairs * (heads / kv_heads) * head_size / seconds / 1e9, 100 * op_seconds / seconds,
      100 * std::max(read_seconds, op_seconds) / seconds);
  std::fflush(stdout);
}

void bench_elementwise(const Bench& bench, int tokens, int width, int feed_forward, int heads, int head_size) {
  const std::string suffix = " T=" + std::to_string(tokens) + " width=" + std::to_string(width);
  const std::size_t n = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(width);
  const std::vector<float> x = noise(n, 3), w = noise(static_cast<std::size_t>(width), 4),
                           angles = noise(static_cast<std::size_t>(tokens) * head_size, 5);
  std::vector<float> out(n), heads_data(noise(static_cast<std::size_t>(tokens) * heads * head_size, 6));
  const std::vector<float> gate_up = noise(static_cast<std::size_t>(tokens) * 2 * feed_forward, 8);
  std::vector<float> gated(static_cast<std::size_t>(tokens) * feed_forward);
  Backend& backend = *bench.backend;
  if (bench.wanted("norm"))
    bench.report("norm" + suffix, bench.seconds_of([&](int) {
      backend.norm(out.data(), width, x.data(), width, w.data(), 1e-5f, tokens, 1, width);
    }),
                 8.0 * n, 0);
  if (bench.wanted("gate"))
    bench.report("gate" + suffix, bench.seconds_of([&](int) {
      backend.gate(gated.data(), gate_up.data(), feed_forward, Activation::silu, tokens);
    }),
                 12.0 * gated.size(), 0);
  for (const RopeStyle style : {RopeStyle::interleaved, RopeStyle::half}) {
    if (!bench.wanted("rope")) continue;
    bench.report(
        std::string("rope ") + (style == RopeStyle::half ? "half" : "interleaved") + suffix, bench.seconds_of([&](int) {
          backend.rope(heads_data.data(), heads * head_size, heads, head_size, angles.data(), head_size, style, tokens);
        }),
        8.0 * heads_data.size(), 0);
  }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    if (!std::strcmp(argv[i], "--best")) options.best = i-- > 0;
    else if (i + 1 == argc) break;
    else if (!std::strcmp(argv[i], "--threads")) options.threads = std::atoi(argv[i + 1]);
    else if (!std::strcmp(argv[i], "--isa")) options.isa = argv[i + 1];
    else if (!std::strcmp(argv[i], "--only")) options.only = argv[i + 1];
    else if (!std::strcmp(argv[i], "--prefetch-from")) options.prefetch_from = std::atoi(argv[i + 1]);
    else if (!std::strcmp(argv[i], "--matrix-from")) options.matrix_from = std::atoi(argv[i + 1]);
    else if (!std::strcmp(argv[i], "--tokens"))
      options.tokens = std::atoi(argv[i + 1]);
    else if (!std::strcmp(argv[i], "--seconds")) options.seconds = std::atof(argv[i + 1]);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Bench bench{parse(argc, argv), {}, nullptr};
  bench.backend = make_cpu_backend(bench.options.isa);
  bench.backend->set_threads(bench.options.threads);
  Tuning tuning = bench.backend->tuning();
  if (bench.options.prefetch_from > 0) tuning.prefetch_from_tokens = bench.options.prefetch_from;
  if (bench.options.matrix_from > 0) tuning.matrix_from_tokens = bench.options.matrix_from;
  bench.backend->set_tuning(tuning);
  bench.measure();
  std::printf(
      "{\"limits\":true,\"threads\":%d,\"readGbPerSecond\":%.1f,\"int8GopPerSecond\":%.0f,\"matrixGopPerSecond\":%.0f,"
      "\"fmaGopPerSecond\":%.0f,"
      "\"barrierNs\":%.0f}\n",
      bench.options.threads, bench.limits.read_bytes_per_second / 1e9, bench.limits.int8_ops_per_second / 1e9,
      bench.limits.matrix_ops_per_second / 1e9, bench.limits.fma_ops_per_second / 1e9, bench.limits.barrier_seconds * 1e9);
  const int shapes[][2] = {{576, 576},   {960, 576},   {3072, 576},   {576, 1536},  {49152, 576},
                           {2560, 2048}, {2048, 2048}, {11264, 2048}, {2048, 5632}, {32000, 2048}};
  for (const Format format : {Format::q4_0, Format::q4_1, Format::q8_0, Format::f16})
    for (const auto& shape : shapes) bench_linear(bench, format, shape[0], shape[1]);
  for (std::size_t format = static_cast<std::size_t>(Format::q5_0); format < format_count; ++format)
    for (const int i : {7, 8, 9}) bench_linear(bench, static_cast<Format>(format), shapes[i][0], shapes[i][1]);
  for (const KvDtype dtype : {KvDtype::f16, KvDtype::bf16, KvDtype::fp8, KvDtype::int8}) {
    bench_attention(bench, dtype, 9, 3, 64, 1, 4096, 1);
    bench_attention(bench, dtype, 32, 4, 64, 1, 4096, 1);
    bench_attention(bench, dtype, 32, 8, 128, 1, 4096, 1);
    bench_attention(bench, dtype, 9, 3, 64, 8, 4096, 1);
    bench_attention(bench, dtype, 9, 3, 64, 1, 512, 512);
    bench_attention(bench, dtype, 32, 4, 64, 1, 512, 512);
    bench_attention(bench, dtype, 32, 8, 128, 1, 2048, 512);
  }
  for (const int tokens : {1, 32, 512}) {
    bench_elementwise(bench, tokens, 576, 1536, 12, 64);
    bench_elementwise(bench, tokens, 2048, 5632, 36, 64);
  }
  return 0;
}

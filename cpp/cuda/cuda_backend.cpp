// See cuda_backend.h.
#include "cuda/cuda_backend.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "../../cuda/ops/attention.h"
#include "../../cuda/ops/kv.h"
#include "../../cuda/ops/linear.h"
#include "../../cuda/ops/rows.h"
#include "../../cuda/ops/sample.h"
#include "cuda/attention_inputs.h"
#include "cuda/cuda_kv.h"
#include "cuda/cuda_weight.h"
#include "cuda/device.h"
#include "cuda/sample_inputs.h"
#include "cuda/weight_memory.h"
#include "error.h"

namespace octavo {

namespace {

using cuda::Buffer;
using cuda::CudaKv;
using cuda::CudaWeight;
using cuda::Device;
using cuda::Launches;
using cuda::WeightMemory;

static_assert(static_cast<int>(KvDtype::f16) == gpu::kv_f16 && static_cast<int>(KvDtype::bf16) == gpu::kv_bf16 &&
              static_cast<int>(KvDtype::fp8) == gpu::kv_fp8 && static_cast<int>(KvDtype::int8) == gpu::kv_int8);
static_assert(kv_block_tokens == gpu::kv_tokens && attention_chunk == gpu::kv_chunk);

gpu::KvKind kind_of(const KvShape& shape) { return static_cast<gpu::KvKind>(shape.dtype); }

// Elements from the first of `rows` rows to the end of the last.
std::size_t span(int rows, int ld, int width) {
  return rows == 0
             ? 0
             : static_cast<std::size_t>(rows - 1) * static_cast<std::size_t>(ld) + static_cast<std::size_t>(width);
}

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(Code::model_unsupported, what + " are not computed on CUDA devices", {{"found", what}});
}

const CudaWeight& own(const Weight& w) { return static_cast<const CudaWeight&>(w); }
const CudaKv& own(const KvStore& kv) { return static_cast<const CudaKv&>(kv); }

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int device) : device_(device) {}
  const char* name() const override { return "cuda"; }
  const char* isa() const override { return device_.isa().c_str(); }

  void set_threads(int) override {}
  void set_interrupt(const std::atomic<bool>* flag) override { interrupt_ = flag; }
  std::shared_ptr<void> begin_step(int, const std::atomic<bool>* interrupt) override {
    auto turn = std::make_shared<std::unique_lock<std::mutex>>(turn_);
    interrupt_ = interrupt;
    return turn;
  }

  std::optional<std::uint64_t> device_memory_free() const override { return device_.memory().free_bytes; }

  std::unique_ptr<Weight> weight_create(Format format, std::int64_t n, std::int64_t k) override {
    check_width(format, k);
    if (!weights_ || weights_->is_taken()) weights_ = std::make_shared<WeightMemory>(device_);
    return std::make_unique<CudaWeight>(weights_, format, n, k);
  }
  void weight_load(Weight& w, std::int64_t row, std::int64_t count, const void* rows) override {
    static_cast<CudaWeight&>(w).load(row, count, static_cast<const std::uint8_t*>(rows));
  }

  std::unique_ptr<KvStore> kv_create(const KvShape& shape) override { return std::make_unique<CudaKv>(device_, shape); }
  void kv_copy(KvStore& kv, int to, int from) override {
    const CudaKv& store = own(kv);
    Launches launches;
    cuda::add_kv_copy(launches, {store.begin(), store.layer_bytes(), store.block_bytes(), to, from, kv.shape.layers});
    device_.run(launches);
  }
  void kv_export(std::uint8_t* out, const KvStore& kv, int block) override {
    const Buffer<std::uint8_t> bytes(device_, kv_block_bytes(kv.shape));
    Launches launches;
    cuda::add_kv_export(launches, kind_of(kv.shape), convert_params(kv, block, bytes));
    device_.run(launches);
    bytes.download(out);
  }
  void kv_import(KvStore& kv, int block, const std::uint8_t* from) override {
    const Buffer<std::uint8_t> bytes(device_, from, kv_block_bytes(kv.shape));
    Launches launches;
    cuda::add_kv_import(launches, kind_of(kv.shape), convert_params(kv, block, bytes));
    device_.run(launches);
    device_.wait();
  }

  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    begin();
    const CudaWeight& w = own(table);
    const int k = static_cast<int>(w.k);
    const Buffer<float> made(device_, span(T, k, k));
    const Buffer<std::int32_t> wanted(device_, ids, static_cast<std::size_t>(T));
    Launches launches;
    cuda::add_embed(launches, {w.format, w.n, w.k, w.packed(), wanted.get(), T, made.get()});
    device_.run(launches);
    made.download(out);
  }

  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override {
    begin();
    const Buffer<float> weight(device_, w, static_cast<std::size_t>(width)),
        from(device_, x, span(T, x_ld, heads * width));
    const Buffer<float> to(device_, out, span(T, out_ld, heads * width));  // what lies between rows stays
    Launches launches;
    cuda::add_norm(launches,
                   {to.get(), out == x ? to.get() : from.get(), weight.get(), out_ld, x_ld, T, heads, width, eps});
    device_.run(launches);
    to.download(out);
  }

  void linear(float* out, int out_ld, const LinearInput& in, const Weight& weight, const float* bias, int T,
              Epilogue epilogue) override {
    begin();
    if (T == 0) return;
    const CudaWeight& w = own(weight);
    const int n = static_cast<int>(w.n), k = static_cast<int>(w.k);
    const int ld_x = in.kind == InputKind::gated ? 2 * k : k;
    const Buffer<float> x(device_, in.x, span(T, ld_x, ld_x)), to(device_, out, span(T, out_ld, n));
    const Buffer<float> norm_weight(device_, in.norm_weight,
                                    in.kind == InputKind::normed ? static_cast<std::size_t>(k) : 0);
    const Buffer<float> biases(device_, bias, bias ? static_cast<std::size_t>(n) : 0);
    const Buffer<std::uint8_t> scratch(device_, cuda::linear_scratch_bytes(T, k));
    cuda::Linear linear{};
    linear.format = w.format, linear.n = n, linear.k = k, linear.m = T, linear.weight = w.packed();
    linear.kind = static_cast<cuda::LinearInputKind>(in.kind);
    linear.x = x.get(), linear.ld_x = ld_x;
    linear.norm_weight = norm_weight.get(), linear.eps = in.eps;
    linear.bias = biases.get();
    linear.out = to.get(), linear.ld = out_ld, linear.add = epilogue == Epilogue::add;
    linear.scratch = scratch.get();
    Launches launches;
    cuda::append_linear(launches, linear, device_.properties());
    device_.run(launches);
    to.download(out);
  }

  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override {
    begin();
    const Buffer<float> rows(device_, x, span(T, ld, heads * head_size));
    const Buffer<float> turns(device_, cos_sin, static_cast<std::size_t>(T) * static_cast<std::size_t>(dims));
    Launches launches;
    cuda::add_rope(launches,
                   {rows.get(), turns.get(), ld, T, heads, head_size, dims, style == RopeStyle::interleaved ? 1 : 0});
    device_.run(launches);
    rows.download(x);
  }

  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    begin();
    const int D = kv.shape.head_size, G = kv.shape.kv_heads;
    const bool reads_queries = heads > 0 && traits(kv.shape.dtype).rounds_by_queries;
    const Buffer<float> queries(device_, q, span(reads_queries ? T : 0, ld, heads * D));
    const Buffer<float> keys(device_, k, span(T, ld, G * D)), values(device_, v, span(T, ld, G * D));
    const Buffer<std::int32_t> places(device_, slots, static_cast<std::size_t>(T));
    Launches launches;
    cuda::add_kv_write(launches, kind_of(kv.shape),
                       {own(kv).layer(layer), queries.get(), keys.get(), values.get(), places.get(), ld, T, G,
                        reads_queries ? heads / G : 0, D});
    device_.run(launches);
    device_.wait();
  }

  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    begin();
    const int D = kv.shape.head_size, H = params.heads;
    const cuda::AttentionShape shape{kind_of(kv.shape), H, kv.shape.kv_heads, D, params.window, params.sinks};
    const cuda::AttentionInputs inputs(plan);
    const int rows = inputs.rows;
    const cuda::AttentionPlan planned =
        cuda::plan_attention(shape, inputs.segments, device_.properties().multiprocessors, most_partials);
    const Buffer<gpu::AttentionTile> tiles(device_, planned.tiles);
    const Buffer<gpu::AttentionItem> items(device_, planned.items);
    const Buffer<std::int32_t> table(device_, inputs.tables);
    const Buffer<float> queries(device_, q, span(rows, q_ld, H * D)), results(device_, out, span(rows, H * D, H * D));
    const Buffer<float> sinks(device_, params.sink_logits, params.sink_logits ? static_cast<std::size_t>(H) : 0);
    const auto partials = static_cast<std::size_t>(planned.partials);
    const Buffer<float> ml(device_, partials * 2), o(device_, partials * static_cast<std::size_t>(D));
    gpu::AttentionParams given{};
    given.out = results.get(), given.q = queries.get(), given.layer = own(kv).layer(layer), given.tables = table.get();
    given.tiles = tiles.get(), given.items = items.get(), given.sink_logits = sinks.get();
    given.partial_ml = ml.get(), given.partial_o = o.get();
    given.q_ld = q_ld, given.heads = H, given.kv_heads = kv.shape.kv_heads, given.head_size = D;
    given.window = params.window, given.sinks = params.sinks, given.scale = params.scale,
    given.soft_cap = params.soft_cap;
    Launches launches;
    cuda::add_attention(launches, shape, planned, given);
    device_.run(launches);
    results.download(out);
  }

  void gate(float* out, const float* gate_up, int F, Activation, int T) override {
    begin();
    const Buffer<float> from(device_, gate_up, span(T, 2 * F, 2 * F)), to(device_, span(T, F, F));
    Launches launches;
    cuda::add_gate(launches, {to.get(), from.get(), T, F});
    device_.run(launches);
    to.download(out);
  }

  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    begin();
    const int all = R == 0 ? 0 : *std::max_element(rows, rows + R) + 1;
    const Buffer<float> from(device_, x, span(all, width, width)), to(device_, span(R, width, width));
    const Buffer<std::int32_t> wanted(device_, rows, static_cast<std::size_t>(R));
    Launches launches;
    cuda::add_gather(launches, {to.get(), from.get(), wanted.get(), R, width});
    device_.run(launches);
    to.download(out);
  }

  void sample(float* logits, int V, SampleRow* rows, int B) override {
    begin();
    cuda::SampleInputs in;
    for (int b = 0; b < B; ++b) in.add(rows[b], V);
    if (V > cuda::largest_vocabulary) unsupported("a vocabulary of " + std::to_string(V) + " tokens");
    const auto all = static_cast<std::size_t>(B), vocab = static_cast<std::size_t>(V),
               top = all * static_cast<std::size_t>(in.most_top);
    const Buffer<float> given(device_, logits, all * vocab), bias_values(device_, in.bias_values);
    const Buffer<gpu::SampleRow> wanted(device_, in.rows);
    const Buffer<std::int32_t> history(device_, in.history), bias_tokens(device_, in.bias_tokens);
    const Buffer<std::uint32_t> masks(device_, in.masks);
    Buffer<std::int32_t> counts(device_, static_cast<std::size_t>(in.counted) * vocab);
    counts.zero();
    const Buffer<float> bias_raw(device_, in.bias_values.size()), history_raw(device_, in.history.size()),
        group_max(device_, all * static_cast<std::size_t>(cuda::sample_groups(V))), logprobs(device_, all),
        top_logprobs(device_, top);
    const Buffer<std::int32_t> tokens(device_, all), top_counts(device_, all), top_tokens(device_, top);
    Launches launches;
    cuda::add_sample(launches,
                     {given.get(), group_max.get(), wanted.get(), history.get(), bias_tokens.get(), bias_values.get(),
                      masks.get(), counts.get(), bias_raw.get(), history_raw.get(), tokens.get(), logprobs.get(),
                      top_counts.get(), top_tokens.get(), top_logprobs.get(), V, in.most_top},
                     B);
    device_.run(launches);
    given.download(logits);
    std::vector<std::int32_t> token(all), count(all), best(top);
    std::vector<float> chance(all), best_chance(top);
    tokens.download(token.data()), top_counts.download(count.data()), top_tokens.download(best.data());
    logprobs.download(chance.data()), top_logprobs.download(best_chance.data());
    for (std::size_t b = 0; b < all; ++b) {
      rows[b].token = token[b], rows[b].logprob = chance[b];
      rows[b].top.clear();
      const std::size_t first = b * static_cast<std::size_t>(in.most_top);
      for (std::size_t i = first; i < first + static_cast<std::size_t>(count[b]); ++i)
        rows[b].top.push_back({best[i], best_chance[i]});
    }
  }

 private:
  static constexpr long long most_partials = 100000;

  void begin() const {
    if (interrupt_ && interrupt_->load(std::memory_order_relaxed))
      throw Error(Code::interrupted, "the step was interrupted");
  }
  static void check_width(Format format, std::int64_t k) {
    const auto group = is_quantised(format) ? static_cast<std::int64_t>(traits(format).group) : 16;
    if (k > 0 && k % group == 0) return;
    throw Error(Code::invalid_argument, "a weight's width is not whole blocks of its format",
                {{"expected", "a multiple of " + std::to_string(group)}, {"found", std::to_string(k)}});
  }
  static gpu::KvConvertParams convert_params(const KvStore& kv, int block, const Buffer<std::uint8_t>& bytes) {
    const CudaKv& store = own(kv);
    return {store.begin(),   bytes.get(),       store.layer_bytes(), block,
            kv.shape.layers, kv.shape.kv_heads, kv.shape.head_size};
  }

  Device device_;
  std::shared_ptr<WeightMemory> weights_;  // of weights that are made now
  std::mutex turn_;
  const std::atomic<bool>* interrupt_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(int device) { return std::make_unique<CudaBackend>(device); }

}  // namespace octavo

// See cuda_backend.h.
#include "cuda/cuda_backend.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "../../cuda/ops/attention.h"
#include "../../cuda/ops/kv.h"
#include "../../cuda/ops/linear.h"
#include "cuda/steps/attention_inputs.h"
#include "cuda/memory/cuda_kv.h"
#include "cuda/steps/cuda_steps.h"
#include "cuda/memory/cuda_weight.h"
#include "cuda/memory/device.h"
#include "cuda/steps/recorder.h"
#include "cuda/steps/sample_inputs.h"
#include "cuda/self_check.h"
#include "cuda/steps/step_memory.h"
#include "cuda/memory/weight_memory.h"
#include "error.h"

namespace octavo {

namespace {

using cuda::Buffer;
using cuda::CudaKv;
using cuda::CudaWeight;
using cuda::Device;
using cuda::kind_of;
using cuda::Launches;
using cuda::WeightMemory;

// Elements from the first of `rows` rows to the end of the last.
std::size_t span(int rows, int ld, int width) {
  return rows == 0
             ? 0
             : static_cast<std::size_t>(rows - 1) * static_cast<std::size_t>(ld) + static_cast<std::size_t>(width);
}

const CudaKv& own(const KvStore& kv) { return static_cast<const CudaKv&>(kv); }

class CudaBackend final : public Backend, public ComputesSteps {
 public:
  explicit CudaBackend(int device) : index_(device), device_(device) {}
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
    if (!weights_ || weights_->is_taken()) weights_ = std::make_shared<WeightMemory>(device_, packed_here_);
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

  void check_itself(const ModelUse& use) override {
    const std::shared_ptr<void> turn = begin_step(1, nullptr);
    const WeightsApart apart(*this);
    cuda::self_check(*this, index_, use);
  }
  std::unique_ptr<DeviceSteps> make_steps(const StepShape& shape, KvStore& kv) override {
    return std::make_unique<cuda::CudaSteps>(device_, shape, kv);
  }

  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    const int k = static_cast<int>(table.k);
    const Buffer<float> made(device_, span(T, k, k));
    const Buffer<std::int32_t> wanted(device_, ids, static_cast<std::size_t>(T));
    carry_out({}, [&](Backend& to) { to.embed(made.get(), table, wanted.get(), T); });
    made.download(out);
  }

  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override {
    const Buffer<float> weight(device_, w, static_cast<std::size_t>(width)),
        from(device_, x, span(T, x_ld, heads * width));
    const Buffer<float> made(device_, out, span(T, out_ld, heads * width));  // what lies between rows stays
    carry_out({}, [&](Backend& to) {
      to.norm(made.get(), out_ld, out == x ? made.get() : from.get(), x_ld, weight.get(), eps, T, heads, width);
    });
    made.download(out);
  }

  void linear(float* out, int out_ld, const LinearInput& in, const Weight& weight, const float* bias, int T,
              Epilogue epilogue) override {
    if (T == 0) return;
    const int n = static_cast<int>(weight.n), k = static_cast<int>(weight.k);
    const int ld_x = in.kind == InputKind::gated ? 2 * k : k;
    const Buffer<float> x(device_, in.x, span(T, ld_x, ld_x)), made(device_, out, span(T, out_ld, n));
    const Buffer<float> norm_weight(device_, in.norm_weight,
                                    in.kind == InputKind::normed ? static_cast<std::size_t>(k) : 0);
    const Buffer<float> biases(device_, bias, bias ? static_cast<std::size_t>(n) : 0);
    const Buffer<std::uint8_t> scratch(device_, cuda::linear_scratch_bytes(T, k));
    cuda::Workspace workspace;
    workspace.linear = scratch.get();
    LinearInput given = in;
    given.x = x.get(), given.norm_weight = norm_weight.get();
    carry_out(workspace, [&](Backend& to) { to.linear(made.get(), out_ld, given, weight, biases.get(), T, epilogue); });
    made.download(out);
  }

  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override {
    const Buffer<float> rows(device_, x, span(T, ld, heads * head_size)), turns(device_, cos_sin, span(T, dims, dims));
    carry_out({}, [&](Backend& to) { to.rope(rows.get(), ld, heads, head_size, turns.get(), dims, style, T); });
    rows.download(x);
  }

  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    const int D = kv.shape.head_size, G = kv.shape.kv_heads;
    const bool reads_queries = heads > 0 && traits(kv.shape.dtype).rounds_by_queries;
    const Buffer<float> queries(device_, q, span(reads_queries ? T : 0, ld, heads * D));
    const Buffer<float> keys(device_, k, span(T, ld, G * D)), values(device_, v, span(T, ld, G * D));
    const Buffer<std::int32_t> places(device_, slots, static_cast<std::size_t>(T));
    carry_out({}, [&](Backend& to) {
      to.kv_write(kv, layer, queries.get(), heads, keys.get(), values.get(), ld, places.get(), T);
    });
    device_.wait();
  }

  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    const int D = kv.shape.head_size, H = params.heads;
    const cuda::AttentionInputs inputs(plan);
    const int rows = inputs.rows;
    const cuda::AttentionPlan planned = cuda::plan_attention(cuda::attention_shape(kv.shape, params), inputs.segments,
                                                             device_.properties().multiprocessors, cuda::most_partials);
    const Buffer<gpu::AttentionTile> tiles(device_, planned.tiles);
    const Buffer<gpu::AttentionItem> items(device_, planned.items);
    const Buffer<std::int32_t> table(device_, inputs.tables);
    const Buffer<float> queries(device_, q, span(rows, q_ld, H * D)), results(device_, out, span(rows, H * D, H * D));
    const Buffer<float> sinks(device_, params.sink_logits, params.sink_logits ? static_cast<std::size_t>(H) : 0);
    const auto partials = static_cast<std::size_t>(planned.partials);
    const Buffer<float> ml(device_, partials * 2), o(device_, partials * static_cast<std::size_t>(D));
    cuda::Workspace workspace;
    workspace.attention = &planned;
    workspace.tiles = tiles.get(), workspace.items = items.get(), workspace.tables = table.get();
    workspace.partial_ml = ml.get(), workspace.partial_o = o.get();
    AttentionParams given = params;
    given.sink_logits = sinks.get();
    carry_out(workspace,
              [&](Backend& to) { to.attention(results.get(), queries.get(), q_ld, kv, layer, plan, given); });
    results.download(out);
  }

  void gate(float* out, const float* gate_up, int F, Activation act, int T) override {
    const Buffer<float> from(device_, gate_up, span(T, 2 * F, 2 * F)), made(device_, span(T, F, F));
    carry_out({}, [&](Backend& to) { to.gate(made.get(), from.get(), F, act, T); });
    made.download(out);
  }

  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    const int all = R == 0 ? 0 : *std::max_element(rows, rows + R) + 1;
    const Buffer<float> from(device_, x, span(all, width, width)), made(device_, span(R, width, width));
    const Buffer<std::int32_t> wanted(device_, rows, static_cast<std::size_t>(R));
    carry_out({}, [&](Backend& to) { to.gather(made.get(), from.get(), wanted.get(), R, width); });
    made.download(out);
  }

  void sample(float* logits, int V, SampleRow* rows, int B) override {
    cuda::SampleInputs in;
    for (int b = 0; b < B; ++b) in.add(rows[b], V);
    cuda::check_vocabulary(V);
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
    cuda::Workspace workspace;
    workspace.first_row = rows;
    workspace.sample = {nullptr,
                        group_max.get(),
                        wanted.get(),
                        history.get(),
                        bias_tokens.get(),
                        bias_values.get(),
                        masks.get(),
                        counts.get(),
                        bias_raw.get(),
                        history_raw.get(),
                        tokens.get(),
                        logprobs.get(),
                        top_counts.get(),
                        top_tokens.get(),
                        top_logprobs.get(),
                        nullptr,
                        V,
                        in.most_top};
    carry_out(workspace, [&](Backend& to) { to.sample(given.get(), V, rows, B); });
    given.download(logits);
    std::vector<std::int32_t> token(all), count(all), best(top);
    std::vector<float> chance(all), best_chance(top);
    tokens.download(token.data()), top_counts.download(count.data()), top_tokens.download(best.data());
    logprobs.download(chance.data()), top_logprobs.download(best_chance.data());
    const cuda::SampleResults results{token.data(), chance.data(),      count.data(),
                                      best.data(),  best_chance.data(), in.most_top};
    for (int b = 0; b < B; ++b) results.put(b, rows[b]);
  }

 private:
  // Weights that are made meanwhile are no part of a model's memory, and kernels lay them out, as they do a large
  // model's.
  class WeightsApart {
   public:
    explicit WeightsApart(CudaBackend& backend) : backend_(backend), before_(std::move(backend.weights_)) {
      backend_.packed_here_ = 0;
    }
    ~WeightsApart() { backend_.weights_ = before_, backend_.packed_here_ = WeightMemory::small_model; }
    WeightsApart(const WeightsApart&) = delete;
    WeightsApart& operator=(const WeightsApart&) = delete;

   private:
    CudaBackend& backend_;
    const std::shared_ptr<WeightMemory> before_;
  };

  // One operation, on what lies on the device.
  template <class Operation>
  void carry_out(const cuda::Workspace& workspace, const Operation& operation) {
    if (interrupt_ && interrupt_->load(std::memory_order_relaxed))
      throw Error(Code::interrupted, "the step was interrupted");
    cuda::Recorder recorder(device_.properties(), workspace);
    operation(recorder);
    device_.run(recorder.launches);
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

  const int index_;
  Device device_;
  std::shared_ptr<WeightMemory> weights_;  // of weights that are made now
  std::size_t packed_here_ = WeightMemory::small_model;
  std::mutex turn_;
  const std::atomic<bool>* interrupt_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(int device) { return std::make_unique<CudaBackend>(device); }

}  // namespace octavo

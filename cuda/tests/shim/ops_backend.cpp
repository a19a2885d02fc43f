#include "ops_backend.h"

#include <doctest.h>

#include <string>

#include "cuda/steps/attention_inputs.h"
#include "cuda/steps/sample_inputs.h"
#include "emulator/device_array.h"
#include "ops/attention.h"
#include "ops/kv.h"
#include "ops/repack.h"
#include "ops/rows.h"
#include "ops/sample.h"
#include "schedules.h"
#include "tests/forwarding_backend.h"

namespace octavo::testing {

namespace {

using shim::DeviceArray;

static_assert(static_cast<int>(KvDtype::f16) == gpu::kv_f16 && static_cast<int>(KvDtype::bf16) == gpu::kv_bf16 &&
              static_cast<int>(KvDtype::fp8) == gpu::kv_fp8 && static_cast<int>(KvDtype::int8) == gpu::kv_int8);
static_assert(kv_block_tokens == gpu::kv_tokens && attention_chunk == gpu::kv_chunk);

int only_schedule = -1;  // -1: they take turns

gpu::KvKind kind_of(const KvShape& shape) { return static_cast<gpu::KvKind>(shape.dtype); }

// As a device has it, beside the reference's weight.
struct TableWeight final : Weight {
  TableWeight(std::unique_ptr<Weight> own)
      : Weight(own->format, own->n, own->k),
        inner(std::move(own)),
        packed(std::vector<std::uint8_t>(cuda::device_weight_bytes(format, n, k)), "table") {}
  std::size_t resident_bytes() const override { return inner->resident_bytes(); }
  std::unique_ptr<Weight> inner;
  DeviceArray<std::uint8_t> packed;
};

struct DeviceStore final : KvStore {
  explicit DeviceStore(const KvShape& shape)
      : KvStore(shape),
        codes(std::vector<std::uint8_t>(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks)), "kv") {}
  std::size_t bytes() const override { return codes.size(); }
  long long block_bytes() const { return static_cast<long long>(kv_head_bytes(shape)) * shape.kv_heads; }
  long long layer_bytes() const { return block_bytes() * shape.blocks; }
  std::uint8_t* layer(int index) const { return codes.get() + index * layer_bytes(); }
  DeviceArray<std::uint8_t> codes;
};
const DeviceStore& own(const KvStore& kv) { return static_cast<const DeviceStore&>(kv); }

template <class T>
DeviceArray<T> uploaded(const T* values, std::size_t count, const char* name) {
  return DeviceArray<T>(std::vector<T>(values, values + count), name);
}
// Elements from the first of `rows` rows to the last of them.
std::size_t span(int rows, int ld, int width) {
  return rows == 0
             ? 0
             : static_cast<std::size_t>(rows - 1) * static_cast<std::size_t>(ld) + static_cast<std::size_t>(width);
}
DeviceArray<float> uploaded_rows(const float* values, int rows, int ld, int width, const char* name) {
  return uploaded(values, span(rows, ld, width), name);
}

class OpsBackend final : public ForwardingBackend {
 public:
  explicit OpsBackend(int multiprocessors)
      : ForwardingBackend(make_reference_backend()), multiprocessors_(multiprocessors) {}
  const char* name() const override { return "shim"; }

  std::unique_ptr<Weight> weight_create(Format format, std::int64_t n, std::int64_t k) override {
    return std::make_unique<TableWeight>(ForwardingBackend::weight_create(format, n, k));
  }
  void weight_load(Weight& w, std::int64_t row, std::int64_t count, const void* rows) override {
    auto& table = static_cast<TableWeight&>(w);
    ForwardingBackend::weight_load(*table.inner, row, count, rows);
    const auto from =
        uploaded(static_cast<const std::uint8_t*>(rows),
                 row_bytes(w.format, static_cast<std::size_t>(w.k)) * static_cast<std::size_t>(count), "rows");
    cuda::Launches launches;
    cuda::add_repack(launches, w.format, w.n, w.k, row, count, from.get(), table.packed.get());
    run(launches);
  }
  void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
              Epilogue epilogue) override {
    ForwardingBackend::linear(out, out_ld, in, *static_cast<const TableWeight&>(w).inner, bias, T, epilogue);
  }
  void feed_forward(float* out, const LinearInput& in, const FeedForward& w, float* between, int T) override {
    Backend::feed_forward(out, in, w, between, T);
  }

  std::unique_ptr<KvStore> kv_create(const KvShape& shape) override { return std::make_unique<DeviceStore>(shape); }
  void kv_copy(KvStore& kv, int to, int from) override {
    const DeviceStore& store = own(kv);
    cuda::Launches launches;
    cuda::add_kv_copy(launches,
                      {store.codes.get(), store.layer_bytes(), store.block_bytes(), to, from, kv.shape.layers});
    run(launches);
  }
  void kv_export(std::uint8_t* out, const KvStore& kv, int block) override {
    const DeviceArray<std::uint8_t> bytes(kv_block_bytes(kv.shape), "exported");
    cuda::Launches launches;
    cuda::add_kv_export(launches, kind_of(kv.shape), convert_params(kv, block, bytes));
    run(launches);
    std::memcpy(out, bytes.get(), bytes.size());
  }
  void kv_import(KvStore& kv, int block, const std::uint8_t* from) override {
    const auto bytes = uploaded(from, kv_block_bytes(kv.shape), "imported");
    cuda::Launches launches;
    cuda::add_kv_import(launches, kind_of(kv.shape), convert_params(kv, block, bytes));
    run(launches);
  }

  void embed(float* out, const Weight& w, const std::int32_t* ids, int T) override {
    const auto& table = static_cast<const TableWeight&>(w);
    const int k = static_cast<int>(w.k);
    const DeviceArray<float> made(span(T, k, k), "out");
    const auto wanted = uploaded(ids, static_cast<std::size_t>(T), "ids");
    cuda::Launches launches;
    cuda::add_embed(launches, {w.format, w.n, w.k, table.packed.get(), wanted.get(), T, made.get()});
    run(launches);
    std::memcpy(out, made.get(), made.size() * sizeof(float));
  }

  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override {
    const auto weight = uploaded(w, static_cast<std::size_t>(width), "weight");
    const auto from = uploaded_rows(x, T, x_ld, heads * width, "x");
    const auto to = uploaded_rows(out, T, out_ld, heads * width, "out");
    const bool in_place = out == x;
    cuda::Launches launches;
    cuda::add_norm(launches,
                   {to.get(), in_place ? to.get() : from.get(), weight.get(), out_ld, x_ld, T, heads, width, eps});
    run(launches);
    std::memcpy(out, to.get(), to.size() * sizeof(float));
  }

  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override {
    const auto rows = uploaded_rows(x, T, ld, heads * head_size, "x");
    const auto turns = uploaded(cos_sin, static_cast<std::size_t>(T) * static_cast<std::size_t>(dims), "cos_sin");
    cuda::Launches launches;
    cuda::add_rope(launches,
                   {rows.get(), turns.get(), ld, T, heads, head_size, dims, style == RopeStyle::interleaved ? 1 : 0});
    run(launches);
    std::memcpy(x, rows.get(), rows.size() * sizeof(float));
  }

  void gate(float* out, const float* gate_up, int F, Activation, int T) override {
    const auto from = uploaded_rows(gate_up, T, 2 * F, 2 * F, "gate_up");
    const DeviceArray<float> to(span(T, F, F), "out");
    cuda::Launches launches;
    cuda::add_gate(launches, {to.get(), from.get(), T, F});
    run(launches);
    std::memcpy(out, to.get(), to.size() * sizeof(float));
  }

  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    const int all = R == 0 ? 0 : *std::max_element(rows, rows + R) + 1;
    const auto from = uploaded_rows(x, all, width, width, "x");
    const auto wanted = uploaded(rows, static_cast<std::size_t>(R), "rows");
    const DeviceArray<float> to(span(R, width, width), "out");
    cuda::Launches launches;
    cuda::add_gather(launches, {to.get(), from.get(), wanted.get(), R, width});
    run(launches);
    std::memcpy(out, to.get(), to.size() * sizeof(float));
  }

  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    const int D = kv.shape.head_size, G = kv.shape.kv_heads;
    const bool reads_queries = heads > 0 && traits(kv.shape.dtype).rounds_by_queries;
    const auto queries = uploaded_rows(q, reads_queries ? T : 0, ld, heads * D, "q");
    const auto keys = uploaded_rows(k, T, ld, G * D, "k"), values = uploaded_rows(v, T, ld, G * D, "v");
    const auto places = uploaded(slots, static_cast<std::size_t>(T), "slots");
    cuda::Launches launches;
    cuda::add_kv_write(launches, kind_of(kv.shape),
                       {own(kv).layer(layer), queries.get(), keys.get(), values.get(), places.get(), ld, T, G,
                        reads_queries ? heads / G : 0, D});
    run(launches);
  }

  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    const int D = kv.shape.head_size, H = params.heads;
    const cuda::AttentionShape shape{kind_of(kv.shape), H, kv.shape.kv_heads, D, params.window, params.sinks};
    const cuda::AttentionInputs inputs(plan);
    const int rows = inputs.rows;
    const cuda::AttentionPlan planned = cuda::plan_attention(shape, inputs.segments, multiprocessors_, most_partials);
    const DeviceArray<gpu::AttentionTile> tiles(planned.tiles, "tiles");
    const DeviceArray<gpu::AttentionItem> items(planned.items, "items");
    const DeviceArray<std::int32_t> table(inputs.tables, "tables");
    const auto queries = uploaded_rows(q, rows, q_ld, H * D, "q");
    const auto results = uploaded_rows(out, rows, H * D, H * D, "out");
    const auto sinks =
        uploaded(params.sink_logits, params.sink_logits == nullptr ? 0 : static_cast<std::size_t>(H), "sinks");
    const std::size_t partials = static_cast<std::size_t>(planned.partials);
    const DeviceArray<float> ml(partials * 2, "partial_ml"), o(partials * static_cast<std::size_t>(D), "partial_o");
    gpu::AttentionParams given{};
    given.out = results.get(), given.q = queries.get(), given.layer = own(kv).layer(layer), given.tables = table.get();
    given.tiles = tiles.get(), given.items = items.get();
    given.sink_logits = params.sink_logits == nullptr ? nullptr : sinks.get();
    given.partial_ml = ml.get(), given.partial_o = o.get();
    given.q_ld = q_ld, given.heads = H, given.kv_heads = kv.shape.kv_heads, given.head_size = D;
    given.window = params.window, given.sinks = params.sinks, given.scale = params.scale,
    given.soft_cap = params.soft_cap;
    cuda::Launches launches;
    cuda::add_attention(launches, shape, planned, given);
    run(launches);
    std::memcpy(out, results.get(), results.size() * sizeof(float));
  }
  void sample(float* logits, int V, SampleRow* rows, int B) override {
    const std::size_t vocab = static_cast<std::size_t>(V), all = static_cast<std::size_t>(B);
    cuda::SampleInputs in;
    for (int b = 0; b < B; ++b) in.add(rows[b], V);
    const auto given = uploaded_rows(logits, B, V, V, "logits");
    const DeviceArray<gpu::SampleRow> wanted(in.rows, "rows");
    const DeviceArray<std::int32_t> history(in.history, "history"), bias_tokens(in.bias_tokens, "bias_tokens");
    const DeviceArray<float> bias_values(in.bias_values, "bias_values");
    const DeviceArray<std::uint32_t> masks(in.masks, "masks");
    const DeviceArray<std::int32_t> counts(std::vector<std::int32_t>(static_cast<std::size_t>(in.counted) * vocab),
                                           "counts");
    const DeviceArray<float> bias_raw(in.bias_values.size(), "bias_raw"), history_raw(in.history.size(), "history_raw"),
        group_max(all * static_cast<std::size_t>(cuda::sample_groups(V)), "group_max"), logprobs(all, "logprobs"),
        top_logprobs(all * static_cast<std::size_t>(in.most_top), "top_logprobs");
    const DeviceArray<std::int32_t> tokens(all, "tokens"), top_counts(all, "top_counts"),
        top_tokens(all * static_cast<std::size_t>(in.most_top), "top_tokens");
    cuda::Launches launches;
    cuda::add_sample(launches,
                     {given.get(), group_max.get(), wanted.get(), history.get(), bias_tokens.get(), bias_values.get(),
                      masks.get(), counts.get(), bias_raw.get(), history_raw.get(), tokens.get(), logprobs.get(),
                      top_counts.get(), top_tokens.get(), top_logprobs.get(), nullptr, V, in.most_top},
                     B);
    run(launches);
    CHECK_MESSAGE(counts.download() == std::vector<std::int32_t>(counts.size()), "counts are left over");
    std::memcpy(logits, given.get(), given.size() * sizeof(float));
    for (int b = 0; b < B; ++b) {
      rows[b].token = tokens.get()[b], rows[b].logprob = logprobs.get()[b];
      rows[b].top.clear();
      for (int i = b * in.most_top; i < b * in.most_top + top_counts.get()[b]; ++i)
        rows[b].top.push_back({top_tokens.get()[i], top_logprobs.get()[i]});
    }
  }

  void attend(float* out, const NewRows& rows, KvStore& kv, int layer, const AttentionPlan& plan,
              const AttentionParams& params) override {
    Backend::attend(out, rows, kv, layer, plan, params);
  }

 private:
  static constexpr long long most_partials = 100000;

  static gpu::KvConvertParams convert_params(const KvStore& kv, int block, const DeviceArray<std::uint8_t>& bytes) {
    const DeviceStore& store = own(kv);
    return {store.codes.get(), bytes.get(),       store.layer_bytes(), block,
            kv.shape.layers,   kv.shape.kv_heads, kv.shape.head_size};
  }

  void run(const cuda::Launches& launches) {
    const shim::Options before = shim::options();
    shim::options() =
        schedules[only_schedule >= 0 ? static_cast<std::size_t>(only_schedule) : turn_++ % std::size(schedules)];
    shim::options().traffic = before.traffic;
    shim::run(launches);
    shim::options() = before;
    for (const shim::Finding& finding : shim::findings()) FAIL_CHECK(finding.kind, ": ", finding.text);
    shim::clear_findings();
  }

  const int multiprocessors_;
  std::size_t turn_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_ops_backend(int multiprocessors) { return std::make_unique<OpsBackend>(multiprocessors); }

void in_schedules(const std::function<void(int)>& body) {
  if (!shim::checked() || !deep()) return body(-1);
  for (only_schedule = 0; only_schedule < static_cast<int>(std::size(schedules)); ++only_schedule) body(only_schedule);
  only_schedule = -1;
}

}  // namespace octavo::testing

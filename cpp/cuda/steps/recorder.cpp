// See recorder.h.
#include "cuda/steps/recorder.h"

#include "../../../cuda/ops/kv.h"
#include "../../../cuda/ops/linear.h"
#include "../../../cuda/ops/rows.h"
#include "cuda/memory/cuda_kv.h"
#include "cuda/memory/cuda_weight.h"
#include "error.h"

namespace octavo::cuda {

namespace {

static_assert(static_cast<int>(KvDtype::f16) == gpu::kv_f16 && static_cast<int>(KvDtype::bf16) == gpu::kv_bf16 &&
              static_cast<int>(KvDtype::fp8) == gpu::kv_fp8 && static_cast<int>(KvDtype::int8) == gpu::kv_int8);
static_assert(kv_block_tokens == gpu::kv_tokens && attention_chunk == gpu::kv_chunk);

const CudaWeight& own(const Weight& w) { return static_cast<const CudaWeight&>(w); }
const CudaKv& own(const KvStore& kv) { return static_cast<const CudaKv&>(kv); }

[[noreturn]] void no_operation() {
  throw Error(Code::internal, "a recorder of operations was asked for something else");
}

constexpr std::size_t alignment = 256;

}  // namespace

gpu::KvKind kind_of(const KvShape& shape) { return static_cast<gpu::KvKind>(shape.dtype); }

AttentionShape attention_shape(const KvShape& kv, const AttentionParams& params) {
  return {kind_of(kv), params.heads, kv.kv_heads, kv.head_size, params.window, params.sinks};
}

const float* Constants::on_device(const float* host, int count) {
  const auto found = places_.find(host);
  if (found != places_.end() && found->second.second >= count) return found->second.first;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  if (bytes > memory_.size() - used_) throw Error(Code::internal, "more constants than a model has");
  memory_.upload(reinterpret_cast<const std::uint8_t*>(host), used_, bytes);
  const auto* const place = reinterpret_cast<const float*>(memory_.get() + used_);
  used_ = std::min(memory_.size(), (used_ + bytes + alignment - 1) / alignment * alignment);
  places_.insert_or_assign(host, std::pair{place, count});
  return place;
}

void Recorder::embed(float* out, const Weight& table, const std::int32_t* ids, int T) {
  const CudaWeight& w = own(table);
  add_embed(launches, {w.format, w.n, w.k, w.packed(), ids, T, out});
}

void Recorder::norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
                    int width) {
  add_norm(launches, {out, x, constant(w, width), out_ld, x_ld, T, heads, width, eps});
}

void Recorder::linear(float* out, int out_ld, const LinearInput& in, const Weight& weight, const float* bias, int T,
                      Epilogue epilogue) {
  if (T == 0) return;
  const CudaWeight& w = own(weight);
  const int n = static_cast<int>(w.n), k = static_cast<int>(w.k);
  Linear linear{};
  linear.format = w.format, linear.n = n, linear.k = k, linear.m = T, linear.weight = w.packed();
  linear.kind = static_cast<LinearInputKind>(in.kind);
  linear.x = in.x, linear.ld_x = in.kind == InputKind::gated ? 2 * k : k;
  linear.norm_weight = in.kind == InputKind::normed ? constant(in.norm_weight, k) : nullptr, linear.eps = in.eps;
  linear.bias = constant(bias, n);
  linear.out = out, linear.ld = out_ld, linear.add = epilogue == Epilogue::add;
  linear.scratch = workspace_.linear;
  append_linear(launches, linear, properties_);
}

void Recorder::rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
                    int T) {
  add_rope(launches, {x, cos_sin, ld, T, heads, head_size, dims, style == RopeStyle::interleaved ? 1 : 0});
}

void Recorder::kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                        const std::int32_t* slots, int T) {
  const int G = kv.shape.kv_heads;
  const bool reads_queries = heads > 0 && traits(kv.shape.dtype).rounds_by_queries;
  add_kv_write(launches, kind_of(kv.shape),
               {own(kv).layer(layer), q, k, v, slots, ld, T, G, reads_queries ? heads / G : 0, kv.shape.head_size});
}

void Recorder::attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer,
                         const octavo::AttentionPlan&, const AttentionParams& params) {
  const Workspace& w = workspace_;
  gpu::AttentionParams given{};
  given.out = out, given.q = q, given.layer = own(kv).layer(layer), given.tables = w.tables;
  given.tiles = w.tiles, given.items = w.items, given.sink_logits = constant(params.sink_logits, params.heads);
  given.partial_ml = w.partial_ml, given.partial_o = w.partial_o;
  given.q_ld = q_ld, given.heads = params.heads, given.kv_heads = kv.shape.kv_heads,
  given.head_size = kv.shape.head_size;
  given.window = params.window, given.sinks = params.sinks, given.scale = params.scale,
  given.soft_cap = params.soft_cap;
  add_attention(launches, attention_shape(kv.shape, params), *w.attention, given);
}

void Recorder::gate(float* out, const float* gate_up, int F, Activation, int T) {
  add_gate(launches, {out, gate_up, T, F});
}

void Recorder::gather(float* out, const float* x, const std::int32_t* rows, int R, int width) {
  add_gather(launches, {out, x, rows, R, width});
}

void Recorder::sample(float* logits, int V, SampleRow* rows, int B) {
  gpu::SampleParams p = workspace_.sample;
  const std::ptrdiff_t row = rows - workspace_.first_row;
  p.logits = logits, p.vocab = V;
  p.rows += row, p.tokens += row, p.logprobs += row, p.top_counts += row;
  p.top_tokens += row * p.most_top, p.top_logprobs += row * p.most_top;
  if (p.next_ids != nullptr) p.next_ids += row;
  add_sample(launches, p, B);
}

void Recorder::set_threads(int) { no_operation(); }
void Recorder::set_interrupt(const std::atomic<bool>*) { no_operation(); }
std::unique_ptr<Weight> Recorder::weight_create(Format, std::int64_t, std::int64_t) { no_operation(); }
void Recorder::weight_load(Weight&, std::int64_t, std::int64_t, const void*) { no_operation(); }
std::unique_ptr<KvStore> Recorder::kv_create(const KvShape&) { no_operation(); }
void Recorder::kv_copy(KvStore&, int, int) { no_operation(); }
void Recorder::kv_export(std::uint8_t*, const KvStore&, int) { no_operation(); }
void Recorder::kv_import(KvStore&, int, const std::uint8_t*) { no_operation(); }

}  // namespace octavo::cuda

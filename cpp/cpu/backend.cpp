// The CPU backend: the operations of backend.h on the kernels of one instruction set and the process's thread pool. One
// instance may serve several engines, one step at a time (begin_step).
#include "backend.h"

#include <cstring>
#include <string>
#include <vector>

#include "cpu/attention/attention.h"
#include "cpu/isa/kernels.h"
#include "cpu/attention/kv_store.h"
#include "cpu/linear/linear.h"
#include "cpu/threads/team.h"
#include "cpu/tuning.h"
#include "cpu/linear/weight.h"
#include "error.h"

namespace octavo {

namespace cpu {
namespace {

std::size_t at(int row, int ld) { return static_cast<std::size_t>(row) * static_cast<std::size_t>(ld); }

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Kernels& kernels, std::shared_ptr<os::Arena> weights)
      : kernels_(kernels), team_{thread_pool()}, weights_(std::move(weights)) {
    linear_.tuning = usual_tuning(kernels);
  }

  const char* name() const override { return "cpu"; }
  const char* isa() const override { return kernels_.isa; }

  void set_threads(int threads) override {
    if (threads < 1 || threads > ThreadPool::max_threads)
      throw Error(Code::invalid_argument, "threads is out of range",
                  {{"expected", "1.." + std::to_string(ThreadPool::max_threads)}, {"found", std::to_string(threads)}});
    team_.threads = threads;
  }
  void set_interrupt(const std::atomic<bool>* flag) override { team_.interrupt = flag; }
  std::shared_ptr<void> begin_step(int threads, const std::atomic<bool>* interrupt) override {
    auto turn = std::make_shared<Lease>();
    set_threads(threads);
    set_interrupt(interrupt);
    team_.pool.wake(threads);
    return turn;
  }

  void tune(std::span<const Weight* const> weights) override { linear_.tuning = tuned(kernels_, team_, weights); }
  Tuning tuning() const override { return linear_.tuning; }
  void set_tuning(const Tuning& tuning) override { linear_.tuning = tuning; }

  std::unique_ptr<Weight> weight_create(Format format, std::int64_t n, std::int64_t k) override {
    return std::make_unique<CpuWeight>(format, n, k, *weights_);
  }
  void weight_load(Weight& w, std::int64_t row, std::int64_t count, const void* rows) override {
    static_cast<CpuWeight&>(w).load(row, count, static_cast<const std::uint8_t*>(rows));
  }
  std::unique_ptr<KvStore> kv_create(const KvShape& shape) override {
    return std::make_unique<CpuKvStore>(shape);
  }
  void kv_copy(KvStore& kv, int destination_block, int source_block) override {
    const CpuKvStore& store = static_cast<CpuKvStore&>(kv);
    for (int layer = 0; layer < store.shape.layers; ++layer)
      std::memcpy(store.block(layer, destination_block), store.block(layer, source_block), store.heads_bytes());
  }
  void kv_export(std::uint8_t* out, const KvStore& kv, int block) override {
    const CpuKvStore& store = static_cast<const CpuKvStore&>(kv);
    for (int layer = 0; layer < kv.shape.layers; ++layer, out += store.heads_bytes())
      std::memcpy(out, store.block(layer, block), store.heads_bytes());
  }
  void kv_import(KvStore& kv, int block, const std::uint8_t* from) override {
    const CpuKvStore& store = static_cast<const CpuKvStore&>(kv);
    for (int layer = 0; layer < kv.shape.layers; ++layer, from += store.heads_bytes())
      std::memcpy(store.block(layer, block), from, store.heads_bytes());
  }

  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    const CpuWeight& weight = static_cast<const CpuWeight&>(table);
    const int width = static_cast<int>(weight.k);
    team_.rows(T, width, [&](int begin, int end) {
      for (int t = begin; t < end; ++t) weight.read_row(ids[t], out + at(t, width));
    });
  }

  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override {
    team_.rows(T, heads * width, [&](int begin, int end) {
      for (int t = begin; t < end; ++t)
        for (int h = 0; h < heads; ++h)
          kernels_.norm(out + at(t, out_ld) + h * width, x + at(t, x_ld) + h * width, w, eps, width);
    });
  }

  void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
              Epilogue epilogue) override {
    cpu::linear(kernels_, team_, linear_, static_cast<const CpuWeight&>(w),
                {out, out_ld, in, bias, T, epilogue == Epilogue::add});
  }

  void feed_forward(float* out, const LinearInput& in, const FeedForward& w, float* between, int T) override {
    const CpuWeight &gate_up = static_cast<const CpuWeight&>(w.gate_up), &down = static_cast<const CpuWeight&>(w.down);
    if (!cpu::feed_forward(kernels_, team_, linear_, {out, in, gate_up, w.gate_up_bias, down, w.down_bias, w.act, T}))
      Backend::feed_forward(out, in, w, between, T);
  }

  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override {
    const auto rotate = style == RopeStyle::interleaved ? kernels_.rope_interleaved : kernels_.rope_half;
    team_.rows(T, heads * head_size, [&](int begin, int end) {
      for (int t = begin; t < end; ++t)
        for (int h = 0; h < heads; ++h) rotate(x + at(t, ld) + h * head_size, cos_sin + at(t, dims), dims / 2);
    });
  }

  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    const CpuKvStore& store = static_cast<CpuKvStore&>(kv);
    const int D = store.shape.head_size, kv_heads = store.shape.kv_heads, queries = heads / kv_heads;
    const auto write = kernels_.kv_write[static_cast<std::size_t>(store.shape.dtype)];
    team_.rows(T, 2 * kv_heads * D, [&](int begin, int end) {
      for (int t = begin; t < end; ++t)
        for (int g = 0; g < kv_heads; ++g)
          write(store.head(layer, slots[t] / kv_block_tokens, g), slots[t] % kv_block_tokens,
                {k + at(t, ld) + g * D, v + at(t, ld) + g * D, heads == 0 ? nullptr : q + at(t, ld) + g * queries * D,
                 queries},
                D);
    });
  }

  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    cpu::attention(kernels_, team_, attention_,
                   {out, q, q_ld, static_cast<const CpuKvStore&>(kv), layer, plan, params});
  }

  void attend(float* out, const NewRows& rows, KvStore& kv, int layer, const AttentionPlan& plan,
              const AttentionParams& params) override {
    CpuKvStore& store = static_cast<CpuKvStore&>(kv);
    cpu::attention(kernels_, team_, attention_,
                   {out, rows.q, rows.ld, store, layer, plan, params, &rows, &store, &linear_.kv_ahead});
  }

  void gate(float* out, const float* gate_up, int F, Activation act, int T) override {
    switch (act) {
      case Activation::silu:
        team_.rows(T, 2 * F, [&](int begin, int end) {
          for (int t = begin; t < end; ++t)
            kernels_.gate_silu(out + at(t, F), gate_up + at(t, 2 * F), gate_up + at(t, 2 * F) + F, F);
        });
        return;
    }
  }

  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    team_.rows(R, width, [&](int begin, int end) {
      for (int r = begin; r < end; ++r) std::memcpy(out + at(r, width), x + at(rows[r], width), sizeof(float) * width);
    });
  }

  void sample(float* logits, int V, SampleRow* rows, int B) override {
    if (samplers_.size() < static_cast<std::size_t>(team_.threads))
      samplers_.resize(static_cast<std::size_t>(team_.threads));
    team_.tiles(B,
                [&](int begin, int end, int thread) {
                  for (int b = begin; b < end; ++b)
                    sample_row(logits + at(b, V), V, rows[b], samplers_[static_cast<std::size_t>(thread)]);
                },
                {1, 1});
  }

 private:
  const Kernels& kernels_;
  Team team_;
  std::shared_ptr<os::Arena> weights_;
  LinearScratch linear_;
  AttentionScratch attention_;
  std::vector<SamplerScratch> samplers_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const char* isa, std::shared_ptr<os::Arena> weights) {
  const cpu::Kernels* const kernels = cpu::kernels_find(isa);
  if (kernels == nullptr) {
    std::string known;
    for (const char* const* name = cpu_isas(); *name; ++name) known += (known.empty() ? "" : ", ") + std::string(*name);
    throw Error(Code::invalid_argument, "this machine has no such instruction set",
                {{"expected", known}, {"found", isa ? isa : "none"}});
  }
  return std::make_unique<cpu::CpuBackend>(*kernels, weights ? std::move(weights) : std::make_shared<os::Arena>());
}

}  // namespace octavo

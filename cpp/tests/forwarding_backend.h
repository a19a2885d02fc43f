// A backend that hands every call to another one: the base of test backends that change one operation.
#pragma once
#include <functional>
#include <memory>

#include "backend.h"

namespace octavo {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}
  const char* name() const override { return inner_->name(); }
  const char* isa() const override { return inner_->isa(); }
  void set_threads(int threads) override { inner_->set_threads(threads); }
  void set_interrupt(const std::atomic<bool>* flag) override { inner_->set_interrupt(flag); }
  std::shared_ptr<void> begin_step(int threads, const std::atomic<bool>* flag) override {
    return inner_->begin_step(threads, flag);
  }
  void tune(std::span<const Weight* const> weights) override { inner_->tune(weights); }
  Tuning tuning() const override { return inner_->tuning(); }
  void set_tuning(const Tuning& tuning) override { inner_->set_tuning(tuning); }
  std::unique_ptr<Weight> weight_create(Format format, std::int64_t n, std::int64_t k) override {
    return inner_->weight_create(format, n, k);
  }
  void weight_load(Weight& w, std::int64_t row, std::int64_t count, const void* rows) override {
    inner_->weight_load(w, row, count, rows);
  }
  std::unique_ptr<KvStore> kv_create(const KvShape& shape) override { return inner_->kv_create(shape); }
  void kv_copy(KvStore& kv, int to, int from) override { inner_->kv_copy(kv, to, from); }
  void kv_export(std::uint8_t* out, const KvStore& kv, int block) override { inner_->kv_export(out, kv, block); }
  void kv_import(KvStore& kv, int block, const std::uint8_t* bytes) override { inner_->kv_import(kv, block, bytes); }
  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    inner_->embed(out, table, ids, T);
  }
  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override {
    inner_->norm(out, out_ld, x, x_ld, w, eps, T, heads, width);
  }
  void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
              Epilogue epilogue) override {
    inner_->linear(out, out_ld, in, w, bias, T, epilogue);
  }
  void feed_forward(float* out, const LinearInput& in, const FeedForward& w, float* between, int T) override {
    inner_->feed_forward(out, in, w, between, T);
  }
  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override {
    inner_->rope(x, ld, heads, head_size, cos_sin, dims, style, T);
  }
  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    inner_->kv_write(kv, layer, q, heads, k, v, ld, slots, T);
  }
  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    inner_->attention(out, q, q_ld, kv, layer, plan, params);
  }
  void attend(float* out, const NewRows& rows, KvStore& kv, int layer, const AttentionPlan& plan,
              const AttentionParams& params) override {
    inner_->attend(out, rows, kv, layer, plan, params);
  }
  void gate(float* out, const float* gate_up, int F, Activation act, int T) override {
    inner_->gate(out, gate_up, F, act, T);
  }
  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    inner_->gather(out, x, rows, R, width);
  }
  void sample(float* logits, int V, SampleRow* rows, int B) override { inner_->sample(logits, V, rows, B); }

 private:
  std::unique_ptr<Backend> inner_;
};

// Tells when a step begins.
struct WatchedBackend : ForwardingBackend {
  explicit WatchedBackend(std::function<void()>& before_step)
      : ForwardingBackend(make_cpu_backend(cpu_isas()[0])), before(before_step) {}
  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    if (before) before();
    ForwardingBackend::embed(out, table, ids, T);
  }
  std::function<void()>& before;
};

}  // namespace octavo

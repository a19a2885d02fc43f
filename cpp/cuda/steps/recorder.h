// Operations taken down as launches (cuda/ops): a Backend whose pointers are the device's, but for what backend.h says
// of weights and plans, and constants of a model where `constants` knows them. Nothing is computed; whoever made it
// gives the launches to the device.
#pragma once
#include <span>
#include <unordered_map>
#include <vector>

#include "../../../cuda/ops/attention.h"
#include "backend.h"
#include "cuda/memory/device.h"
#include "cuda/steps/sample_inputs.h"

namespace octavo::cuda {

gpu::KvKind kind_of(const KvShape& shape);
AttentionShape attention_shape(const KvShape& kv, const AttentionParams& params);

// A model's vectors on the device, by where the host has them: sent when they are first met, by launches that come
// before those that read them.
class Constants {
 public:
  Constants(Device& device, std::size_t bytes) : memory_(device, bytes) {}
  const float* on_device(const float* host, int count);

 private:
  Buffer<std::uint8_t> memory_;
  std::size_t used_ = 0;
  std::unordered_map<const float*, std::pair<const float*, int>> places_;
};

// What operations need besides their operands, on the device; each only what it uses.
struct Workspace {
  void* linear = nullptr;                    // scratch of a linear, see linear_scratch_bytes
  const AttentionPlan* attention = nullptr;  // of the step (the host's), with what it has on the device:
  const gpu::AttentionTile* tiles = nullptr;
  const gpu::AttentionItem* items = nullptr;
  const std::int32_t* tables = nullptr;
  float *partial_ml = nullptr, *partial_o = nullptr;
  gpu::SampleParams sample{};            // of the step's first row; logits and vocab are the operation's
  const SampleRow* first_row = nullptr;  // the host's
};

class Recorder final : public Backend {
 public:
  Recorder(const DeviceProperties& properties, const Workspace& workspace, Constants* constants = nullptr)
      : properties_(properties), workspace_(workspace), constants_(constants) {}
  Launches launches;

  const char* name() const override { return "cuda"; }
  const char* isa() const override { return "recorder"; }
  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override;
  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override;
  void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
              Epilogue epilogue) override;
  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override;
  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override;
  // The plan is that of the workspace.
  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const octavo::AttentionPlan& plan,
                 const AttentionParams& params) override;
  void gate(float* out, const float* gate_up, int F, Activation act, int T) override;
  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override;
  void sample(float* logits, int V, SampleRow* rows, int B) override;

  // No operations: these are the device's backend's.
  void set_threads(int) override;
  void set_interrupt(const std::atomic<bool>*) override;
  std::unique_ptr<Weight> weight_create(Format, std::int64_t, std::int64_t) override;
  void weight_load(Weight&, std::int64_t, std::int64_t, const void*) override;
  std::unique_ptr<KvStore> kv_create(const KvShape&) override;
  void kv_copy(KvStore&, int, int) override;
  void kv_export(std::uint8_t*, const KvStore&, int) override;
  void kv_import(KvStore&, int, const std::uint8_t*) override;

 private:
  const float* constant(const float* values, int count) const {
    return values == nullptr || constants_ == nullptr ? values : constants_->on_device(values, count);
  }
  const DeviceProperties properties_;
  const Workspace workspace_;
  Constants* const constants_;
};

}  // namespace octavo::cuda

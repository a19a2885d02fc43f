// Steps of a backend with a device of its own: it is given whole steps and computes them meanwhile, where other
// backends carry operations out one by one. What a step consists of is listed once, by Model::operations, which calls a
// Backend: the host's own with the host's pointers, or one that takes down what the device has to do, with pointers of
// the device's.
#pragma once
#include <functional>
#include <memory>
#include <set>

#include "backend.h"

namespace octavo {

// Where the buffers of a step lie. T tokens; of logits there are logit_rows rows, which serve one after the other.
struct Activations {
  float *x, *hidden;  // [T, E]
  float* qkv;         // [T, (H + 2 G) * D]
  float* attended;    // [T, H * D]
  float* gate_up;     // [T, 2 F]
  float* picked;      // [T, max(E, H * D)]
  float* logits;      // [logit_rows, V]
  int logit_rows;
};

struct StepInputs {
  int T;
  const std::int32_t* ids;    // [T]
  const std::int32_t* drawn;  // [T]: the row of the step given before whose draw is the token, or -1; null: all are ids
  const std::int32_t* slots;  // [T], see Backend::kv_write
  const float* cos_sin;       // [T, dims / 2, 2]
  const std::int32_t* wanted;  // [R]: rows with results
  int R;
  AttentionPlan plan;  // with tables of the host's, always
  SampleRow* rows;     // [R], the host's
};

// What the steps of an engine have in common.
struct StepShape {
  int layers, width, feed_forward, vocabulary, rope_dims;
  AttentionParams attention;  // of every layer, but for sink_logits
  std::size_t constants;      // numbers of norms, biases and sinks
  int max_tokens;
};

using StepOperations = std::function<void(Backend&, const StepInputs&, const Activations&)>;

class DeviceSteps {
 public:
  virtual ~DeviceSteps() = default;
  // Gives the device a step; everything given is read before this returns. fed: this is the step so many after one that
  // was given with its tokens, each segment has one row, and what the step before drew in it is its token; penalties know
  // it too. in.ids are not read then, nor tokens of histories. False: there is no room until a step was waited for.
  virtual bool submit(const StepInputs& in, int fed, const StepOperations& operations) = 0;
  // Returns when all of the oldest step that was not waited for was given to the device: what is given next waits there
  // for nothing. Throws interrupted when the flag is set before.
  virtual void give_all(const std::atomic<bool>* interrupt) = 0;
  // Results of that step, into its rows. Throws interrupted as give_all does.
  virtual void wait(SampleRow* rows, const std::atomic<bool>* interrupt) = 0;
  // What is on its way has no results.
  virtual void drop() = 0;
  // How many steps may follow one another, each fed by the one before, the first included.
  virtual int most_queued() const = 0;
};

// What a model asks of a device, as far as kernels, or how they are launched, differ by it.
struct ModelUse {
  std::set<Format> formats;   // of its weights
  AttentionParams attention;  // of every layer, but for sink_logits
  bool sink_logits;
  int kv_heads, head_size, rope_dims;
  RopeStyle rope_style;
  float norm_eps;
  KvDtype kv_dtype;
};

class ComputesSteps {
 public:
  virtual ~ComputesSteps() = default;
  // Whether the device computes what docs/numerics.md says, on small cases of all this. Throws device_unavailable.
  virtual void check_itself(const ModelUse& use) = 0;
  // For an engine whose cache is `kv`, which outlives it.
  virtual std::unique_ptr<DeviceSteps> make_steps(const StepShape& shape, KvStore& kv) = 0;
};

}  // namespace octavo

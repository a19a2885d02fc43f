// Weights and the one forward pass. A model is data: ModelDesc (made in lib/model/checkpoint.ts) says sizes, flags and
// where each tensor's bytes lie; every supported architecture runs through the same forward(). Immutable once loaded,
// so engines share it (shared_models.h); what a step needs to write lives in its Scratch.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend.h"
#include "device_steps.h"
#include "model/rope.h"
#include "os/os.h"
#include "step.h"

namespace octavo {

class KvCache;
class SharedWeights;

inline constexpr std::int64_t repacked_rows = 32;  // that a backend repacks together (Backend::weight_load)

struct TensorSource {
  int file;  // index into ModelDesc::files; -1 = seeded random rows
  std::uint64_t offset, bytes;
  Format format;
  std::int64_t rows, width;
};

struct ModelDesc {
  std::string architecture;
  std::vector<std::string> files;
  int layers, width, heads, kv_heads, head_size, feed_forward, vocabulary;
  float norm_eps;
  Activation activation;
  RopeStyle rope_style;
  int rope_dims;
  std::vector<double> rope_frequencies;  // rope_dims / 2, scaling applied (cpp/model/rope.h)
  double rope_magnitude;
  int sliding_window, attention_sinks;
  float attention_soft_cap;
  std::uint64_t seed;
  std::map<std::string, TensorSource> tensors;  // by role, see ModelDesc in lib/base/native.ts
};

// A linear map stored as one weight, or as several side by side when their formats differ. Bias has n values or none.
struct Projection {
  struct Part {
    std::unique_ptr<Weight> weight;
    int column;
  };
  std::vector<Part> parts;
  std::vector<float> bias;
  int n = 0;
};

struct Layer {
  std::vector<float> attn_norm, ffn_norm, q_norm, k_norm;  // q_norm and k_norm are empty without qk-norm
  std::vector<float> attn_sinks;                           // [heads] or empty
  Projection qkv, attn_out, gate_up, down;
};

// Activation buffers for steps of up to max_tokens tokens. They lie one behind the other, each as long as the step needs:
// small steps stay within few pages, and memory is taken into use as steps grow.
class Scratch {
 public:
  Scratch(const ModelDesc& desc, int max_tokens);
  std::size_t bytes() const { return memory_.bytes(); }
  static std::size_t predict_bytes(const ModelDesc& desc, int max_tokens);
  // Before a step of so many tokens: sets the pointers. What was in the buffers is lost.
  void arrange(const ModelDesc& desc, int tokens);
  const int max_tokens;
  Activations room{};
  float* cos_sin = nullptr;
  std::vector<std::int32_t> positions, slots, wanted;
  std::vector<AttentionSegment> segments;
  std::vector<std::int32_t> history;
  std::vector<float> turns;  // in the place of cos_sin for a device
  RopeRows rope_rows;        // that they are made of

 private:
  os::Reserve memory_;
  std::size_t touched_ = 0;
};

using ModelFiles = std::vector<std::unique_ptr<os::File>>;
ModelFiles open_files(const ModelDesc& desc);

// What is on its way before a step, and not committed.
struct OnTheWay {
  int ahead = 0;                        // steps of its run, each a token of every sequence
  int fed = 0;                          // see DeviceSteps::submit
  const Step* other = nullptr;          // a step of another shape: its tokens are known, its draws are not
  const std::int32_t* drawn = nullptr;  // see StepInputs
  // Tokens of a sequence that come after its committed ones and before the step's; those of a run are not known.
  int count(int sequence) const { return ahead + static_cast<int>(tokens(sequence).size()); }
  std::span<const std::int32_t> tokens(int sequence) const;
};

class Model {
 public:
  // Checks the description, opens the files and creates the weights (zeroed). Throws model_invalid, model_unsupported,
  // out_of_memory.
  Model(ModelDesc desc, std::unique_ptr<Backend> backend);
  // With its files, opened by the caller. shared: where the backend's weights lie when processes share them. Adopted
  // ones are complete at once, others are published by finish_load().
  Model(ModelDesc desc, std::unique_ptr<Backend> backend, ModelFiles files,
        std::shared_ptr<SharedWeights> shared = nullptr);

  ~Model();

  // Pieces of tensors, in the order of the files.
  int tensor_count() const { return static_cast<int>(tasks_.size()); }
  // Reads and repacks one tensor; returns its bytes in the file. Several threads may load a model together: one that
  // comes to a tensor that another one is loading loads others meanwhile, waits for it, takes over when that fails, and
  // passes what is loaded. The first call for a large model starts threads that load along (cpp/model/model_loading.cpp).
  std::uint64_t load_tensor(int index);
  // Closes the files; again does nothing. Throws invalid_argument when a tensor was not loaded.
  void finish_load();
  bool loaded() const { return loaded_.load(std::memory_order_acquire); }
  std::size_t resident_bytes() const;
  // Of the bytes of all tensors as they were loaded, in the order of the files; 0 before.
  std::uint64_t content_hash() const { return content_hash_; }
  // How the weights came here: read for this process alone, read and offered to others, or adopted from another
  // process.
  enum class Origin { own, offered, adopted };
  Origin origin() const { return origin_; }

  // Backend::tune on the weights of the layers; takes a turn.
  void tune(int threads) const;

  const ModelDesc& desc() const { return desc_; }
  Backend& backend() const { return *backend_; }

  // Computes a step whose room is reserved in `kv`: writes keys and values, fills result.rows (samplers[i] belongs to
  // segment i; may be null when the segment has no drawn rows; masks[i] to row i, may be null, none at all: no row has
  // one). Does not commit. Throws interrupted.
  void forward(const Step& step, const std::vector<const SamplerParams*>& samplers, const std::vector<RowMask>& masks,
               KvCache& kv, KvStore& store, Scratch& scratch, StepResult& result) const;

  // Has the backend's own device, if it has one, prove that it computes what this model asks for, with a cache of this
  // type (ComputesSteps::check_itself). Weights need not be loaded.
  void check_device(KvDtype dtype) const;
  // Steps on the backend's own device; null: it has none. `store` outlives them.
  std::unique_ptr<DeviceSteps> make_steps(int max_tokens, KvStore& store) const;
  // Gives the step, or what its draws lead to, to the device. False: no room for another one.
  bool submit(DeviceSteps& to, const Step& step, const OnTheWay& way, const std::vector<const SamplerParams*>& samplers,
              const std::vector<RowMask>& masks, KvCache& kv, KvStore& store, Scratch& scratch) const;

 private:
  enum class Progress : std::uint8_t { untouched, loading, loaded };
  struct Task {  // one tensor to load: into rows [row, ...) of a weight, or into a vector of f32
    const TensorSource* source;
    Weight* weight;
    std::int64_t first, rows;  // of the source
    std::int64_t row;          // first goes to this row of the weight
    float* vector;
    std::uint32_t number;  // names the tensor for the synthetic generator
    Progress progress;
    std::uint64_t hash = 0;  // of its bytes, once loaded
  };

  const TensorSource* find(const std::string& role, std::int64_t rows, std::int64_t width, bool required) const;
  void add_vector(std::vector<float>& out, const std::string& role, std::int64_t width, bool required);
  void add_projection(Projection& out, const std::string& prefix, const std::vector<std::pair<std::string, int>>& roles,
                      int k);
  void add_task(const TensorSource* source, Weight* weight, std::int64_t row, float* vector);
  std::uint64_t task_bytes(const Task& task) const;
  bool help(std::unique_lock<std::mutex>& lock);
  void load_task(Task& task, std::unique_lock<std::mutex>& lock);
  void read_rows(const Task& task, os::Memory& rows) const;
  void store_rows(Task& task, const void* rows);
  std::vector<std::span<float>> vectors();
  void adopt_or_prepare();
  void complete(std::uint64_t content_hash);
  void start_helpers();
  void stop_helpers();
  void load_along();
  const Weight& head() const { return output_ ? *output_ : *embed_; }
  AttentionParams attention_params() const;
  StepInputs prepare(const Step& step, const OnTheWay& way, const std::vector<const SamplerParams*>& samplers,
                     const std::vector<RowMask>& masks, const KvCache& kv, Scratch& s,
                     std::vector<SampleRow>& rows) const;
  void place(const Step& step, const OnTheWay& way, const KvCache& kv, Scratch& s) const;
  void want(const Step& step, const OnTheWay& way, const std::vector<const SamplerParams*>& samplers,
            const std::vector<RowMask>& masks, const KvCache& kv, Scratch& s, std::vector<SampleRow>& rows) const;
  void operations(Backend& to, const StepInputs& in, Activations room, KvStore& store) const;
  void project(Backend& to, float* out, const Projection& p, const LinearInput& in, int T, Epilogue epilogue) const;
  void feed_forward(Backend& to, const Layer& layer, const Activations& s, int T) const;
  void queries_and_keys(Backend& to, const Layer& layer, const Activations& s, int T) const;
  bool layers_forward(Backend& to, const StepInputs& in, Activations& s, KvStore& store) const;
  void results(Backend& to, const StepInputs& in, const Activations& s) const;

  ModelDesc desc_;
  std::unique_ptr<Backend> backend_;
  ModelFiles files_;
  std::unique_ptr<Weight> embed_, output_;  // output_ is null when tied to embed_
  std::vector<float> output_norm_;
  std::vector<Layer> layers_;
  std::vector<Task> tasks_;
  // What several loaders share, under load_mutex_: progress of the tasks, files_, and what helpers need.
  struct Help {
    std::vector<std::thread> threads;
    std::vector<os::Memory> spare;  // buffers to read into
    std::size_t next = 0;           // no task before it is to be helped with
    bool started = false, stop = false;
  };
  Help help_;
  std::mutex load_mutex_;
  std::condition_variable changed_;
  std::shared_ptr<SharedWeights> shared_;
  Origin origin_ = Origin::own;
  std::uint64_t content_hash_ = 0;
  std::atomic<bool> loaded_{false};
};

}  // namespace octavo

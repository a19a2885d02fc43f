// The Backend interface: the operations a forward pass is made of, destination first. Implemented by
// cpp/cpu/reference/reference.cpp (the slow, obvious, executable form of docs/numerics.md), cpp/cpu/backend.cpp (the kernels),
// later by cuda/.
//
// T tokens, B sequences, E model width, H query heads, G key/value heads, D head size, F feed-forward width, V
// vocabulary, K reduced dimension, N output dimension. Activations are f32, row-major; `ld` is the distance between
// rows in elements. Kernels know no tensor and no model: raw pointers and plain structs.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "files/quant.h"
#include "sampling/sampler.h"

namespace octavo {

namespace os {
class Arena;
}

// A weight matrix [n, k] in a layout private to the backend that made it.
class Weight {
 public:
  Weight(Format format, std::int64_t n, std::int64_t k) : format(format), n(n), k(k) {}
  virtual ~Weight() = default;
  virtual std::size_t resident_bytes() const = 0;
  // Before rows are loaded: a row of the first half and the same one of the second are used together (FeedForward's
  // gate_up), so a backend may keep them side by side. Results never depend on it.
  virtual void pair_halves() {}
  const Format format;
  const std::int64_t n, k;
};

enum class Epilogue : std::uint8_t {
  store,  // out = y
  add,    // out = out + y (residual)
};
enum class Activation : std::uint8_t { silu };
enum class RopeStyle : std::uint8_t { interleaved, half };
enum class KvDtype : std::uint8_t { f16, bf16, fp8, int8 };  // docs/numerics.md, "KV cache"

struct KvTraits {
  const char* name;
  int value_bytes;  // of one number of a key or a value
  bool scaled;      // whether a token's key and value have a scale each (bf16) per head
  bool rounds_by_queries;  // whether what is kept of a key depends on the queries of its token
};
inline constexpr KvTraits kv_table[] = {
    {"f16", 2, false, false}, {"bf16", 2, false, false}, {"fp8", 1, true, true}, {"int8", 1, true, false}};
inline const KvTraits& traits(KvDtype dtype) { return kv_table[static_cast<std::size_t>(dtype)]; }

inline constexpr int kv_block_tokens = 16;   // tokens in a KV block: one vector of keys in the token-minor K layout
inline constexpr int max_head_size = 512;    // kernels keep a head of several queries on the stack
inline constexpr int attention_chunk = 256;  // keys in one independent partial of the online softmax (docs/numerics.md)

struct KvShape {
  int layers, blocks, kv_heads, head_size;
  KvDtype dtype;
};

// The KV pool's storage, laid out as the backend likes it, zeroed. Memory for all of it is there at creation; a backend
// may take it into use later.
class KvStore {
 public:
  explicit KvStore(const KvShape& shape) : shape(shape) {}
  virtual ~KvStore() = default;
  // Sees to memory for the blocks [0, blocks), and for some more where there is enough: how many have it now.
  virtual int provide(int) { return shape.blocks; }
  // Between two steps: has memory of the blocks provided handed out ahead of steps of so many tokens, a little at a
  // time.
  virtual void touch_ahead(int) {}
  virtual std::size_t bytes() const = 0;
  virtual std::size_t touched_bytes() const { return bytes(); }
  const KvShape shape;
};
// Keys and values of one block, layer and head: the codes, then the scales.
inline std::size_t kv_head_bytes(const KvShape& s) {
  const std::size_t row_bytes = static_cast<std::size_t>(s.head_size) * traits(s.dtype).value_bytes;
  return 2 * kv_block_tokens * (row_bytes + (traits(s.dtype).scaled ? sizeof(std::uint16_t) : 0));
}
inline std::size_t kv_block_bytes(const KvShape& s) { return kv_head_bytes(s) * s.kv_heads * s.layers; }

// A run of consecutive tokens of one sequence inside a step.
struct AttentionSegment {
  int row;                    // first row in the step's [T, ...] tensors
  int count;                  // rows
  int position;               // position of the first row in its sequence
  const std::int32_t* table;  // block table: table[position / 16] is the pool block of that position
};
struct AttentionPlan {
  const AttentionSegment* segments;
  int n_segments;
  int rows;  // T
};
// A step's rows as the projection makes them, `ld` elements apart: H queries, G keys and G values of D each, and where
// they belong.
struct NewRows {
  float *q, *k;
  const float* v;
  int ld;
  const std::int32_t* slots;  // [T], see Backend::kv_write
  const float* cos_sin;       // [T, dims / 2, 2], see Backend::rope
  int dims;
  RopeStyle style;
};
// What a linear reads: x[T, K] as it is, RMS-normalised, or gated from x[T, 2K]; the numbers are those of norm and
// gate.
enum class InputKind : std::uint8_t { plain, normed, gated };
struct LinearInput {
  LinearInput(const float* x) : x(x) {}
  static LinearInput normed(const float* x, const float* weight, float eps) {
    LinearInput in(x);
    in.kind = InputKind::normed, in.norm_weight = weight, in.eps = eps;
    return in;
  }
  static LinearInput gated(const float* gate_up, Activation act) {
    LinearInput in(gate_up);
    in.kind = InputKind::gated, in.act = act;
    return in;
  }
  const float* x;
  InputKind kind = InputKind::plain;
  Activation act = Activation::silu;
  const float* norm_weight = nullptr;  // [K]
  float eps = 0;
};
struct AttentionParams {
  int heads;   // H
  float scale; // 1 / sqrt(D) unless the model says otherwise
  int window;  // keys a query sees, itself included; 0 = all
  int sinks = 0;                      // first keys of a sequence that a window never hides
  float soft_cap = 0;                 // cap * tanh(score / cap); 0 = none
  const float* sink_logits = nullptr; // [H] learned logits that take weight and give no value, or null
};

// The feed-forward weights of a layer: gate_up [2F, E] holds the gate's rows, then the up projection's; down [E, F].
struct FeedForward {
  const Weight& gate_up;
  const float* gate_up_bias;  // [2F] or null
  const Weight& down;
  const float* down_bias;  // [E] or null
  Activation act;
};

// How operations walk through their work on this CPU; results never depend on it.
struct Tuning {
  // Steps of so many tokens or more fetch the next tile of a weight before it is needed: then computing outlasts
  // reading. Below, a CPU's own prefetcher does better: on Zen 4 asking for lines costs a step of one token a third of
  // the bandwidth.
  int prefetch_from_tokens = 6;
  // Steps of so many tokens or more use matrix registers, where the CPU has them: unpacking weights for them pays then.
  int matrix_from_tokens = 12;
  double seconds = 0;  // that the measurement took; 0: this is not measured
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;  // "cpu", "reference"
  virtual const char* isa() const = 0;   // "avx512vnni", "avxvnni", "avx2", "neon_i8mm", "neon", "baseline", "scalar"

  // ---- services -------------------------------------------------------------------------------------------------
  // Threads used by the operations that follow (1..); results never depend on it.
  virtual void set_threads(int threads) = 0;
  // While *flag is true operations throw Error(interrupted) at the next tile claim. The flag outlives the backend's use
  // of it.
  virtual void set_interrupt(const std::atomic<bool>* flag) = 0;
  // Opens a step: takes the turn among the engines that share the backend's threads, then sets the two above. The turn
  // ends when the returned object dies.
  virtual std::shared_ptr<void> begin_step(int threads, const std::atomic<bool>* interrupt) {
    set_threads(threads);
    set_interrupt(interrupt);
    return nullptr;
  }
  // Finds a tuning by a measurement of some milliseconds on weights of this backend; within a turn (begin_step).
  virtual void tune(std::span<const Weight* const> /*weights*/) {}
  virtual Tuning tuning() const { return {}; }
  virtual void set_tuning(const Tuning&) {}
  // Bytes of the device's own memory that are free now; none: weights and caches are in the host's.
  virtual std::optional<std::uint64_t> device_memory_free() const { return std::nullopt; }
  // A zeroed weight. k is whole blocks of the format; of a float format a multiple of 16. Throws out_of_memory.
  virtual std::unique_ptr<Weight> weight_create(Format format, std::int64_t n, std::int64_t k) = 0;
  // Repacks `count` rows in the file's layout (quant.h), each row_bytes(format, k) long, to rows [row, row + count).
  // row is a multiple of 32; count is a multiple of 32 or ends at n. May run on several threads at once for disjoint
  // rows. Throws model_invalid when a scale is not finite.
  virtual void weight_load(Weight& w, std::int64_t row, std::int64_t count, const void* rows) = 0;
  virtual std::unique_ptr<KvStore> kv_create(const KvShape& shape) = 0;
  // Copies one block of every layer: copy-on-write.
  virtual void kv_copy(KvStore& kv, int destination_block, int source_block) = 0;
  // A block as bytes that every backend of a device class reads and writes alike (kv_block_bytes): [layer][kv head],
  // each as cpu/kv_store.h lays a head out. kv_import takes any bytes: what they stand for may be wrong, nothing else
  // can be.
  virtual void kv_export(std::uint8_t* out, const KvStore& kv, int block) = 0;
  virtual void kv_import(KvStore& kv, int block, const std::uint8_t* bytes) = 0;

  // ---- operations -----------------------------------------------------------------------------------------------
  // out[T, k]: rows `ids` of the table [n, k]; 0 <= id < n is the caller's duty.
  virtual void embed(float* out, const Weight& table, const std::int32_t* ids, int T) = 0;
  // For every t < T, h < heads: RMSNorm of x[t * x_ld + h * width ..] with weight w[width] to out[t * out_ld + h *
  // width ..]. out may be x.
  virtual void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
                    int width) = 0;
  // out[T, N] with row distance out_ld; in.x contiguous; bias[N] or null.
  virtual void linear(float* out, int out_ld, const LinearInput& in, const Weight& w, const float* bias, int T,
                      Epilogue epilogue) = 0;
  // The two linears of a feed-forward block, with their bits: between = gate_up(in), then out += down(gated(between)).
  // A backend may leave between [T, 2F] untouched.
  virtual void feed_forward(float* out, const LinearInput& in, const FeedForward& w, float* between, int T) {
    linear(between, static_cast<int>(w.gate_up.n), in, w.gate_up, w.gate_up_bias, T, Epilogue::store);
    linear(out, static_cast<int>(w.down.n), LinearInput::gated(between, w.act), w.down, w.down_bias, T, Epilogue::add);
  }
  // In place on `heads` heads of D at x[t * ld ..]; cos_sin[T, dims / 2, 2] holds (cos, sin) pairs; dims <= D, even.
  virtual void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
                    int T) = 0;
  // Writes k and v (G heads of D at k[t * ld ..], v[t * ld ..]) of one layer to slots[t] = block * 16 + offset. q: the
  // rows' queries at q[t * ld ..], `heads` of them or none; only a type that rounds_by_queries reads them.
  virtual void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                        const std::int32_t* slots, int T) = 0;
  // out[T, H * D] contiguous; q: H heads of D at q[t * q_ld ..]. The rows' own keys are in the cache already.
  virtual void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                         const AttentionParams& params) = 0;
  // rope of queries and keys, kv_write, then attention, with their bits. A backend may leave rows.q and rows.k as they
  // are.
  virtual void attend(float* out, const NewRows& rows, KvStore& kv, int layer, const AttentionPlan& plan,
                      const AttentionParams& params) {
    rope(rows.q, rows.ld, params.heads, kv.shape.head_size, rows.cos_sin, rows.dims, rows.style, plan.rows);
    rope(rows.k, rows.ld, kv.shape.kv_heads, kv.shape.head_size, rows.cos_sin, rows.dims, rows.style, plan.rows);
    kv_write(kv, layer, rows.q, params.heads, rows.k, rows.v, rows.ld, rows.slots, plan.rows);
    attention(out, rows.q, rows.ld, kv, layer, plan, params);
  }
  // out[T, F] = act(gate_up[t][0..F)) * gate_up[t][F..2F)
  virtual void gate(float* out, const float* gate_up, int F, Activation act, int T) = 0;
  // out[R, width] = x[rows[r], width]
  virtual void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) = 0;
  // Draws one token per row of logits[B, V]; rows are changed in place by bias and penalties (after log-probabilities
  // were taken from the raw values). See sampler.h.
  virtual void sample(float* logits, int V, SampleRow* rows, int B) = 0;
};

// The reference backend: single-threaded, scalar.
std::unique_ptr<Backend> make_reference_backend();
// The CPU backend. isa: null for the best this machine has, or one of cpu_isas(). Throws invalid_argument for one it
// has not. weights: where weights lie, in a layout that is the same for every isa; null: in memory of its own.
std::unique_ptr<Backend> make_cpu_backend(const char* isa, std::shared_ptr<os::Arena> weights = nullptr);
// Instruction sets compiled in that this machine can run, best first; null-terminated.
const char* const* cpu_isas();

}  // namespace octavo

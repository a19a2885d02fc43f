// The reference backend: docs/numerics.md in executable form. One thread, one scalar operation after the other, weights
// kept as the file's rows, keys and values as plain rows (reference_attention.h). It shares no arithmetic with the
// kernels, which must equal it bit for bit; so nothing here is arranged for speed, and every function reads like its
// section of that page.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "backend.h"
#include "cpu/reference/reference_attention.h"
#include "cpu/reference/reference_math.h"
#include "error.h"

namespace octavo {
namespace {

using namespace reference;

constexpr int group = 32;  // consecutive elements of K with one scale

struct ReferenceWeight final : Weight {
  ReferenceWeight(Format format, std::int64_t n, std::int64_t k)
      : Weight(format, n, k),
        stride(row_bytes(format, static_cast<std::size_t>(k))),
        bytes(stride * static_cast<std::size_t>(n)) {}
  std::size_t resident_bytes() const override { return bytes.size(); }
  const std::uint8_t* row(std::int64_t i) const { return bytes.data() + stride * static_cast<std::size_t>(i); }
  const std::size_t stride;
  std::vector<std::uint8_t> bytes;  // [n, stride]
};

const ReferenceWeight& own(const Weight& w) { return static_cast<const ReferenceWeight&>(w); }

// A row of activations as quantised for a quantised weight.
struct QuantisedRow {
  std::vector<int> q;        // [k]
  std::vector<float> d, sa;  // [k / 32]
  std::vector<float> half_sa;  // [k / 16]
};

QuantisedRow quantise(const float* x, std::int64_t k) {
  QuantisedRow row;
  for (std::int64_t g = 0; g < k / group; ++g, x += group) {
    const float amax = largest_magnitude(x, group);
    const bool zero = amax < 1e-30f;
    const bool number = std::isfinite(amax);
    const float d = zero ? 0.0f : amax / 127.0f;
    const float id = 127.0f / amax;
    int sum = 0;
    for (int i = 0; i < group; ++i) {
      const int q = zero || !number ? 0 : static_cast<int>(std::nearbyint(x[i] * id));
      row.q.push_back(q);
      sum += q;
    }
    for (int h = 0; h < 2; ++h) {
      int half = 0;
      for (int i = 0; i < group / 2; ++i) half += row.q[row.q.size() - group + h * (group / 2) + i];
      row.half_sa.push_back(d * static_cast<float>(half));
    }
    row.d.push_back(d);
    row.sa.push_back(d * static_cast<float>(sum));
  }
  return row;
}

float dot_quantised(Format format, const std::uint8_t* row, std::int64_t k, const QuantisedRow& x) {
  float acc = 0;
  for (std::int64_t g = 0; g < k / group; ++g) {
    const WeightGroup w = weight_group(format, row, static_cast<std::size_t>(g));
    const int* const q = &x.q[static_cast<std::size_t>(g * group)];
    int half[2] = {0, 0};
    for (int i = 0; i < group; ++i) half[i / 16] += w.code[i] * q[i];
    if (has_two_dots(format)) {
      acc = std::fma(static_cast<float>(half[0]), w.scale[0] * x.d[g], acc);
      acc = std::fma(static_cast<float>(half[1]), w.scale[1] * x.d[g], acc);
      continue;
    }
    const int dot = w.factor[0] * half[0] + w.factor[1] * half[1];
    if (format == Format::q3_k) acc = std::fma(static_cast<float>(-dot), -w.scale[0] * x.d[g], acc);
    else acc = std::fma(static_cast<float>(dot), w.scale[0] * x.d[g], acc);
    if (has_two_minima(format)) {
      for (int h = 0; h < 2; ++h) acc = std::fma(w.minimum[h], x.half_sa[2 * g + h], acc);
    } else if (has_minimum(format)) {
      acc = std::fma(w.minimum[0], x.sa[g], acc);
    }
  }
  return acc;
}

float dot_float(const float* w, const float* x, std::int64_t k) {
  float acc = 0;
  for (std::int64_t i = 0; i < k; ++i) acc = std::fma(w[i], x[i], acc);
  return acc;
}

class ReferenceBackend final : public Backend {
 public:
  const char* name() const override { return "reference"; }
  const char* isa() const override { return "scalar"; }
  void set_threads(int) override {}
  void set_interrupt(const std::atomic<bool>* flag) override { interrupt_ = flag; }
  std::shared_ptr<void> begin_step(int, const std::atomic<bool>* flag) override {
    auto turn = std::make_shared<std::unique_lock<std::mutex>>(turn_);
    interrupt_ = flag;
    return turn;
  }

  std::unique_ptr<Weight> weight_create(Format format, std::int64_t n, std::int64_t k) override {
    try {
      return std::make_unique<ReferenceWeight>(format, n, k);
    } catch (const std::bad_alloc&) {
      const std::size_t row = row_bytes(format, static_cast<std::size_t>(k));
      const std::string bytes = std::to_string(row * static_cast<std::size_t>(n));
      throw Error(Code::out_of_memory, "no memory for a weight of " + bytes + " bytes", {{"bytes", bytes}});
    }
  }

  void weight_load(Weight& w, std::int64_t row, std::int64_t count, const void* rows) override {
    auto& weight = static_cast<ReferenceWeight&>(w);
    const auto* source = static_cast<const std::uint8_t*>(rows);
    const std::size_t bytes = weight.stride * static_cast<std::size_t>(count);
    if (is_quantised(w.format)) check_scales(w.format, row, source, bytes, weight.stride);
    std::memcpy(weight.bytes.data() + weight.stride * static_cast<std::size_t>(row), source, bytes);
  }

  std::unique_ptr<KvStore> kv_create(const KvShape& shape) override {
    try {
      return std::make_unique<KvRows>(shape);
    } catch (const std::bad_alloc&) {
      const std::string bytes = std::to_string(kv_block_bytes(shape) * static_cast<std::size_t>(shape.blocks));
      throw Error(Code::out_of_memory, "no memory for a KV cache of " + bytes + " bytes", {{"bytes", bytes}});
    }
  }

  void kv_copy(KvStore& kv, int destination_block, int source_block) override {
    static_cast<KvRows&>(kv).copy_block(destination_block, source_block);
  }
  void kv_export(std::uint8_t* out, const KvStore& kv, int block) override {
    static_cast<const KvRows&>(kv).export_block(out, block);
  }
  void kv_import(KvStore& kv, int block, const std::uint8_t* bytes) override {
    static_cast<KvRows&>(kv).import_block(block, bytes);
  }

  void embed(float* out, const Weight& table, const std::int32_t* ids, int T) override {
    const ReferenceWeight& w = own(table);
    for (int t = 0; t < T; ++t) {
      check_interrupt();
      dequantise_row(w.format, w.row(ids[t]), static_cast<std::size_t>(w.k),
                     out + static_cast<std::size_t>(t) * w.k);
    }
  }

  void norm(float* out, int out_ld, const float* x, int x_ld, const float* w, float eps, int T, int heads,
            int width) override {
    for (int t = 0; t < T; ++t) {
      check_interrupt();
      for (int h = 0; h < heads; ++h) {
        const float* from = x + static_cast<std::size_t>(t) * x_ld + static_cast<std::size_t>(h) * width;
        float* to = out + static_cast<std::size_t>(t) * out_ld + static_cast<std::size_t>(h) * width;
        float l[lanes] = {};
        for (int i = 0; i < width; ++i) l[i % lanes] = std::fma(from[i], from[i], l[i % lanes]);
        const float s = tree16(l);
        const float r = 1.0f / std::sqrt(s / static_cast<float>(width) + eps);
        for (int i = 0; i < width; ++i) to[i] = (from[i] * r) * w[i];
      }
    }
  }

  void linear(float* out, int out_ld, const LinearInput& in, const Weight& weight, const float* bias, int T,
              Epilogue epilogue) override {
    const ReferenceWeight& w = own(weight);
    const int K = static_cast<int>(w.k);
    std::vector<float> made(in.kind == InputKind::plain ? 0 : static_cast<std::size_t>(T) * w.k);
    if (in.kind == InputKind::normed) norm(made.data(), K, in.x, K, in.norm_weight, in.eps, T, 1, K);
    if (in.kind == InputKind::gated) gate(made.data(), in.x, K, in.act, T);
    const float* x = made.empty() ? in.x : made.data();
    const bool quantised = is_quantised(w.format);
    std::vector<QuantisedRow> rows;
    for (int t = 0; quantised && t < T; ++t) rows.push_back(quantise(x + static_cast<std::size_t>(t) * w.k, w.k));
    std::vector<float> values(static_cast<std::size_t>(w.k));  // a row of a plain format as f32
    for (std::int64_t n = 0; n < w.n; ++n) {
      if (!quantised) dequantise_row(w.format, w.row(n), values.size(), values.data());
      for (int t = 0; t < T; ++t) {
        check_interrupt();
        const float* row = x + static_cast<std::size_t>(t) * w.k;
        float y = quantised ? dot_quantised(w.format, w.row(n), w.k, rows[t]) : dot_float(values.data(), row, w.k);
        if (bias) y = y + bias[n];
        float& to = out[static_cast<std::size_t>(t) * out_ld + n];
        to = epilogue == Epilogue::add ? to + y : y;
      }
    }
  }

  void rope(float* x, int ld, int heads, int head_size, const float* cos_sin, int dims, RopeStyle style,
            int T) override {
    for (int t = 0; t < T; ++t) {
      check_interrupt();
      for (int h = 0; h < heads; ++h) {
        float* head = x + static_cast<std::size_t>(t) * ld + static_cast<std::size_t>(h) * head_size;
        for (int i = 0; i < dims / 2; ++i) {
          const float* pair = cos_sin + (static_cast<std::size_t>(t) * (dims / 2) + i) * 2;
          const float c = pair[0], s = pair[1];
          float& first = style == RopeStyle::interleaved ? head[2 * i] : head[i];
          float& second = style == RopeStyle::interleaved ? head[2 * i + 1] : head[i + dims / 2];
          const float u = first, v = second;
          first = std::fma(u, c, -(v * s));
          second = std::fma(u, s, v * c);
        }
      }
    }
  }

  void kv_write(KvStore& kv, int layer, const float* q, int heads, const float* k, const float* v, int ld,
                const std::int32_t* slots, int T) override {
    const int queries = heads / kv.shape.kv_heads;
    auto& store = static_cast<KvRows&>(kv);
    for (int t = 0; t < T; ++t) {
      check_interrupt();
      for (int g = 0; g < kv.shape.kv_heads; ++g) {
        const std::size_t from = static_cast<std::size_t>(t) * ld + static_cast<std::size_t>(g) * kv.shape.head_size;
        const float* const own = heads == 0 ? nullptr
                                            : q + static_cast<std::size_t>(t) * ld +
                                                  static_cast<std::size_t>(g) * queries * kv.shape.head_size;
        store.write(layer, slots[t], g, KvRows::key, k + from, own, queries);
        store.write(layer, slots[t], g, KvRows::value, v + from, nullptr, 0);
      }
    }
  }

  void attention(float* out, const float* q, int q_ld, const KvStore& kv, int layer, const AttentionPlan& plan,
                 const AttentionParams& params) override {
    const auto& store = static_cast<const KvRows&>(kv);
    const int D = kv.shape.head_size, H = params.heads, queries_per_head = H / kv.shape.kv_heads;
    for (int s = 0; s < plan.n_segments; ++s) {
      const AttentionSegment& segment = plan.segments[s];
      for (int i = 0; i < segment.count; ++i) {
        const std::size_t row = static_cast<std::size_t>(segment.row + i);
        for (int h = 0; h < H; ++h) {
          check_interrupt();
          reference::attend(out + (row * H + h) * D, q + row * q_ld + static_cast<std::size_t>(h) * D, store, layer,
                 h / queries_per_head, segment.table, segment.position + i, params,
                 params.sink_logits ? params.sink_logits + h : nullptr);
        }
      }
    }
  }

  void gate(float* out, const float* gate_up, int F, Activation, int T) override {
    for (int t = 0; t < T; ++t) {
      check_interrupt();
      const float* row = gate_up + static_cast<std::size_t>(t) * 2 * F;
      for (int i = 0; i < F; ++i) {
        const float g = row[i], u = row[F + i];
        out[static_cast<std::size_t>(t) * F + i] = (g / (1.0f + exp_spec(-g))) * u;
      }
    }
  }

  void gather(float* out, const float* x, const std::int32_t* rows, int R, int width) override {
    for (int r = 0; r < R; ++r) {
      check_interrupt();
      std::copy_n(x + static_cast<std::size_t>(rows[r]) * width, width, out + static_cast<std::size_t>(r) * width);
    }
  }

  void sample(float* logits, int V, SampleRow* rows, int B) override {
    for (int b = 0; b < B; ++b) {
      check_interrupt();
      sample_row(logits + static_cast<std::size_t>(b) * V, V, rows[b], scratch_);
    }
  }

 private:
  void check_interrupt() const {
    if (interrupt_ && interrupt_->load(std::memory_order_relaxed))
      throw Error(Code::interrupted, "the operation was interrupted");
  }

  static void check_scales(Format format, std::int64_t row, const std::uint8_t* p, std::size_t bytes,
                           std::size_t stride) {
    for (std::size_t at = 0; at < bytes; at += traits(format).group_bytes) {
      if (scales_are_finite(format, p + at)) continue;
      const std::string where = std::to_string(row + static_cast<std::int64_t>(at / stride));
      throw Error(Code::model_invalid, "a weight's scale is not finite (row " + where + ")",
                  {{"expected", "finite scales"}, {"row", where}, {"format", traits(format).name}});
    }
  }

  std::mutex turn_;  // engines that share the weights compute one at a time
  const std::atomic<bool>* interrupt_ = nullptr;
  SamplerScratch scratch_;
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace octavo

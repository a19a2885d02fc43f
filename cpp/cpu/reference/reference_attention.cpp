#include "cpu/reference/reference_attention.h"

#include "cpu/reference/reference_math.h"

namespace octavo::reference {

namespace {

constexpr float smallest_amax = 1e-30f;
constexpr float fp8_lift = 0x1p56f, fp8_lowered = 0x1p-112f;  // codes are multiplied lowered, both other factors lifted
constexpr int most_turned = 4;
constexpr float own_error_share = 0.03125f;
constexpr int query_steps = 16256, weight_steps = 16383;  // int8: largest integer of a query and of a weight

float to_f16(float x) {
  if (x > 65504.0f) x = 65504.0f;
  if (x < -65504.0f) x = -65504.0f;
  return f16_to_f32(f32_to_f16(x));
}

// The nearest of the magnitudes, on a tie the one with an even code.
float to_fp8(float x) {
  const double magnitude = std::fabs(static_cast<double>(x));
  int code = fp8_code_from(magnitude);
  if (code == fp8_codes) {
    --code;
  } else if (code > 0) {
    const double above = fp8_magnitude(code) - magnitude, below = magnitude - fp8_magnitude(code - 1);
    if (below < above || (below == above && code % 2 == 1)) --code;
  }
  return std::copysign(fp8_magnitude(code), x);
}

// The next bf16 that is not smaller.
float bf16_above(float s) {
  std::uint16_t bits = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(s) >> 16);
  if (bf16_to_f32(bits) < s) ++bits;
  return bf16_to_f32(bits);
}

// The e4m3 number next to c on y's side of it, or c where y is c or c is the last.
float beyond_fp8(float c, float y) {
  if (c == y) return c;
  const int code = fp8_code_from(std::fabs(c)) + (std::fabs(y) > std::fabs(c) ? 1 : -1);
  return code == fp8_codes ? c : std::copysign(fp8_magnitude(code), y);
}

float sum16_products(const std::vector<float>& a, const std::vector<float>& b) {
  float l[lanes] = {};
  for (std::size_t d = 0; d < a.size(); ++d) l[d % lanes] = std::fma(a[d], b[d], l[d % lanes]);
  return tree16(l);
}

// The candidate with the smallest squared error of the nearest codes.
float fp8_scale(const float* x, int D, float amax) {
  float scale = 0, least = INFINITY;
  for (int i = 8; i < 16; ++i) {
    const float steps = static_cast<float>(i), s = bf16_above(amax / 14.0f * steps);
    std::vector<float> error;
    for (int d = 0; d < D; ++d) error.push_back(to_fp8(x[d] * (1.0f / s)) - x[d] * (1.0f / s));
    const float loss = sum16_products(error, error) * (steps * steps);
    if (loss < least) scale = s, least = loss;
  }
  return scale;
}

// Changes some of c, the nearest codes of y, for queries [n][D].
void turn_error(float* c, const std::vector<float>& y, const float* queries, int n) {
  const std::size_t D = y.size();
  std::vector<float> error(D), step(D), q(queries, queries + D);
  for (std::size_t d = 0; d < D; ++d) {
    error[d] = c[d] - y[d];
    step[d] = beyond_fp8(c[d], y[d]) - c[d];
    for (std::size_t h = 1; h < static_cast<std::size_t>(n); ++h) q[d] += queries[h * D + d];
  }
  const float own = sum16_products(q, q) * own_error_share;
  float along = sum16_products(q, error);
  for (int turned = 0; turned < most_turned; ++turned) {
    std::size_t best = D;
    std::uint32_t best_gain = 0;
    for (std::size_t d = 0; d < D; ++d) {
      const float slope = std::fma(own, error[d], along * q[d]);
      const float change = step[d] * std::fma(step[d], std::fma(q[d], q[d], own), slope + slope);
      const std::uint32_t gain = change < 0 ? std::bit_cast<std::uint32_t>(-change) >> 9 : 0;
      if (gain > best_gain) best_gain = gain, best = d;
    }
    if (best == D) return;
    along = std::fma(step[best], q[best], along);
    c[best] += step[best];
    error[best] += step[best];
    step[best] = -step[best];
  }
}

// Numbers as integers times one step size, as the int8 type quantises queries and weights.
struct Integers {
  std::vector<int> n;
  float step;
};

Integers to_integers(const std::vector<float>& x, int largest) {
  const float amax = largest_magnitude(x.data(), static_cast<int>(x.size()));
  Integers out{std::vector<int>(x.size()), 0.0f};
  if (amax < smallest_amax) return out;
  const float steps = static_cast<float>(largest), inverse = steps / amax;
  out.step = amax / steps;
  if (!std::isfinite(amax)) return out;
  for (std::size_t i = 0; i < x.size(); ++i) out.n[i] = static_cast<int>(std::nearbyint(x[i] * inverse));
  return out;
}

// (m, l, o) of the online softmax: a chunk's partial, or what the chunks so far have been merged into.
struct Partial {
  float m, l;
  std::vector<float> o;  // [D]
};

// A query head and what it looks at.
struct View {
  const KvRows& store;
  int layer, head;
  const std::int32_t* table;
  const float* q;
  const AttentionParams& params;
  Integers query;  // int8

  int D() const { return store.shape.head_size; }
  KvDtype dtype() const { return store.shape.dtype; }
  int slot(int j) const { return table[j / kv_block_tokens] * kv_block_tokens + j % kv_block_tokens; }
  const float* codes(int j, KvRows::Part part) const { return store.codes(layer, slot(j), head, part); }
  float scale(int j, KvRows::Part part) const { return store.scale(layer, slot(j), head, part); }
};

float score(const View& view, int j) {
  const AttentionParams& params = view.params;
  const float* c = view.codes(j, KvRows::key);
  float t;
  if (view.dtype() == KvDtype::int8) {
    int dot = 0;
    for (int d = 0; d < view.D(); ++d)
      dot += static_cast<int>(c[d]) * view.query.n[static_cast<std::size_t>(d)];
    t = static_cast<float>(dot) * ((params.scale * view.query.step) * view.scale(j, KvRows::key));
  } else {
    const bool fp8 = view.dtype() == KvDtype::fp8;
    const float lift = fp8 ? fp8_lift : 1.0f, lowered = fp8 ? fp8_lowered : 1.0f;
    float even = 0, odd = 0;
    for (int d = 0; d < view.D(); d += 2) even = std::fma(c[d] * lowered, view.q[d] * lift, even);
    for (int d = 1; d < view.D(); d += 2) odd = std::fma(c[d] * lowered, view.q[d] * lift, odd);
    t = ((even + odd) * lift) * (fp8 ? params.scale * view.scale(j, KvRows::key) : params.scale);
  }
  return params.soft_cap > 0 ? softcap_spec(t, params.soft_cap) : t;
}

// o_c from the keys' positions and their p.
std::vector<float> weighted_values(const View& view, const std::vector<int>& keys, const std::vector<float>& p) {
  std::vector<float> o(static_cast<std::size_t>(view.D())), w = p;
  const KvDtype dtype = view.dtype();
  const bool fp8 = dtype == KvDtype::fp8;
  if (fp8 || dtype == KvDtype::int8)
    for (std::size_t i = 0; i < keys.size(); ++i)
      w[i] = (fp8 ? p[i] * fp8_lift : p[i]) * view.scale(keys[i], KvRows::value);
  const Integers weights = to_integers(w, weight_steps);
  std::vector<int> sums(o.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const float* c = view.codes(keys[i], KvRows::value);
    for (std::size_t d = 0; d < o.size(); ++d) {
      if (dtype == KvDtype::int8) sums[d] += weights.n[i] * static_cast<int>(c[d]);
      else o[d] = std::fma(w[i], fp8 ? c[d] * fp8_lowered : c[d], o[d]);
    }
  }
  for (std::size_t d = 0; d < o.size(); ++d) {
    if (dtype == KvDtype::int8) o[d] = static_cast<float>(sums[d]) * weights.step;
    if (fp8) o[d] = o[d] * fp8_lift + 0.0f;
  }
  return o;
}

// Over the visible keys of one chunk, ascending; there is at least one.
Partial chunk_partial(const View& view, const std::vector<int>& keys) {
  std::vector<float> s, p;
  for (const int j : keys) s.push_back(score(view, j));
  Partial part{*std::max_element(s.begin(), s.end()), 0, {}};
  float l[lanes] = {};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    p.push_back(exp_spec(s[i] - part.m));
    l[keys[i] % lanes] += p[i];
  }
  part.l = tree16(l);
  part.o = weighted_values(view, keys, p);
  return part;
}

}  // namespace

KvRows::KvRows(const KvShape& shape)
    : KvStore(shape),
      codes_(at(shape.layers, 0, 0, key) * static_cast<std::size_t>(shape.head_size)),
      scales_(at(shape.layers, 0, 0, key), traits(shape.dtype).scaled ? 0.0f : 1.0f) {}

std::size_t KvRows::at(int layer, int slot, int head, Part part) const {
  std::size_t index = static_cast<std::size_t>(layer) * shape.blocks * kv_block_tokens + slot;
  index = index * shape.kv_heads + head;
  return index * 2 + part;
}

const float* KvRows::codes(int layer, int slot, int head, Part part) const {
  return &codes_[at(layer, slot, head, part) * shape.head_size];
}

void KvRows::write(int layer, int slot, int head, Part part, const float* x, const float* queries, int n) {
  const std::size_t row = at(layer, slot, head, part);
  const float amax = largest_magnitude(x, shape.head_size);
  const bool zero = amax < smallest_amax;
  if (traits(shape.dtype).scaled) {
    const bool fp8 = shape.dtype == KvDtype::fp8;
    if (!(amax < (fp8 ? 0x1p127f : INFINITY))) scales_[row] = NAN;
    else if (zero) scales_[row] = 0;
    else scales_[row] = fp8 ? fp8_scale(x, shape.head_size, amax) : bf16_above(amax / 127.0f);
  }
  const float s = scales_[row];
  for (int d = 0; d < shape.head_size; ++d) {
    float& to = codes_[row * shape.head_size + d];
    switch (shape.dtype) {
      case KvDtype::f16: to = to_f16(x[d]); break;
      case KvDtype::bf16: to = bf16_to_f32(f32_to_bf16(x[d])); break;
      case KvDtype::fp8: to = zero || std::isnan(s) ? 0.0f : to_fp8(x[d] * (1.0f / s)); break;
      case KvDtype::int8: to = zero || std::isnan(s) ? 0.0f : std::nearbyint(x[d] * (1.0f / s)); break;
    }
  }
  if (shape.dtype != KvDtype::fp8 || n == 0 || zero || std::isnan(s)) return;
  std::vector<float> y(x, x + shape.head_size);
  for (float& number : y) number *= 1.0f / s;
  turn_error(&codes_[row * shape.head_size], y, queries, n);
}

void KvRows::copy_block(int destination, int source) {
  const std::size_t rows = static_cast<std::size_t>(kv_block_tokens) * shape.kv_heads * 2;
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::size_t to = at(layer, destination * kv_block_tokens, 0, key),
                      from = at(layer, source * kv_block_tokens, 0, key);
    std::copy_n(&codes_[from * shape.head_size], rows * shape.head_size, &codes_[to * shape.head_size]);
    std::copy_n(&scales_[from], rows, &scales_[to]);
  }
}

void attend(float* out, const float* q, const KvRows& store, int layer, int kv_head, const std::int32_t* table,
            int position, const AttentionParams& params, const float* sink_logit) {
  const int D = store.shape.head_size;
  View view{store, layer, kv_head, table, q, params, {}};
  if (store.shape.dtype == KvDtype::int8) view.query = to_integers(std::vector<float>(q, q + D), query_steps);
  const int first = params.window > 0 ? std::max(0, position - params.window + 1) : 0;
  Partial sum{};
  for (int chunk = 0; chunk <= position / attention_chunk; ++chunk) {
    std::vector<int> keys;
    for (int j = chunk * attention_chunk; j < (chunk + 1) * attention_chunk && j <= position; ++j)
      if (j >= first || j < params.sinks) keys.push_back(j);
    if (keys.empty()) continue;
    const Partial part = chunk_partial(view, keys);
    if (sum.o.empty()) {
      sum = part;
      continue;
    }
    const float m = std::max(sum.m, part.m);
    const float a = exp_spec(sum.m - m), b = exp_spec(part.m - m);
    sum.l = std::fma(sum.l, a, part.l * b);
    for (std::size_t d = 0; d < sum.o.size(); ++d) sum.o[d] = std::fma(sum.o[d], a, part.o[d] * b);
    sum.m = m;
  }
  float factor = 1.0f / sum.l;
  if (sink_logit) {
    const float m = std::max(sum.m, *sink_logit), a = exp_spec(sum.m - m);
    factor = a / std::fma(sum.l, a, exp_spec(*sink_logit - m));
  }
  for (std::size_t d = 0; d < sum.o.size(); ++d) out[d] = sum.o[d] * factor;
}

}  // namespace octavo::reference

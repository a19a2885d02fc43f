// What the kernels of attention share: which keys a row sees, the soft cap, and how one chunk's partial joins those
// before it (docs/numerics.md, "attention").
#pragma once
#include "kernels/device.cuh"
#include "kernels/exp.cuh"
#include "kernels/attention/kv_layout.h"
#include "kernels/attention/params_kv.h"

namespace octavo::gpu {

// A row of a tile: token `position` of its sequence sees the keys [low, position] and the first `sinks`.
struct alignas(8) SeenKeys {
  int position, low;
  DEVICE bool sees(int key, int sinks) const { return key <= position && (key >= low || key < sinks); }
};

DEVICE SeenKeys seen_by(int position, int window) { return {position, window > 0 ? max(0, position - window + 1) : 0}; }

// What a tile's row is: token and query head.
struct TileRow {
  int token, head;  // of the segment; of the step's query heads
  bool real;
};
DEVICE TileRow tile_row(const AttentionTile& tile, int r, int kv_head, int group) {
  const int row = tile.first + r, token = row / group;
  return {token, kv_head * group + row % group, token < tile.count};
}

// cap * tanh(t / cap) by e^x - 1, which is not rounded to nothing near 0.
DEVICE float softcap_spec(float t, float cap) {
  const ExpParts parts = exp_parts(clamped(__fmul_rn(t, __fdiv_rn(2.0f, cap)), -30.0f, 30.0f));
  const float e =
      __fmaf_rn(parts.power, __fmaf_rn(parts.p, __fmul_rn(parts.f, parts.f), parts.f), __fsub_rn(parts.power, 1.0f));
  return __fmul_rn(cap, __fdiv_rn(e, __fadd_rn(e, 2.0f)));
}

// Maximum and sum of the keys so far: sum 0 while there was none.
struct alignas(8) Softmax {
  float m = 0, l = 0;
};
// What a chunk's (m, l) does to it, and to the values.
enum class Step { skip, first, add };  // no key seen; o = o_c; o = fma(o, old, o_c * now)
struct Merge {
  Step step;
  float old, now;
};
DEVICE Merge merge(Softmax& all, float m_c, float l_c) {
  if (l_c == 0) return {Step::skip, 0, 0};
  if (all.l == 0) {
    all.m = m_c, all.l = l_c;
    return {Step::first, 0, 0};
  }
  const float m = all.m < m_c ? m_c : all.m;
  const float old = exp_spec(__fsub_rn(all.m, m)), now = exp_spec(__fsub_rn(m_c, m));
  all.m = m, all.l = __fmaf_rn(all.l, old, __fmul_rn(l_c, now));
  return {Step::add, old, now};
}
DEVICE void merge_value(const Merge& merge, float& o, float o_c) {
  if (merge.step == Step::first) o = o_c;
  if (merge.step == Step::add) o = __fmaf_rn(o, merge.old, __fmul_rn(o_c, merge.now));
}
// The factor of the values at the end.
DEVICE float last_factor(const Softmax& all, const float* sink_logits, int head) {
  if (sink_logits == nullptr) return __fdiv_rn(1.0f, all.l);
  const float sink = sink_logits[head], m = all.m < sink ? sink : all.m, a = exp_spec(__fsub_rn(all.m, m));
  return __fdiv_rn(a, __fmaf_rn(all.l, a, exp_spec(__fsub_rn(sink, m))));
}

}  // namespace octavo::gpu

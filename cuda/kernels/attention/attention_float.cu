// Attention over a float cache (docs/numerics.md, "attention": f16, bf16, fp8), exact, so on plain f32 units: every sum
// is a chain. A block of threads takes a tile of query rows that share a kv head, and walks chunks of 256 keys:
//   scores   a thread a key: the two chains over dimensions of every row, queries from shared memory
//   softmax  half a warp a row: thread l has the keys l, l + 16, ..., the lanes of the specification's sum
//   values   a thread two dimensions of four rows: chains over keys
// A chunk's result joins those before it, in order; an item that is one of a tile's many leaves it to
// octavo_attention_merge instead. Bound by memory with few query rows a kv head, by fma with many.
#include "kernels/attention/attention.cuh"
#include "kernels/lanes.cuh"

namespace octavo::gpu {
namespace {

constexpr int attention_threads = kv_chunk;       // a key each
constexpr int weights_ld = kv_chunk + sum_lanes;  // neighbouring rows begin in other banks
constexpr float fp8_lift = 0x1p56f;               // codes are multiplied lowered by 2^112, both other factors lifted

// Numbers of 16 bytes of codes; fp8 codes lowered: their bits, moved, are those of an f32.
template <int Kind>
constexpr int numbers_of_16_bytes = 16 / kv_value_bytes(Kind);

template <int Kind>
DEVICE void widen2(unsigned word, float (&x)[2]) {  // the two numbers in the low bytes of a word
  if (Kind == kv_f16)
    x[0] = half_to_float(static_cast<unsigned short>(word)),
    x[1] = half_to_float(static_cast<unsigned short>(word >> 16));
  if (Kind == kv_bf16) x[0] = __uint_as_float(word << 16), x[1] = __uint_as_float(word & 0xFFFF0000u);
  if (Kind == kv_fp8) {
    x[0] = __uint_as_float(static_cast<unsigned>(static_cast<int>(word << 24) >> 4) & 0x87F00000u);
    x[1] = __uint_as_float(static_cast<unsigned>(static_cast<int>(word << 16) >> 4) & 0x87F00000u);
  }
}
template <int Kind>
DEVICE void widen16(const uint4& bytes, float (&x)[numbers_of_16_bytes<Kind>]) {
  const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
#pragma unroll
  for (int i = 0; i < numbers_of_16_bytes<Kind> / 2; ++i) {
    const unsigned word = Kind == kv_fp8 ? words[i / 2] >> (16 * (i % 2)) : words[i];
    float two[2];
    widen2<Kind>(word, two);
    x[2 * i] = two[0], x[2 * i + 1] = two[1];
  }
}
DEVICE float scale_of(const unsigned char* head, int kind, int D, int part, int token) {
  const unsigned bits = *reinterpret_cast<const unsigned short*>(head + kv_scale_at(kind, D, part, token));
  return __uint_as_float(bits << 16);
}

// The tile, and what its threads share.
template <int R>
struct Work {
  const AttentionParams& p;
  AttentionTile tile;
  int kv_head, group, thread;
  int last, low;                 // keys that any row sees: [low, last] and those below p.sinks
  float* q;                      // [R][D]
  float* weights;                // [R][weights_ld]: scores, then what values are multiplied by
  float* o;                      // [R][D]: merged so far
  SeenKeys* seen;                // [R]; of a row that is not there, no key
  Softmax* softmax;              // [R]
  Merge* merges;                 // [R]
  float* chunk_ml;               // [R][2]
  const unsigned char** blocks;  // [16]: the kv head in the chunk's blocks, null where no row sees a key

  DEVICE bool any_sees(int key) const { return key <= last && (key >= low || key < p.sinks); }
};

template <int Kind, int R>
DEVICE void begin(const Work<R>& w) {
  const int D = w.p.head_size;
  for (int i = w.thread; i < R * D; i += attention_threads) {
    const TileRow row = tile_row(w.tile, i / D, w.kv_head, w.group);
    const long long at = static_cast<long long>(w.tile.row + row.token) * w.p.q_ld + row.head * D + i % D;
    const float q = row.real ? w.p.q[at] : 0.0f;
    w.q[i] = Kind == kv_fp8 ? __fmul_rn(q, fp8_lift) : q;
  }
  if (w.thread < R) {
    const TileRow row = tile_row(w.tile, w.thread, w.kv_head, w.group);
    w.seen[w.thread] = row.real ? seen_by(w.tile.position + row.token, w.p.window) : SeenKeys{-1, 0};
    w.softmax[w.thread] = Softmax{};
  }
}

template <int Kind, int R>
DEVICE void find_blocks(const Work<R>& w, int chunk) {
  if (w.thread >= kv_chunk / kv_tokens) return;
  const int key = chunk * kv_chunk + w.thread * kv_tokens, end = key + kv_tokens - 1;
  const bool used = key <= w.last && (end >= w.low || key < w.p.sinks);
  const long long block = used ? w.p.tables[w.tile.table + key / kv_tokens] : 0;
  const long long head_bytes = kv_head_bytes(Kind, w.p.head_size);
  w.blocks[w.thread] = used ? w.p.layer + (block * w.p.kv_heads + w.kv_head) * head_bytes : nullptr;
}

template <int Kind, int R>
DEVICE void scores(const Work<R>& w, int chunk) {
  constexpr int n = numbers_of_16_bytes<Kind>;
  if (!w.any_sees(chunk * kv_chunk + w.thread)) return;
  const int D = w.p.head_size, token = w.thread % kv_tokens;
  const unsigned char* head = w.blocks[w.thread / kv_tokens];
  const uint4* codes = reinterpret_cast<const uint4*>(head) + token;
  float even[R] = {}, odd[R] = {};
#pragma unroll 2
  for (int d = 0; d < D; d += n, codes += kv_tokens) {
    float c[n];
    widen16<Kind>(*codes, c);
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int i = 0; i < n; i += 4) {
        const float4 q = *reinterpret_cast<const float4*>(w.q + r * D + d + i);
        even[r] = __fmaf_rn(c[i], q.x, even[r]);
        odd[r] = __fmaf_rn(c[i + 1], q.y, odd[r]);
        even[r] = __fmaf_rn(c[i + 2], q.z, even[r]);
        odd[r] = __fmaf_rn(c[i + 3], q.w, odd[r]);
      }
  }
  const float scale = Kind == kv_fp8 ? __fmul_rn(w.p.scale, scale_of(head, Kind, D, 0, token)) : w.p.scale;
#pragma unroll
  for (int r = 0; r < R; ++r) {
    float t = __fadd_rn(even[r], odd[r]);
    if (Kind == kv_fp8) t = __fmul_rn(t, fp8_lift);
    t = __fmul_rn(t, scale);
    w.weights[r * weights_ld + w.thread] = w.p.soft_cap > 0 ? softcap_spec(t, w.p.soft_cap) : t;
  }
}

// Half a warp a row, round by round; a whole warp takes part in the exchange.
template <int Kind, int R>
DEVICE void softmax(const Work<R>& w, int chunk) {
  const int lane = w.thread % sum_lanes, half = w.thread / sum_lanes;
  if (half >= (R + 1) / 2 * 2) return;
  const int r = half < R ? half : R - 1;
  const bool own = half < R;
  const SeenKeys seen = w.seen[r];
  float* weights = w.weights + r * weights_ld;
  const int first = chunk * kv_chunk + lane;
  float m = __uint_as_float(0xFF800000u), l = 0;
#pragma unroll
  for (int i = 0; i < kv_chunk / sum_lanes; ++i)
    if (own && seen.sees(first + sum_lanes * i, w.p.sinks)) m = fmaxf(m, weights[lane + sum_lanes * i]);
#pragma unroll
  for (int step = sum_lanes / 2; step >= 1; step /= 2) m = fmaxf(m, __shfl_xor_sync(whole_warp, m, step));
  if (own) {
#pragma unroll 4
    for (int i = 0; i < kv_chunk / sum_lanes; ++i) {
      if (!seen.sees(first + sum_lanes * i, w.p.sinks)) {
        weights[lane + sum_lanes * i] = 0;  // of a row that is not there: it takes part in products
        continue;
      }
      float p = exp_spec(__fsub_rn(weights[lane + sum_lanes * i], m));
      l = __fadd_rn(l, p);
      if (Kind == kv_fp8) p = __fmul_rn(__fmul_rn(p, fp8_lift), scale_of(w.blocks[i], Kind, w.p.head_size, 1, lane));
      weights[lane + sum_lanes * i] = p;
    }
  }
  l = tree16(l);
  if (own && lane == 0) {
    w.chunk_ml[2 * r] = m, w.chunk_ml[2 * r + 1] = l;
    w.merges[r] = merge(w.softmax[r], m, l);
  }
}

// Two dimensions of `rows` rows from `r` on, over a chunk whose keys every row sees.
template <int Kind, int R, int rows>
DEVICE void values_of_all(const Work<R>& w, int r, int at, float (&o)[rows][2]) {
  const int D = w.p.head_size, row_bytes = D * kv_value_bytes(Kind);
  for (int b = 0; b < kv_chunk / kv_tokens; ++b) {
    const unsigned char* values = w.blocks[b] + at;
#pragma unroll
    for (int t = 0; t < kv_tokens; t += 4) {
      float weight[rows][4];
#pragma unroll
      for (int i = 0; i < rows; ++i) {
        const float4 four = *reinterpret_cast<const float4*>(w.weights + (r + i) * weights_ld + b * kv_tokens + t);
        weight[i][0] = four.x, weight[i][1] = four.y, weight[i][2] = four.z, weight[i][3] = four.w;
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const unsigned char* pair = values + (t + k) * row_bytes;
        float v[2];
        widen2<Kind>(
            Kind == kv_fp8 ? *reinterpret_cast<const unsigned short*>(pair) : *reinterpret_cast<const unsigned*>(pair),
            v);
#pragma unroll
        for (int i = 0; i < rows; ++i)
          o[i][0] = __fmaf_rn(weight[i][k], v[0], o[i][0]), o[i][1] = __fmaf_rn(weight[i][k], v[1], o[i][1]);
      }
    }
  }
}

// The same where some rows do not see some keys.
template <int Kind, int R, int rows>
DEVICE void values_of_some(const Work<R>& w, int chunk, int r, int at, float (&o)[rows][2]) {
  const int D = w.p.head_size, row_bytes = D * kv_value_bytes(Kind);
  for (int k = 0; k < kv_chunk; ++k) {
    const int key = chunk * kv_chunk + k;
    if (!w.any_sees(key)) continue;
    const unsigned char* pair = w.blocks[k / kv_tokens] + at + k % kv_tokens * row_bytes;
    float v[2];
    widen2<Kind>(
        Kind == kv_fp8 ? *reinterpret_cast<const unsigned short*>(pair) : *reinterpret_cast<const unsigned*>(pair), v);
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      if (!w.seen[r + i].sees(key, w.p.sinks)) continue;
      const float weight = w.weights[(r + i) * weights_ld + k];
      o[i][0] = __fmaf_rn(weight, v[0], o[i][0]), o[i][1] = __fmaf_rn(weight, v[1], o[i][1]);
    }
  }
}

template <int Kind, int R>
DEVICE void values(const Work<R>& w, int chunk, const AttentionItem& item) {
  constexpr int rows = R < 4 ? R : 4;
  const int D = w.p.head_size, pairs = D / 2;
  const int first_key = chunk * kv_chunk, first_row = w.seen[0].position;
  const bool all = first_row >= first_key + kv_chunk - 1 && (w.p.window <= 0 || w.last - w.p.window + 1 <= first_key);
  for (int i = w.thread; i < R / rows * pairs; i += attention_threads) {
    const int r = i / pairs * rows, d = i % pairs * 2, at = kv_code_at(Kind, D, 1, 0, d);
    float o[rows][2] = {};
    if (all)
      values_of_all<Kind, R, rows>(w, r, at, o);
    else
      values_of_some<Kind, R, rows>(w, chunk, r, at, o);
#pragma unroll
    for (int k = 0; k < rows; ++k)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float o_c = o[k][e];
        if (Kind == kv_fp8) o_c = __fadd_rn(__fmul_rn(o_c, fp8_lift), 0.0f);
        float* to = w.o + (r + k) * D + d + e;
        if (item.partial < 0) {
          merge_value(w.merges[r + k], *to, o_c);
        } else {
          const long long partial =
              w.tile.partials + (static_cast<long long>(item.partial) * w.p.kv_heads + w.kv_head) * R;
          w.p.partial_o[(partial + r + k) * D + d + e] = o_c;
        }
      }
  }
  if (item.partial >= 0 && w.thread < 2 * R) {
    const long long partial = w.tile.partials + (static_cast<long long>(item.partial) * w.p.kv_heads + w.kv_head) * R;
    w.p.partial_ml[partial * 2 + w.thread] = w.chunk_ml[w.thread];
  }
}

template <int R>
DEVICE void finish(const Work<R>& w) {
  const int D = w.p.head_size;
  for (int i = w.thread; i < R * D; i += attention_threads) {
    const TileRow row = tile_row(w.tile, i / D, w.kv_head, w.group);
    if (!row.real) continue;
    const float factor = last_factor(w.softmax[i / D], w.p.sink_logits, row.head);
    w.p.out[(static_cast<long long>(w.tile.row + row.token) * w.p.heads + row.head) * D + i % D] =
        __fmul_rn(w.o[i], factor);
  }
}

template <int Kind, int R>
DEVICE void attention(const AttentionParams& p) {
  SharedMemory shared;
  float* const q = shared.take<float>(R * p.head_size);
  float* const o = shared.take<float>(R * p.head_size);
  float* const weights = shared.take<float>(R * weights_ld);
  SHARED_ARRAY(SeenKeys, seen, R);
  SHARED_ARRAY(Softmax, sums, R);
  SHARED_ARRAY(Merge, merges, R);
  SHARED_ARRAY(float, chunk_ml, 2 * R);
  SHARED_ARRAY(const unsigned char*, blocks, kv_chunk / kv_tokens);
  const AttentionItem item = p.items[blockIdx.x];
  if (item.tile < 0) return;
  const AttentionTile tile = p.tiles[item.tile];
  const int group = p.heads / p.kv_heads;
  const int last_token = min(tile.count - 1, (tile.first + R - 1) / group);
  const Work<R> w{p,
                  tile,
                  static_cast<int>(blockIdx.y),
                  group,
                  static_cast<int>(threadIdx.x),
                  tile.position + last_token,
                  seen_by(tile.position + tile.first / group, p.window).low,
                  q,
                  weights,
                  o,
                  seen,
                  sums,
                  merges,
                  chunk_ml,
                  blocks};
  begin<Kind>(w);
  for (int chunk = item.chunk; chunk < item.end; ++chunk) {
    // Between the sinks and a window.
    if (chunk * kv_chunk >= p.sinks && (chunk + 1) * kv_chunk <= w.low) continue;
    find_blocks<Kind>(w, chunk);
    __syncthreads();
    scores<Kind>(w, chunk);
    __syncthreads();
    softmax<Kind>(w, chunk);
    __syncthreads();
    values<Kind>(w, chunk, item);
    __syncthreads();
  }
  if (item.partial < 0) finish(w);
}

}  // namespace

#define OCTAVO_ATTENTION(name, Kind)                                                                            \
  OCTAVO_KERNEL(octavo_attention_##name##_r1, AttentionParams, attention_threads, 1) { attention<Kind, 1>(p); } \
  OCTAVO_KERNEL(octavo_attention_##name##_r4, AttentionParams, attention_threads, 1) { attention<Kind, 4>(p); } \
  OCTAVO_KERNEL(octavo_attention_##name##_r16, AttentionParams, attention_threads, 1) { attention<Kind, 16>(p); }

OCTAVO_ATTENTION(f16, kv_f16)
OCTAVO_ATTENTION(bf16, kv_bf16)
OCTAVO_ATTENTION(fp8, kv_fp8)

#undef OCTAVO_ATTENTION

}  // namespace octavo::gpu

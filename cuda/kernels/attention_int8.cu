// Attention over the int8 cache on tensor cores (docs/numerics.md, "attention": int8): sums of whole numbers, so their
// order is free. A warp takes a tile of 16 query rows (heads of one kv head x tokens) and walks chunks of 256 keys, in the
// manner of FlashAttention (Dao et al. 2022): scores of a chunk stay in registers as results of the first product, become
// weights there, and weights become the operand of the second. Keys and values lie in the order of fragments
// (kv_layout.h), so they go from memory to registers: no barrier, no staging. Queries and weights have 14 bits, in two
// passes of 7: hi * 128 + lo.
//
// Which key is where: score s[b][t][e] belongs to key 16 b + 8 t + 2 quad + e % 2 of the chunk and row column + 8 (e / 2)
// of the tile. So a thread has two lanes of the specification's sum for each t, and the values' fragments have their keys
// in the order in which a thread's weights of two blocks follow each other.
//
// Two forms: heads of a size known to the compiler keep their queries in registers and results in shared memory; any other
// head, and a soft cap, has queries in shared memory and results in `out`. Bound by memory in decoding, by issue in prompts.
#include "kernels/attention.cuh"

namespace octavo::gpu {
namespace {

constexpr int warp_threads = 32, tile_rows = 16, chunk_blocks = kv_chunk / kv_tokens;
constexpr unsigned all_lanes = 0xFFFFFFFFu;
constexpr float query_steps = 16256.0f, weight_steps = 16383.0f, smallest_amax = 1e-30f;
constexpr int magic_bits = 0x4B400000;  // 1.5 * 2^23: a whole number below 2^22 added to its bits is added to it
constexpr float magic = 12582912.0f;
constexpr int padding = 8;  // floats between rows of results in shared memory: threads of a warp hit other banks

using Word = std::uint32_t;

DEVICE Word magnitude(float x) { return __float_as_uint(x) & 0x7FFFFFFFu; }
// Of the four threads that share rows.
DEVICE Word quad_max(Word x) {
  x = max(x, __shfl_xor_sync(all_lanes, x, 1));
  return max(x, __shfl_xor_sync(all_lanes, x, 2));
}
DEVICE float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(all_lanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(all_lanes, x, 2));
}
// The low bytes of four numbers.
DEVICE Word bytes(Word a, Word b, Word c, Word d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}
DEVICE float scale_low(Word two) { return __uint_as_float(two << 16); }
DEVICE float scale_high(Word two) { return __uint_as_float(two & 0xFFFF0000u); }

// float(128 hi + lo), rounded once. Sums of a head of up to 256 start at magic_bits, others at 0.
template <bool small>
DEVICE float whole(int hi, int lo) {
  if (!small) return __int2float_rn(hi * 128 + lo);
  return __fmaf_rn(__fsub_rn(__int_as_float(hi), magic), 128.0f, __fsub_rn(__int_as_float(lo), magic));
}
template <bool small>
constexpr int sum_start = small ? magic_bits : 0;

// The tile's rows that a thread has, column and column + 8, and where it is in its warp.
struct Own {
  int lane, column, quad;
  TileRow row[2];
  SeenKeys seen[2];
  const float* q[2];
  float scale[2];  // of scores: the parameter times the query's step
  DEVICE bool sees(int r, int key, int sinks) const { return seen[r].sees(key, sinks); }
};

DEVICE Own own_rows(const AttentionParams& p, const AttentionTile& tile, int kv_head) {
  Own own;
  own.lane = static_cast<int>(threadIdx.x), own.column = own.lane / 4, own.quad = own.lane % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    own.row[r] = tile_row(tile, own.column + 8 * r, kv_head, p.heads / p.kv_heads);
    const bool real = own.row[r].real;
    own.seen[r] = real ? seen_by(tile.position + own.row[r].token, p.window) : SeenKeys{-1, 0};
    // A row that is not there reads the tile's first; nothing of it is kept.
    const TileRow from = real ? own.row[r] : tile_row(tile, 0, kv_head, p.heads / p.kv_heads);
    own.q[r] = p.q + static_cast<long long>(tile.row + from.token) * p.q_ld + from.head * p.head_size;
  }
  return own;
}

// ---- queries -----------------------------------------------------------------------------------------------------

// High and low seven bits as operand A, by steps of 32 dimensions; of a last step of 16, the upper half is 0.
template <int Head>
struct Query {
  Word high[Head / 32][4], low[Head / 32][4];
  DEVICE void set(int k, const Word (&h)[4], const Word (&l)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) high[k][i] = h[i], low[k][i] = l[i];
  }
  DEVICE void get(int k, Word (&h)[4], Word (&l)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) h[i] = high[k][i], l[i] = low[k][i];
  }
};
template <>
struct Query<0> {
  uint4* shared;  // [steps][2][32]
  DEVICE void set(int k, const Word (&h)[4], const Word (&l)[4]) {
    uint4* const at = shared + k * 2 * warp_threads + threadIdx.x;
    at[0] = make_uint4(h[0], h[1], h[2], h[3]), at[warp_threads] = make_uint4(l[0], l[1], l[2], l[3]);
  }
  DEVICE void get(int k, Word (&h)[4], Word (&l)[4]) const {  // what this thread set
    const uint4* const at = shared + k * 2 * warp_threads + threadIdx.x;
    const uint4 a = at[0], b = at[warp_threads];
    h[0] = a.x, h[1] = a.y, h[2] = a.z, h[3] = a.w;
    l[0] = b.x, l[1] = b.y, l[2] = b.z, l[3] = b.w;
  }
};

template <int Head>
DEVICE void make_query(const AttentionParams& p, Own& own, Query<Head>& query) {
  const int D = Head > 0 ? Head : p.head_size;
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    Word bits = 0;
#pragma unroll 4
    for (int d = own.quad; d < D; d += 4) bits = max(bits, magnitude(own.q[r][d]));
    const float amax = __uint_as_float(quad_max(bits));
    const bool zero = amax < smallest_amax;
    own.scale[r] = __fmul_rn(p.scale, zero ? 0.0f : __fdiv_rn(amax, query_steps));
    inverse[r] = zero ? 0.0f : __fdiv_rn(query_steps, amax);
  }
#pragma unroll
  for (int k = 0; k < (D + 31) / 32; ++k) {
    Word h[4], l[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // register i: row i % 2, dimensions 16 (i / 2) + 4 quad and on
      const int r = i % 2, d = k * 32 + i / 2 * 16 + own.quad * 4;
      int n[4] = {};
      if (d < D)
#pragma unroll
        for (int e = 0; e < 4; ++e) n[e] = __float2int_rn(__fmul_rn(own.q[r][d + e], inverse[r]));
      h[i] = bytes(static_cast<Word>(n[0] >> 7), static_cast<Word>(n[1] >> 7), static_cast<Word>(n[2] >> 7),
                   static_cast<Word>(n[3] >> 7));
      l[i] = bytes(static_cast<Word>(n[0] & 127), static_cast<Word>(n[1] & 127), static_cast<Word>(n[2] & 127),
                   static_cast<Word>(n[3] & 127));
    }
    query.set(k, h, l);
  }
}

// ---- one chunk ---------------------------------------------------------------------------------------------------

// Where a chunk's blocks begin, of this kv head; one that holds no seen key stands for one that does.
DEVICE void find_blocks(const AttentionParams& p, const AttentionTile& tile, int kv_head, int chunk, int low, int last,
                        const unsigned char** blocks) {
  const int lane = static_cast<int>(threadIdx.x), key = chunk * kv_chunk + lane * kv_tokens;
  const bool used = lane < chunk_blocks && key <= last && (key + kv_tokens - 1 >= low || key < p.sinks);
  const int block = used ? p.tables[tile.table + key / kv_tokens] : 0;
  const int any = __ffs(static_cast<int>(__ballot_sync(all_lanes, used))) - 1;
  const int other = __shfl_sync(all_lanes, block, any);
  const long long index = static_cast<long long>(used ? block : other) * p.kv_heads + kv_head;
  __syncwarp();
  if (lane < chunk_blocks) blocks[lane] = p.layer + index * kv_head_bytes(kv_int8, p.head_size);
  __syncwarp();
}

// Operand B of step k for the keys of two tiles of 8 (registers 0, 1 and 2, 3), or for the values of four tiles of 8
// dimensions (a register each).
DEVICE void load_step(const unsigned char* part, int k, int D, int lane, Word (&b)[4]) {
  if ((k + 1) * 32 <= D) {
    const uint4 four = *reinterpret_cast<const uint4*>(part + (k * warp_threads + lane) * 16);
    b[0] = four.x, b[1] = four.y, b[2] = four.z, b[3] = four.w;
  } else {
    const uint2 two = *reinterpret_cast<const uint2*>(part + k * warp_threads * 16 + lane * 8);
    b[0] = two.x, b[1] = two.y, b[2] = b[3] = 0;
  }
}

struct Scores {
  float s[chunk_blocks][2][4];
};

// Sums of queries and keys of block b: [t][e], high and low.
template <int Head>
DEVICE void products(const Query<Head>& query, const unsigned char* keys, int D, int lane, int (&h)[2][4], int (&l)[2][4]) {
#pragma unroll
  for (int t = 0; t < 2; ++t)
#pragma unroll
    for (int e = 0; e < 4; ++e) h[t][e] = l[t][e] = sum_start<(Head > 0)>;
#pragma unroll
  for (int k = 0; k < (D + 31) / 32; ++k) {
    Word b[4], qh[4], ql[4];
    load_step(keys, k, D, lane, b);
    query.get(k, qh, ql);
    const bool full = (k + 1) * 32 <= D;
    const Word of_t[2][2] = {{b[0], full ? b[1] : 0}, {full ? b[2] : b[1], full ? b[3] : 0}};
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      mma_s8(h[t], qh, of_t[t], h[t]);
      mma_s8(l[t], ql, of_t[t], l[t]);
    }
  }
}

template <int Head, bool all>
DEVICE void scores(const AttentionParams& p, const Own& own, const Query<Head>& query, int chunk,
                   const unsigned char* const* blocks, Scores& out, float (&m)[2]) {
  const int D = Head > 0 ? Head : p.head_size;
  m[0] = m[1] = __uint_as_float(0xFF800000u);
#pragma unroll
  for (int b = 0; b < chunk_blocks; ++b) {
    int h[2][4], l[2][4];
    products(query, blocks[b], D, own.lane, h, l);
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int token = 8 * t + 2 * own.quad;
      const Word two = *reinterpret_cast<const Word*>(blocks[b] + kv_scale_at(kv_int8, D, 0, token));
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2, key = chunk * kv_chunk + b * kv_tokens + token + e % 2;
        float s = __fmul_rn(whole<(Head > 0)>(h[t][e], l[t][e]), __fmul_rn(own.scale[r], e % 2 ? scale_high(two) : scale_low(two)));
        if (Head == 0 && p.soft_cap > 0) s = softcap_spec(s, p.soft_cap);
        out.s[b][t][e] = s;
        if (all || own.sees(r, key, p.sinks)) m[r] = fmaxf(m[r], s);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) m[r] = quad_max(m[r]);
}

// p = exp(s - m), their sums by the 16 lanes, and in place of the scores the weights p * sv. Returns the largest weights.
template <int Head, bool all>
DEVICE void softmax(const AttentionParams& p, const Own& own, int chunk, const unsigned char* const* blocks,
                    const float (&m)[2], Scores& scores, float (&l)[2], float (&largest)[2]) {
  const int D = Head > 0 ? Head : p.head_size;
  float sums[2][2][2] = {};  // [row][t][key % 2]: lane 8 t + 2 quad + key % 2
  Word bits[2] = {};
#pragma unroll
  for (int b = 0; b < chunk_blocks; ++b)
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int token = 8 * t + 2 * own.quad;
      const Word two = *reinterpret_cast<const Word*>(blocks[b] + kv_scale_at(kv_int8, D, 1, token));
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2, key = chunk * kv_chunk + b * kv_tokens + token + e % 2;
        const bool seen = all || own.sees(r, key, p.sinks);
        const float exact = exp_spec(__fsub_rn(seen ? scores.s[b][t][e] : m[r], m[r])), weight = seen ? exact : 0.0f;
        sums[r][t][e % 2] = __fadd_rn(sums[r][t][e % 2], weight);
        scores.s[b][t][e] = seen ? __fmul_rn(weight, e % 2 ? scale_high(two) : scale_low(two)) : 0.0f;
        bits[r] = max(bits[r], magnitude(scores.s[b][t][e]));
      }
    }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float x[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      x[e] = __fadd_rn(sums[r][0][e], sums[r][1][e]);                          // lanes i and i + 8
      x[e] = __fadd_rn(x[e], __shfl_xor_sync(all_lanes, x[e], 2));             // i + 4
      x[e] = __fadd_rn(x[e], __shfl_xor_sync(all_lanes, x[e], 1));             // i + 2
    }
    l[r] = __fadd_rn(x[0], x[1]);
    largest[r] = __uint_as_float(quad_max(bits[r]));
  }
}

// Weights of two blocks as operand A of the second product.
struct Weights {
  Word high[chunk_blocks / 2][4], low[chunk_blocks / 2][4];
  float step[2];
};
DEVICE void make_weights(const Scores& scores, const float (&largest)[2], Weights& out) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const bool zero = largest[r] < smallest_amax;
    out.step[r] = zero ? 0.0f : __fdiv_rn(largest[r], weight_steps);
    const float inverse = zero ? 0.0f : __fdiv_rn(weight_steps, largest[r]);
#pragma unroll
    for (int b = 0; b < chunk_blocks; ++b) {
      Word n[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        n[i] = __float_as_uint(__fadd_rn(__fmul_rn(scores.s[b][i / 2][r * 2 + i % 2], inverse), magic)) & 0x3FFFu;
      out.high[b / 2][b % 2 * 2 + r] = bytes(n[0] >> 7, n[1] >> 7, n[2] >> 7, n[3] >> 7);
      out.low[b / 2][b % 2 * 2 + r] = bytes(n[0] & 127, n[1] & 127, n[2] & 127, n[3] & 127);
    }
  }
}

// Where a chunk's o goes: joined with what is in `rows`, or as a partial.
struct Results {
  float* rows[2];  // [head size]; null: the row is not there
  float* partial[2];
  Merge merge[2];
};
DEVICE void put(const Results& to, int r, int d, float x, float y) {
  if (to.partial[r] != nullptr) {
    *reinterpret_cast<float2*>(to.partial[r] + d) = make_float2(x, y);
  } else if (to.rows[r] != nullptr && to.merge[r].step != Step::skip) {
    merge_value(to.merge[r], to.rows[r][d], x);
    merge_value(to.merge[r], to.rows[r][d + 1], y);
  }
}

template <int Head>
DEVICE void values(const AttentionParams& p, const Own& own, const Weights& weights, const unsigned char* const* blocks,
                   const Results& to) {
  const int D = Head > 0 ? Head : p.head_size;
  const int values_at = kv_part_bytes(kv_int8, D);
#pragma unroll 1
  for (int k = 0; k < (D + 31) / 32; ++k) {
    int h[4][4], l[4][4];
#pragma unroll
    for (int t = 0; t < 4; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e) h[t][e] = l[t][e] = magic_bits;
#pragma unroll
    for (int b = 0; b < chunk_blocks; b += 2) {
      Word even[4], odd[4];
      load_step(blocks[b] + values_at, k, D, own.lane, even);
      load_step(blocks[b + 1] + values_at, k, D, own.lane, odd);
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const Word two[2] = {even[t], odd[t]};
        mma_s8(h[t], weights.high[b / 2], two, h[t]);
        mma_s8(l[t], weights.low[b / 2], two, l[t]);
      }
    }
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const int d = k * 32 + 8 * t + 2 * own.quad;
      if (d >= D) continue;
#pragma unroll
      for (int r = 0; r < 2; ++r)
        put(to, r, d, __fmul_rn(whole<true>(h[t][2 * r], l[t][2 * r]), weights.step[r]),
            __fmul_rn(whole<true>(h[t][2 * r + 1], l[t][2 * r + 1]), weights.step[r]));
    }
  }
}

template <int Head, bool all>
DEVICE void walk_chunk(const AttentionParams& p, const Own& own, const Query<Head>& query, int chunk,
                       const unsigned char* const* blocks, Softmax (&sums)[2], Results& to, float* partial_ml) {
  Scores of_keys;
  Weights weights;
  float m[2], l[2], largest[2];
  scores<Head, all>(p, own, query, chunk, blocks, of_keys, m);
  softmax<Head, all>(p, own, chunk, blocks, m, of_keys, l, largest);
  make_weights(of_keys, largest, weights);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    to.merge[r] = merge(sums[r], m[r], l[r]);
    if (partial_ml != nullptr && own.quad == 0)
      *reinterpret_cast<float2*>(partial_ml + 2 * (own.column + 8 * r)) = make_float2(m[r], l[r]);
  }
  values<Head>(p, own, weights, blocks, to);
}

template <int Head>
DEVICE void finish(const AttentionParams& p, const Own& own, const Softmax (&sums)[2], const Results& to, float* const (&out)[2]) {
  const int D = Head > 0 ? Head : p.head_size;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (!own.row[r].real) continue;
    const float factor = last_factor(sums[r], p.sink_logits, own.row[r].head);
    for (int first = 0; first < D; first += 8)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int d = first + 2 * own.quad + e;
        out[r][d] = __fmul_rn(to.rows[r][d], factor);
      }
  }
}

template <int Head>
DEVICE void attention(const AttentionParams& p) {
  SharedMemory shared;
  SHARED_ARRAY(const unsigned char*, blocks, chunk_blocks);
  const AttentionItem item = p.items[blockIdx.x];
  const AttentionTile tile = p.tiles[item.tile];
  const int kv_head = static_cast<int>(blockIdx.y), group = p.heads / p.kv_heads, D = Head > 0 ? Head : p.head_size;
  const int last = tile.position + min(tile.count - 1, (tile.first + tile_rows - 1) / group);
  const int low = seen_by(tile.position + tile.first / group, p.window).low, earliest = tile.position + tile.first / group;
  Own own = own_rows(p, tile, kv_head);
  Query<Head> query;
  Results to;
  float* out[2];
  float* const in_shared = Head > 0 ? shared.take<float>(tile_rows * (Head + padding)) : nullptr;
  if constexpr (Head == 0) query.shared = shared.take<uint4>((D + 31) / 32 * 2 * warp_threads);
  const long long partial = item.partial < 0 ? 0 : tile.partials + (static_cast<long long>(item.partial) * p.kv_heads + kv_head) * tile_rows;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = own.column + 8 * r;
    out[r] = own.row[r].real ? p.out + (static_cast<long long>(tile.row + own.row[r].token) * p.heads + own.row[r].head) * D : nullptr;
    to.rows[r] = Head > 0 ? in_shared + row * (Head + padding) : out[r];
    to.partial[r] = item.partial < 0 ? nullptr : p.partial_o + (partial + row) * D;
  }
  make_query(p, own, query);
  Softmax sums[2];
  for (int chunk = item.chunk; chunk < item.end; ++chunk) {
    const int first_key = chunk * kv_chunk;
    if (first_key >= p.sinks && first_key + kv_chunk <= low) continue;  // between the sinks and a window
    find_blocks(p, tile, kv_head, chunk, low, last, blocks);
    float* const ml = item.partial < 0 ? nullptr : p.partial_ml + 2 * partial;
    const bool all = earliest >= first_key + kv_chunk - 1 && (p.window <= 0 || last - p.window + 1 <= first_key);
    if (all) walk_chunk<Head, true>(p, own, query, chunk, blocks, sums, to, ml);
    else walk_chunk<Head, false>(p, own, query, chunk, blocks, sums, to, ml);
  }
  if (item.partial < 0) finish<Head>(p, own, sums, to, out);
}

}  // namespace

OCTAVO_KERNEL(octavo_attention_int8_d64, AttentionParams, warp_threads) { attention<64>(p); }
OCTAVO_KERNEL(octavo_attention_int8_d128, AttentionParams, warp_threads) { attention<128>(p); }
OCTAVO_KERNEL(octavo_attention_int8_any, AttentionParams, warp_threads) { attention<0>(p); }

}  // namespace octavo::gpu

// Attention over the int8 cache on tensor cores (docs/numerics.md, "attention": int8): sums of whole numbers, so
// their order is free. A warp takes a tile of 16 query rows (heads of one kv head x tokens) and walks chunks of 256
// keys, in the manner of FlashAttention (Dao et al. 2022): a thread keeps its scores of a chunk as they come out of
// the first product, they become weights there, and weights become the operand of the second. Keys and values lie in
// the order of fragments (kv_layout.h), so they go from memory to registers: no barrier, no staging. Queries and
// weights have 14 bits, in two passes of 7: hi * 128 + lo.
//
// Which key is where: score [b][t][e] belongs to key 16 b + 8 t + 2 quad + e % 2 of the chunk and to the tile's row
// column + 8 (e / 2). So a thread has two lanes of the specification's sum for each t, and the values' fragments have
// their keys in the order in which a thread's weights of two blocks follow each other.
//
// Two forms: heads of a size known to the compiler hold their queries in registers and join results in shared memory;
// any other head, and a soft cap, reads queries from shared memory and joins results in `out`. Bound by memory in
// decoding, by issue in prompts.
#include "kernels/attention/attention.cuh"

namespace octavo::gpu {
namespace {

constexpr int warp_threads = 32, tile_rows = 16, chunk_blocks = kv_chunk / kv_tokens;
constexpr unsigned all_lanes = 0xFFFFFFFFu;
constexpr float query_steps = 16256.0f, weight_steps = 16383.0f, smallest_amax = 1e-30f;
constexpr int magic_bits = 0x4B400000;  // 1.5 * 2^23: a whole number below 2^22 added to its bits is added to it
constexpr float magic = 12582912.0f;
// Scores of the last blocks of a chunk are in shared memory: registers do not suffice for all.
constexpr int stored_blocks = 9, held_blocks = chunk_blocks - stored_blocks;
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

// The tile's rows that a thread has, column and column + 8 (its place in the warp: thread = 4 column + quad).
DEVICE int column() { return static_cast<int>(threadIdx.x) / 4; }
DEVICE int quad() { return static_cast<int>(threadIdx.x) % 4; }
struct Own {
  float scale[2];  // of scores: the parameter times the query's step
};
// In place of a score, of a key that the row does not see: a NaN whose bits no arithmetic makes.
constexpr Word unseen = 0xFFFFACE5u;

// The rest of a row, and of what the warp does, is in shared memory: registers are few.
struct RowPlace {
  const float* q;  // of a row that is not there, the tile's first: nothing of it is kept
  float* out;      // null: the row is not there
  int head;
  SeenKeys seen;  // of a row that is not there, no key
  Softmax sum;    // of the chunks so far
};
struct Walk {
  AttentionTile tile;
  int chunk, end;                             // chunks of keys
  int low, last;                              // keys that any row sees: [low, last] and the sinks
  long long partial;                          // the item's first row; -1: it has none
  const unsigned char* blocks[chunk_blocks];  // where the chunk's blocks begin, of the kv head; null: no key is seen
  RowPlace rows[tile_rows];
  float scores[stored_blocks * 8 * warp_threads];
};

DEVICE void begin(const AttentionParams& p, Walk& walk) {
  const AttentionItem item = p.items[blockIdx.x];
  const AttentionTile tile = p.tiles[item.tile];
  const int r = static_cast<int>(threadIdx.x), kv_head = static_cast<int>(blockIdx.y), group = p.heads / p.kv_heads;
  if (r == 0) {
    walk.tile = tile, walk.chunk = item.chunk, walk.end = item.end;
    walk.low = seen_by(tile.position + tile.first / group, p.window).low;
    walk.last = tile.position + min(tile.count - 1, (tile.first + tile_rows - 1) / group);
    const long long chunks_before = static_cast<long long>(item.partial) * p.kv_heads + kv_head;
    walk.partial = item.partial < 0 ? -1 : tile.partials + chunks_before * tile_rows;
  }
  if (r < tile_rows) {
    const TileRow row = tile_row(tile, r, kv_head, group), from = row.real ? row : tile_row(tile, 0, kv_head, group);
    const long long at = tile.row + from.token;
    RowPlace& place = walk.rows[r];
    place.q = p.q + at * p.q_ld + from.head * p.head_size;
    place.out = row.real ? p.out + (at * p.heads + from.head) * p.head_size : nullptr;
    place.head = from.head, place.sum = Softmax{};
    place.seen = row.real ? seen_by(tile.position + row.token, p.window) : SeenKeys{-1, 0};
  }
  __syncwarp();
}

// ---- queries -----------------------------------------------------------------------------------------------------

// High and low seven bits as operand A, by steps of 32 dimensions; of a last step of 16, the upper half is 0. They
// lie in shared memory, [step][high, low][thread], and a thread reads what it wrote.
struct Query {
  uint4* shared;
  DEVICE uint4* at(int k) const { return shared + k * 2 * warp_threads + threadIdx.x; }
  DEVICE void set(int k, const Word (&h)[4], const Word (&l)[4]) const {
    at(k)[0] = make_uint4(h[0], h[1], h[2], h[3]), at(k)[warp_threads] = make_uint4(l[0], l[1], l[2], l[3]);
  }
  DEVICE void get(int k, Word (&h)[4], Word (&l)[4]) const {
    const uint4 a = at(k)[0], b = at(k)[warp_threads];
    h[0] = a.x, h[1] = a.y, h[2] = a.z, h[3] = a.w;
    l[0] = b.x, l[1] = b.y, l[2] = b.z, l[3] = b.w;
  }
};
// In registers while scores are made, where their number is known: the same words for all of a chunk's keys.
template <int Head>
struct HeldQuery {
  Word high[Head / 32][4], low[Head / 32][4];
  DEVICE HeldQuery(const Query& query) {
#pragma unroll
    for (int k = 0; k < Head / 32; ++k) query.get(k, high[k], low[k]);
  }
  DEVICE void get(int k, Word (&h)[4], Word (&l)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) h[i] = high[k][i], l[i] = low[k][i];
  }
};
template <>
struct HeldQuery<0> : Query {
  DEVICE HeldQuery(const Query& query) : Query(query) {}
};

template <int Head>
DEVICE void make_query(const AttentionParams& p, const Walk& walk, Own& own, const Query& query) {
  const int D = Head > 0 ? Head : p.head_size;
  const float* const q[2] = {walk.rows[column()].q, walk.rows[column() + 8].q};
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    Word bits = 0;
#pragma unroll 4
    for (int d = quad(); d < D; d += 4) bits = max(bits, magnitude(q[r][d]));
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
      const int r = i % 2, d = k * 32 + i / 2 * 16 + quad() * 4;
      int n[4] = {};
      if (d < D)
#pragma unroll
        for (int e = 0; e < 4; ++e) n[e] = __float2int_rn(__fmul_rn(q[r][d + e], inverse[r]));
      h[i] = bytes(static_cast<Word>(n[0] >> 7), static_cast<Word>(n[1] >> 7), static_cast<Word>(n[2] >> 7),
                   static_cast<Word>(n[3] >> 7));
      l[i] = bytes(static_cast<Word>(n[0] & 127), static_cast<Word>(n[1] & 127), static_cast<Word>(n[2] & 127),
                   static_cast<Word>(n[3] & 127));
    }
    query.set(k, h, l);
  }
}

// ---- one chunk ---------------------------------------------------------------------------------------------------

DEVICE void find_blocks(const AttentionParams& p, int chunk, Walk& walk) {
  const int lane = static_cast<int>(threadIdx.x), key = chunk * kv_chunk + lane * kv_tokens;
  __syncwarp();
  if (lane < chunk_blocks) {
    const bool used = key <= walk.last && (key + kv_tokens - 1 >= walk.low || key < p.sinks);
    const long long block = used ? p.tables[walk.tile.table + key / kv_tokens] : 0;
    const long long index = block * p.kv_heads + static_cast<int>(blockIdx.y);
    walk.blocks[lane] = used ? p.layer + index * kv_head_bytes(kv_int8, p.head_size) : nullptr;
  }
  __syncwarp();
}

// Operand B of step k for the keys of two tiles of 8 (registers 0, 1 and 2, 3), or for the values of four tiles of 8
// dimensions (a register each).
DEVICE void load_step(const unsigned char* part, int k, int D, Word (&b)[4]) {
  const int lane = static_cast<int>(threadIdx.x);
  if ((k + 1) * 32 <= D) {
    const uint4 four = *reinterpret_cast<const uint4*>(part + (k * warp_threads + lane) * 16);
    b[0] = four.x, b[1] = four.y, b[2] = four.z, b[3] = four.w;
  } else {
    const uint2 two = *reinterpret_cast<const uint2*>(part + k * warp_threads * 16 + lane * 8);
    b[0] = two.x, b[1] = two.y, b[2] = b[3] = 0;
  }
}

// A thread's scores, and then its weights.
struct Scores {
  float held[held_blocks][2][4];
  float* stored;  // [stored_blocks][2][4][32]
  DEVICE float* place(int b, int t, int e) {
    return stored + (((b - held_blocks) * 2 + t) * 4 + e) * warp_threads + threadIdx.x;
  }
  DEVICE float get(int b, int t, int e) { return b < held_blocks ? held[b][t][e] : *place(b, t, e); }
  DEVICE void set(int b, int t, int e, float s) {
    if (b < held_blocks)
      held[b][t][e] = s;
    else
      *place(b, t, e) = s;
  }
};

// Sums of queries and keys of block b: [t][e], high and low.
template <int Head>
DEVICE void products(const HeldQuery<Head>& query, const unsigned char* keys, int D, int (&h)[2][4], int (&l)[2][4]) {
#pragma unroll
  for (int t = 0; t < 2; ++t)
#pragma unroll
    for (int e = 0; e < 4; ++e) h[t][e] = l[t][e] = sum_start<(Head > 0)>;
#pragma unroll
  for (int k = 0; k < (D + 31) / 32; ++k) {
    Word b[4], qh[4], ql[4];
    load_step(keys, k, D, b);
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

template <int Head>
DEVICE void scores(const AttentionParams& p, const Own& own, const Query& in_shared, int chunk, const Walk& walk,
                   Scores& out, float (&m)[2]) {
  const int D = Head > 0 ? Head : p.head_size;
  const HeldQuery<Head> query(in_shared);
  m[0] = m[1] = __uint_as_float(0xFF800000u);
#pragma unroll
  for (int b = 0; b < chunk_blocks; ++b) {
    const unsigned char* const head = walk.blocks[b];
    if (head == nullptr) continue;
    const SeenKeys seen_keys[2] = {walk.rows[column()].seen, walk.rows[column() + 8].seen};
    int h[2][4], l[2][4];
    products(query, head, D, h, l);
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int token = 8 * t + 2 * quad();
      const Word two = *reinterpret_cast<const Word*>(head + kv_scale_at(kv_int8, D, 0, token));
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2, key = chunk * kv_chunk + b * kv_tokens + token + e % 2;
        float s = __fmul_rn(whole<(Head > 0)>(h[t][e], l[t][e]),
                            __fmul_rn(own.scale[r], e % 2 ? scale_high(two) : scale_low(two)));
        if (Head == 0 && p.soft_cap > 0) s = softcap_spec(s, p.soft_cap);
        const bool seen = seen_keys[r].sees(key, p.sinks);
        out.set(b, t, e, seen ? s : __uint_as_float(unseen));
        m[r] = seen ? fmaxf(m[r], s) : m[r];
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) m[r] = quad_max(m[r]);
}

// p = exp(s - m), their sums by the 16 lanes, and in place of the scores the weights p * sv. Returns the largest
// weights.
template <int Head>
DEVICE void softmax(const AttentionParams& p, const unsigned char* const* blocks, const float (&m)[2], Scores& scores,
                    float (&l)[2], float (&largest)[2]) {
  const int D = Head > 0 ? Head : p.head_size;
  float sums[2][2][2] = {};  // [row][t][key % 2]: lane 8 t + 2 quad + key % 2
  Word bits[2] = {};
#pragma unroll
  for (int b = 0; b < chunk_blocks; ++b) {
    if (blocks[b] == nullptr) {
#pragma unroll
      for (int i = 0; i < 8; ++i) scores.set(b, i / 4, i % 4, 0.0f);
      continue;
    }
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int token = 8 * t + 2 * quad();
      const Word two = *reinterpret_cast<const Word*>(blocks[b] + kv_scale_at(kv_int8, D, 1, token));
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2;
        const float s = scores.get(b, t, e);
        const bool seen = __float_as_uint(s) != unseen;
        const float exact = exp_spec(__fsub_rn(seen ? s : m[r], m[r])), p_j = seen ? exact : 0.0f;
        sums[r][t][e % 2] = __fadd_rn(sums[r][t][e % 2], p_j);
        const float weight = seen ? __fmul_rn(p_j, e % 2 ? scale_high(two) : scale_low(two)) : 0.0f;
        scores.set(b, t, e, weight);
        bits[r] = max(bits[r], magnitude(weight));
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float x[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      x[e] = __fadd_rn(sums[r][0][e], sums[r][1][e]);               // lanes i and i + 8
      x[e] = __fadd_rn(x[e], __shfl_xor_sync(all_lanes, x[e], 2));  // i + 4
      x[e] = __fadd_rn(x[e], __shfl_xor_sync(all_lanes, x[e], 1));  // i + 2
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
DEVICE void make_weights(Scores& scores, const float (&largest)[2], Weights& out) {
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
        n[i] = __float_as_uint(__fadd_rn(__fmul_rn(scores.get(b, i / 2, r * 2 + i % 2), inverse), magic)) & 0x3FFFu;
      out.high[b / 2][b % 2 * 2 + r] = bytes(n[0] >> 7, n[1] >> 7, n[2] >> 7, n[3] >> 7);
      out.low[b / 2][b % 2 * 2 + r] = bytes(n[0] & 127, n[1] & 127, n[2] & 127, n[3] & 127);
    }
  }
}

// Where a chunk's o goes: joined with what is there, or as a partial.
struct Results {
  float* joined[2];  // [head size]; null: the row is not there, or its results are partial
  float* partial[2];
  Merge merge[2];
};
DEVICE void put(const Results& to, int r, int d, float x, float y) {
  if (to.partial[r] != nullptr) {
    *reinterpret_cast<float2*>(to.partial[r] + d) = make_float2(x, y);
  } else if (to.joined[r] != nullptr) {
    merge_value(to.merge[r], to.joined[r][d], x);
    merge_value(to.merge[r], to.joined[r][d + 1], y);
  }
}

template <int Head>
DEVICE void values(const AttentionParams& p, const Weights& weights, const unsigned char* const* blocks,
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
      Word even[4] = {}, odd[4] = {};
      if (blocks[b] != nullptr) load_step(blocks[b] + values_at, k, D, even);
      if (blocks[b + 1] != nullptr) load_step(blocks[b + 1] + values_at, k, D, odd);
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const Word two[2] = {even[t], odd[t]};
        mma_s8(h[t], weights.high[b / 2], two, h[t]);
        mma_s8(l[t], weights.low[b / 2], two, l[t]);
      }
    }
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const int d = k * 32 + 8 * t + 2 * quad();
      if (d >= D) continue;
#pragma unroll
      for (int r = 0; r < 2; ++r)
        put(to, r, d, __fmul_rn(whole<true>(h[t][2 * r], l[t][2 * r]), weights.step[r]),
            __fmul_rn(whole<true>(h[t][2 * r + 1], l[t][2 * r + 1]), weights.step[r]));
    }
  }
}

// A row's results so far: in shared memory, or in place.
template <int Head>
DEVICE float* joined_row(const Walk& walk, float* in_shared, int row) {
  return Head > 0 ? in_shared + row * (Head + padding) : walk.rows[row].out;
}

template <int Head>
DEVICE void walk_chunk(const AttentionParams& p, const Own& own, const Query& query, int chunk, Walk& walk,
                       float* in_shared) {
  Scores of_keys;
  of_keys.stored = walk.scores;
  Weights weights;
  float m[2], l[2], largest[2];
  scores<Head>(p, own, query, chunk, walk, of_keys, m);
  __syncwarp();
  softmax<Head>(p, walk.blocks, m, of_keys, l, largest);
  __syncwarp();
  make_weights(of_keys, largest, weights);
  Results to;
  const long long partial = walk.partial;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = column() + 8 * r;
    Softmax sum = walk.rows[row].sum;
    to.merge[r] = merge(sum, m[r], l[r]);
    to.partial[r] = partial < 0 ? nullptr : p.partial_o + (partial + row) * p.head_size;
    to.joined[r] = partial < 0 ? joined_row<Head>(walk, in_shared, row) : nullptr;
    __syncwarp();
    if (quad() != 0) continue;
    walk.rows[row].sum = sum;
    if (partial >= 0) *reinterpret_cast<float2*>(p.partial_ml + 2 * (partial + row)) = make_float2(m[r], l[r]);
  }
  values<Head>(p, weights, walk.blocks, to);
  __syncwarp();
}

template <int Head>
DEVICE void finish(const AttentionParams& p, const Walk& walk, float* in_shared) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = column() + 8 * r;
    const RowPlace& place = walk.rows[row];
    if (place.out == nullptr) continue;
    const float* const joined = joined_row<Head>(walk, in_shared, row);
    const float factor = last_factor(place.sum, p.sink_logits, place.head);
    for (int first = 2 * quad(); first < p.head_size; first += 8)
#pragma unroll
      for (int d = first; d < first + 2; ++d) place.out[d] = __fmul_rn(joined[d], factor);
  }
}

template <int Head>
DEVICE void attention(const AttentionParams& p) {
  if (p.items[blockIdx.x].tile < 0) return;
  SharedMemory shared;
  SHARED_ARRAY(Walk, in_one, 1);
  Walk& walk = in_one[0];
  float* const in_shared = Head > 0 ? shared.take<float>(tile_rows * (Head + padding)) : nullptr;
  const Query query{shared.take<uint4>((p.head_size + 31) / 32 * 2 * warp_threads)};
  begin(p, walk);
  Own own;
  make_query<Head>(p, walk, own, query);
#pragma unroll 1
  for (int chunk = walk.chunk; chunk < walk.end; ++chunk) {
    const int first_key = chunk * kv_chunk;
    if (first_key >= p.sinks && first_key + kv_chunk <= walk.low) continue;  // between the sinks and a window
    find_blocks(p, chunk, walk);
    walk_chunk<Head>(p, own, query, chunk, walk, in_shared);
  }
  if (walk.partial < 0) finish<Head>(p, walk, in_shared);
}

}  // namespace

OCTAVO_KERNEL(octavo_attention_int8_d64, AttentionParams, warp_threads, 1) { attention<64>(p); }
OCTAVO_KERNEL(octavo_attention_int8_d128, AttentionParams, warp_threads, 1) { attention<128>(p); }
OCTAVO_KERNEL(octavo_attention_int8_any, AttentionParams, warp_threads, 1) { attention<0>(p); }

}  // namespace octavo::gpu

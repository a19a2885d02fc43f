// New keys and values into the cache (docs/numerics.md, "KV cache"): half a warp a key or value of a head, thread l of
// the half holds the numbers l, l + 16, ..., which are the lanes of the specification's sums. Neighbouring halves of a
// warp have the key and the value of one head. Few bytes; bound by latency, fp8 by its search for a scale (eight
// roundings of every number) and by the four turns of a key's codes.
#include "kernels/device.cuh"
#include "kernels/attention/kv_layout.h"
#include "kernels/lanes.cuh"
#include "kernels/attention/params_kv.h"

namespace octavo::gpu {
namespace {

constexpr int write_threads = 128;
constexpr float smallest_amax = 1e-30f;
constexpr int most_turned = 4;
constexpr float own_error_share = 0.03125f;

// ---- roundings -----------------------------------------------------------------------------------------------

DEVICE unsigned short clamped_f16(float x) {
  if (x > 65504.0f) x = 65504.0f;
  if (x < -65504.0f) x = -65504.0f;
  return float_to_half(x);
}

// The next bf16 that is not smaller; s is not negative.
DEVICE unsigned bf16_above(float s) {
  const unsigned bits = __float_as_uint(s);
  return (bits >> 16) + ((bits & 0xFFFFu) != 0 ? 1 : 0);
}

// e4m3 with its exponents lowered by 8: below 2^-14 a multiple of 2^-17, above a mantissa of three bits.
constexpr int last_fp8 = 126;
DEVICE float fp8_magnitude(int code) {
  if (code < 8) return __fmul_rn(static_cast<float>(code), 0x1p-17f);
  return __uint_as_float((static_cast<unsigned>(code) << 20) + (112u << 23));
}
DEVICE int nearest_fp8(float x) {  // the code of |x|
  const float magnitude = fabsf(x);
  if (magnitude < 0x1p-14f) return __float2int_rn(__fmul_rn(magnitude, 0x1p17f));
  const unsigned bits = __float_as_uint(magnitude);
  const unsigned rounded = (bits + 0x7FFFFu + (bits >> 20 & 1u)) >> 20;
  return min(static_cast<int>(rounded - (112u << 3)), last_fp8);
}
DEVICE float with_sign(float magnitude, float sign) {
  return __uint_as_float(__float_as_uint(magnitude) | (__float_as_uint(sign) & 0x80000000u));
}
DEVICE float to_fp8(float x) { return with_sign(fp8_magnitude(nearest_fp8(x)), x); }
// The number next to c on y's side of it, or c where y is c or c is the last.
DEVICE float beyond_fp8(float c, float y) {
  if (c == y) return c;
  const int code = nearest_fp8(c) + (fabsf(y) > fabsf(c) ? 1 : -1);
  return code > last_fp8 ? c : with_sign(fp8_magnitude(code), y);
}

// ---- rows ----------------------------------------------------------------------------------------------------

// A key or a value of a head: where it comes from, and where it goes.
struct Row {
  const float* x;
  const float* queries;  // of a key: the token's queries that read it
  unsigned char* head;
  int part, token, lane;
};

DEVICE float largest_of(const float* x, int D, int lane) {
  unsigned bits = 0;
  for (int d = lane; d < D; d += sum_lanes) bits = max(bits, __float_as_uint(x[d]) & 0x7FFFFFFFu);
  return __uint_as_float(max16(bits));
}

template <int Kind>
DEVICE void put(const Row& row, int D, int d, unsigned bits) {
  unsigned char* at = row.head + kv_code_at(Kind, D, row.part, row.token, d);
  if (kv_value_bytes(Kind) == 2)
    *reinterpret_cast<unsigned short*>(at) = static_cast<unsigned short>(bits);
  else
    *at = static_cast<unsigned char>(bits);
}
template <int Kind>
DEVICE void put_scale(const Row& row, int D, unsigned bits) {
  if (row.lane != 0) return;
  *reinterpret_cast<unsigned short*>(row.head + kv_scale_at(Kind, D, row.part, row.token)) =
      static_cast<unsigned short>(bits);
}

constexpr unsigned bf16_nan = 0x7FC0;

DEVICE void write_int8(const Row& row, int D) {
  const float amax = largest_of(row.x, D, row.lane);
  const bool zero = amax < smallest_amax, number = amax < __uint_as_float(0x7F800000u);
  const unsigned scale = zero ? 0 : number ? bf16_above(__fdiv_rn(amax, 127.0f)) : bf16_nan;
  put_scale<kv_int8>(row, D, scale);
  const float inverse = __fdiv_rn(1.0f, bf16_to_float(static_cast<unsigned short>(scale)));
  for (int d = row.lane; d < D; d += sum_lanes)
    put<kv_int8>(row, D, d, zero || !number ? 0u : static_cast<unsigned>(__float2int_rn(__fmul_rn(row.x[d], inverse))));
}

// Of the eight candidates the one with the least squared error.
DEVICE unsigned fp8_scale(const float* x, int D, float amax, int lane) {
  const float step = __fdiv_rn(amax, 14.0f);
  unsigned best = 0;
  float least = __uint_as_float(0x7F800000u);
  for (int i = 8; i < 16; ++i) {
    const float steps = static_cast<float>(i);
    const unsigned scale = bf16_above(__fmul_rn(step, steps));
    const float inverse = __fdiv_rn(1.0f, bf16_to_float(static_cast<unsigned short>(scale)));
    float squares = 0;
    for (int d = lane; d < D; d += sum_lanes) {
      const float y = __fmul_rn(x[d], inverse), error = __fsub_rn(to_fp8(y), y);
      squares = __fmaf_rn(error, error, squares);
    }
    const float loss = __fmul_rn(tree16(squares), __fmul_rn(steps, steps));
    if (loss < least) best = scale, least = loss;
  }
  return best;
}

constexpr int widest_head = 512;  // max_head_size of cpp/backend.h

// Turns some of the codes c, rounded from y, so that the error's product with the token's queries gets nearest to 0.
// A thread's numbers are at [i], dimension lane + 16 i, so many that they stay in registers; the queries' sums in
// u[lane + 16 i], read by this thread alone. All threads of the warp take part, `turns` says for whom it counts.
template <int held>
DEVICE void turn_error(float (&c)[held], const float (&y)[held], float* u, const Row& row, int D, int queries,
                       bool turns) {
  float error[held], step[held];
  float own = 0, along = 0;
#pragma unroll
  for (int i = 0; i < held; ++i) {
    const int d = row.lane + sum_lanes * i;
    error[i] = step[i] = 0;
    if (d >= D) continue;
    float sum = turns ? row.queries[d] : 0.0f;
    for (int h = 1; turns && h < queries; ++h) sum = __fadd_rn(sum, row.queries[h * D + d]);
    u[d] = sum;
    if (!turns) continue;
    error[i] = __fsub_rn(c[i], y[i]);
    step[i] = __fsub_rn(beyond_fp8(c[i], y[i]), c[i]);
    own = __fmaf_rn(sum, sum, own);
    along = __fmaf_rn(sum, error[i], along);
  }
  own = __fmul_rn(tree16(own), own_error_share);
  along = tree16(along);
  for (int turned = 0; turned < most_turned; ++turned) {
    unsigned best = 0;  // the bits of -change without the lowest nine, and there 511 - d
#pragma unroll
    for (int i = 0; i < held; ++i) {
      const int d = row.lane + sum_lanes * i;
      if (d >= D) continue;
      const float slope = __fmaf_rn(own, error[i], __fmul_rn(along, u[d]));
      const float change = __fmul_rn(step[i], __fmaf_rn(step[i], __fmaf_rn(u[d], u[d], own), __fadd_rn(slope, slope)));
      const unsigned gain = change < 0 ? __float_as_uint(-change) >> 9 : 0;
      if (gain != 0) best = max(best, gain << 9 | static_cast<unsigned>(511 - d));
    }
    best = max16(best);
    const int chosen = best == 0 ? -1 : 511 - static_cast<int>(best & 511u);
    float its_step = 0, its_u = 0;
#pragma unroll
    for (int i = 0; i < held; ++i) {
      if (row.lane + sum_lanes * i != chosen) continue;
      its_step = step[i], its_u = u[chosen];
      c[i] = __fadd_rn(c[i], step[i]);
      error[i] = __fadd_rn(error[i], step[i]);
      step[i] = -step[i];
    }
    const int holder = chosen < 0 ? 0 : chosen % sum_lanes;
    its_step = __shfl_sync(whole_warp, its_step, holder, sum_lanes);
    its_u = __shfl_sync(whole_warp, its_u, holder, sum_lanes);
    if (chosen >= 0) along = __fmaf_rn(its_step, its_u, along);
  }
}

template <int held>
DEVICE void write_fp8(const Row& row, int D, int queries, float* u) {
  const float amax = largest_of(row.x, D, row.lane);
  const bool zero = amax < smallest_amax, number = amax < 0x1p127f;
  const unsigned searched = fp8_scale(row.x, D, zero || !number ? 1.0f : amax, row.lane);
  const unsigned scale = zero ? 0 : number ? searched : bf16_nan;
  put_scale<kv_fp8>(row, D, scale);
  const float inverse = __fdiv_rn(1.0f, bf16_to_float(static_cast<unsigned short>(scale)));
  float c[held], y[held];
#pragma unroll
  for (int i = 0; i < held; ++i) {
    const int d = row.lane + sum_lanes * i;
    y[i] = d < D && !zero && number ? __fmul_rn(row.x[d], inverse) : 0.0f;
    c[i] = to_fp8(y[i]);
  }
  const bool turns = row.part == 0 && queries > 0 && !zero && number;
  turn_error(c, y, u, row, D, queries, turns);
#pragma unroll
  for (int i = 0; i < held; ++i) {
    const int d = row.lane + sum_lanes * i;
    if (d >= D) continue;
    const unsigned sign = __float_as_uint(c[i]) >> 24 & 0x80u;
    put<kv_fp8>(row, D, d, static_cast<unsigned>(nearest_fp8(c[i])) | sign);
  }
}

template <int Kind>
DEVICE void write_row(const Row& row, int D, int queries) {
  if constexpr (Kind == kv_int8) {
    write_int8(row, D);
  } else if constexpr (Kind == kv_fp8) {
    constexpr int halves = write_threads / sum_lanes, ld = widest_head + sum_lanes;  // halves of a warp in other banks
    SHARED_ARRAY(float, sums, halves* ld);
    float* const u = sums + static_cast<int>(threadIdx.x) / sum_lanes * ld;
    if (D <= 128)
      write_fp8<128 / sum_lanes>(row, D, queries, u);
    else if (D <= 256)
      write_fp8<256 / sum_lanes>(row, D, queries, u);
    else
      write_fp8<widest_head / sum_lanes>(row, D, queries, u);
  } else {
    for (int d = row.lane; d < D; d += sum_lanes)
      put<Kind>(row, D, d, Kind == kv_f16 ? clamped_f16(row.x[d]) : float_to_bf16(row.x[d]));
  }
}

template <int Kind>
DEVICE void kv_write(const KvWriteParams& p) {
  // Two halves a head: a warp has both or, behind the last, none.
  const int index = (static_cast<int>(blockIdx.x) * write_threads + static_cast<int>(threadIdx.x)) / sum_lanes;
  if (index >= 2 * p.rows * p.kv_heads) return;
  const int part = index % 2, head = index / 2 % p.kv_heads, t = index / 2 / p.kv_heads, D = p.head_size;
  const int slot = p.slots[t];
  if (slot < 0) return;  // a warp writes one token's
  const long long from = static_cast<long long>(t) * p.ld;
  Row row;
  row.x = (part == 0 ? p.k : p.v) + from + head * D;
  row.queries = p.queries == 0 ? nullptr : p.q + from + static_cast<long long>(head) * p.queries * D;
  row.head = p.layer + (static_cast<long long>(slot / kv_tokens) * p.kv_heads + head) * kv_head_bytes(Kind, D);
  row.part = part, row.token = slot % kv_tokens, row.lane = static_cast<int>(threadIdx.x) % sum_lanes;
  write_row<Kind>(row, D, p.queries);
}

}  // namespace

OCTAVO_KERNEL(octavo_kv_write_f16, KvWriteParams, write_threads) { kv_write<kv_f16>(p); }
OCTAVO_KERNEL(octavo_kv_write_bf16, KvWriteParams, write_threads) { kv_write<kv_bf16>(p); }
OCTAVO_KERNEL(octavo_kv_write_fp8, KvWriteParams, write_threads) { kv_write<kv_fp8>(p); }
OCTAVO_KERNEL(octavo_kv_write_int8, KvWriteParams, write_threads) { kv_write<kv_int8>(p); }

}  // namespace octavo::gpu

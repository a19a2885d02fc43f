// Where a filter cuts a row of logits: every filter of the sampler keeps a beginning of one order (higher logit
// first, lower id first among equals), so a filter is its last kept token. It is found by digits from the top of a
// key that ascends in that order: a histogram of what tokens weigh, the digit where the sum is reached, then the
// tokens with that digit alone. Weights are integers (a token's one, or multiples of 2^-40), so sums are exact in
// every order. Groups whose maximum lies behind the digits found so far are passed over.
#pragma once
#include "kernels/device.cuh"
#include "kernels/sampling/params_sample.h"

namespace octavo::gpu {

constexpr int sample_threads = 512, sample_warps = sample_threads / 32;
constexpr unsigned every_lane = 0xFFFFFFFFu;
constexpr int no_token = 0x7FFFFFFF;
DEVICE float minus_infinity() { return __uint_as_float(0xFF800000u); }

using Sum = unsigned long long;

// The kept set of a row: everything before this place in the order, itself included.
struct Cut {
  float logit;
  int token;
  DEVICE bool keeps(float l, int i) const { return l > logit || (l == logit && i <= token); }
};
DEVICE Cut keep_all() { return {minus_infinity(), no_token}; }

// A row as it is drawn from.
struct Row {
  const float* logits;     // [vocab]
  const float* group_max;  // [groups]
  int vocab, groups;
  float highest;
};

// exp((l - highest) / T) in units of 2^-40 (cpp/sampling/logit_scan.h).
constexpr float weightless = -28.5f;
DEVICE Sum weight_of(float logit, float highest, float inverse_temperature) {
  float z = __fmul_rn(__fsub_rn(logit, highest), inverse_temperature);
  z = z > -32.0f ? z : -32.0f;
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: the integer part lands in the low bits
  const float t = __fadd_rn(__fmul_rn(z, 1.44269504f), magic), n = __fsub_rn(t, magic);
  const float f = __fadd_rn(__fsub_rn(z, __fmul_rn(n, 0.693359375f)), __fmul_rn(n, 2.12194440e-4f));
  float p = __fadd_rn(__fmul_rn(f, 1.9875691500e-4f), 1.3981999507e-3f);
  p = __fadd_rn(__fmul_rn(p, f), 8.3334519073e-3f);
  p = __fadd_rn(__fmul_rn(p, f), 4.1665795894e-2f);
  p = __fadd_rn(__fmul_rn(p, f), 1.6666665459e-1f);
  p = __fadd_rn(__fmul_rn(p, f), 5.0000001201e-1f);
  const float y = __fadd_rn(__fadd_rn(__fmul_rn(p, __fmul_rn(f, f)), f), 1.0f);
  const float e = __uint_as_float(__float_as_uint(y) + (__float_as_uint(t) << 23));
  // Adding 1.5 * 2^12 rounds to a multiple of 2^-40, which then are the low bits of the double.
  const long long sum = __double_as_longlong(__dadd_rn(static_cast<double>(e), 6144.0));
  return static_cast<Sum>(sum - __double_as_longlong(6144.0));
}

// Ascends where logits descend; a negative zero is a zero.
DEVICE unsigned order_of(float logit) {
  const unsigned bits = __float_as_uint(__fadd_rn(logit, 0.0f));
  return ~(bits >> 31 ? ~bits : bits | 0x80000000u);
}
DEVICE float logit_of(unsigned order) {
  const unsigned bits = ~order;
  return __uint_as_float(bits >> 31 ? bits & 0x7FFFFFFFu : ~bits);
}

// Digits of (order, id): 11, 11 and 10 bits, then 11 and 11 of the id.
constexpr int digit_values = 2048, digit_runs = 32, run_values = digit_values / digit_runs;
constexpr int largest_vocab = 1 << 22;

struct SelectShared {
  Sum sums[digit_values], runs[digit_runs];
  Sum base;   // of all before the digits found
  int digit;  // where the sum is reached; -1: nowhere
};

// The first digit value where base and the sums up to it reach; by one thread, from sums of runs of digits.
template <class Reaches>
DEVICE void find_digit(SelectShared& shared, Reaches reaches) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int run = thread; run < digit_runs; run += sample_threads) {
    Sum sum = 0;
    // Neighbouring threads begin at different values: other banks.
    for (int i = 0; i < run_values; ++i) sum += shared.sums[run * run_values + (i + run) % run_values];
    shared.runs[run] = sum;
  }
  __syncthreads();
  if (thread == 0) {
    Sum sum = shared.base;
    int run = 0;
    while (run < digit_runs && !reaches(sum + shared.runs[run])) sum += shared.runs[run++];
    int digit = -1;
    if (run < digit_runs) {
      digit = run * run_values;
      while (!reaches(sum + shared.sums[digit])) sum += shared.sums[digit++];
    }
    shared.base = sum, shared.digit = digit;
  }
  __syncthreads();
}

// The token at which the weights of `within` reach, or keep_all() if they never do. weight(logit) of a token;
// reaches(sum) is monotone.
template <class Weight, class Reaches>
DEVICE Cut select(SelectShared& shared, const Row& row, const Cut& within, Weight weight, Reaches reaches) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  unsigned order = 0, id = 0;  // the digits found, at their place
  __syncthreads();
  if (thread == 0) shared.base = 0;
  for (int pass = 0; pass < 5; ++pass) {
    const int order_shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;  // of the digit, in passes 0 to 2
    const int found_shift = pass == 0 ? 32 : pass == 1 ? 21 : pass == 2 ? 10 : 0;
    const int id_shift = pass == 3 ? 11 : 0;
    const unsigned long long found = static_cast<unsigned long long>(order) >> found_shift;
    for (int i = thread; i < digit_values; i += sample_threads) shared.sums[i] = 0;
    __syncthreads();
    for (int g = warp; g < row.groups; g += sample_warps) {
      if (static_cast<unsigned long long>(order_of(row.group_max[g])) >> found_shift > found) continue;
      for (int i = g * sample_group + lane; i < (g + 1) * sample_group && i < row.vocab; i += 32) {
        const float l = row.logits[i];
        if (!(l > minus_infinity()) || !within.keeps(l, i)) continue;
        const unsigned own = order_of(l), own_id = static_cast<unsigned>(i);
        if (static_cast<unsigned long long>(own) >> found_shift != found) continue;
        if (pass == 4 && own_id >> 11 != id >> 11) continue;
        const unsigned digit = pass < 3 ? own >> order_shift & (pass == 2 ? 1023u : 2047u) : own_id >> id_shift & 2047u;
        const Sum w = weight(l);
        if (w != 0) atomicAdd(&shared.sums[digit], w);
      }
    }
    __syncthreads();
    find_digit(shared, reaches);
    if (shared.digit < 0) return keep_all();
    if (pass < 3)
      order |= static_cast<unsigned>(shared.digit) << order_shift;
    else
      id |= static_cast<unsigned>(shared.digit) << id_shift;
  }
  return {logit_of(order), static_cast<int>(id)};
}

}  // namespace octavo::gpu

// How keys and values lie on the device, shared by kernels, host and tests: [layer][block of 16 tokens][kv
// head][bytes of a head]. A head has as many bytes as on the CPU (cpp/cpu/attention/kv_store.h), in another order:
// keys, values, and in the 8-bit types 16 key scales and 16 value scales (bf16). D: head size, a multiple of 16.
//   f16, bf16  keys [D / 8][16 tokens][8]: a thread reads 16 bytes of one key, neighbours read neighbouring keys;
//              values [16 tokens][D]
//   fp8        keys [D / 16][16 tokens][16]; values [16 tokens][D]
//   int8       operands B of mma.m16n8k32 as its threads hold them, 16 bytes a thread and step of 32 dimensions: keys
//              of 8 tokens x 32 dimensions twice (tokens 0-7, 8-15), values of 8 dimensions x 16 tokens four times. A
//              last step of 16 dimensions has 8 bytes a thread.
#pragma once

#ifdef __CUDACC__
#define OCTAVO_BOTH __host__ __device__ constexpr
#else
#define OCTAVO_BOTH constexpr
#endif

namespace octavo::gpu {

enum KvKind : int { kv_f16, kv_bf16, kv_fp8, kv_int8 };  // as KvDtype of cpp/backend.h
constexpr int kv_tokens = 16;                            // in a block
constexpr int kv_chunk = 256;                            // keys in one partial of attention

OCTAVO_BOTH int kv_value_bytes(int kind) { return kind == kv_f16 || kind == kv_bf16 ? 2 : 1; }
OCTAVO_BOTH bool kv_has_scales(int kind) { return kind == kv_fp8 || kind == kv_int8; }
// Of all keys of a block's head, as many of its values.
OCTAVO_BOTH int kv_part_bytes(int kind, int D) { return kv_tokens * D * kv_value_bytes(kind); }
OCTAVO_BOTH int kv_head_bytes(int kind, int D) {
  return 2 * kv_part_bytes(kind, D) + (kv_has_scales(kind) ? 2 * kv_tokens * 2 : 0);
}
// The scale of a key (part 0) or value (part 1), in a head on the device and on the CPU.
OCTAVO_BOTH int kv_scale_at(int kind, int D, int part, int token) {
  return 2 * kv_part_bytes(kind, D) + 2 * (part * kv_tokens + token);
}

// The thread of a warp that holds a member of operand B of m16n8k32 whose column is `column` of 8, quad `quad` of 4.
OCTAVO_BOTH int fragment_thread(int column, int quad) { return column * 4 + quad; }

OCTAVO_BOTH int kv_int8_key_at(int D, int token, int d) {
  const int step = d / 32, full = (step + 1) * 32 <= D, in = d % 32;
  const int thread = fragment_thread(token % 8, in % 16 / 4);
  return step * 512 + thread * (full ? 16 : 8) + token / 8 * (full ? 8 : 4) + in / 16 * 4 + in % 4;
}
OCTAVO_BOTH int kv_int8_value_at(int D, int token, int d) {
  const int step = d / 32, full = (step + 1) * 32 <= D, in = d % 32;
  const int thread = fragment_thread(in % 8, token % 8 / 2);
  return kv_part_bytes(kv_int8, D) + step * 512 + thread * (full ? 16 : 8) + in / 8 * 4 + token / 8 * 2 + token % 2;
}

// The first byte of a number of a key (part 0) or value (part 1) in a head on the device.
OCTAVO_BOTH int kv_code_at(int kind, int D, int part, int token, int d) {
  if (kind == kv_int8) return part == 0 ? kv_int8_key_at(D, token, d) : kv_int8_value_at(D, token, d);
  const int bytes = kv_value_bytes(kind), together = 16 / bytes;
  if (part == 0) return ((d / together * kv_tokens + token) * together + d % together) * bytes;
  return kv_part_bytes(kind, D) + (token * D + d) * bytes;
}

// The same in the bytes that backends exchange (Backend::kv_export; cpp/cpu/attention/kv_store.h).
OCTAVO_BOTH int kv_exchange_at(int kind, int D, int part, int token, int d) {
  const int half = part * kv_part_bytes(kind, D);
  if (kv_value_bytes(kind) == 2) return half + (part == 0 ? d * kv_tokens + token : token * D + d) * 2;
  if (part == 0) return 64 * (d / 4) + 4 * token + d % 4;
  return half + token / 4 * 4 * D + 64 * (d / 16) + 4 * (d % 16) + token % 4;
}

}  // namespace octavo::gpu

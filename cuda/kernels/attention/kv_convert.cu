// Blocks of the cache as the bytes that all backends exchange (Backend::kv_export of cpp/backend.h), back again, and
// from one block to another. A thread a number, of all layers and heads of the block. For sessions that are saved and
// prefixes that move: bound by the way to the host.
#include "kernels/device.cuh"
#include "kernels/attention/kv_layout.h"
#include "kernels/attention/params_kv.h"

namespace octavo::gpu {
namespace {

constexpr int convert_threads = 256;

// The exchanged bytes have the sign bit of int8 codes flipped.
template <int Kind, bool to_exchange>
DEVICE void move_number(unsigned char* own, unsigned char* exchanged) {
  unsigned char *to = to_exchange ? exchanged : own, *from = to_exchange ? own : exchanged;
  if (kv_value_bytes(Kind) == 2)
    *reinterpret_cast<unsigned short*>(to) = *reinterpret_cast<unsigned short*>(from);
  else
    *to = static_cast<unsigned char>(*from ^ (Kind == kv_int8 ? 0x80 : 0));
}

template <int Kind, bool to_exchange>
DEVICE void convert(const KvConvertParams& p) {
  const int layer = static_cast<int>(blockIdx.x) / p.kv_heads, head = static_cast<int>(blockIdx.x) % p.kv_heads;
  const int D = p.head_size, head_bytes = kv_head_bytes(Kind, D);
  unsigned char* own =
      p.store + layer * p.layer_bytes + (static_cast<long long>(p.block) * p.kv_heads + head) * head_bytes;
  unsigned char* exchanged = p.exchange + static_cast<long long>(blockIdx.x) * head_bytes;
  const int thread = static_cast<int>(blockIdx.y) * convert_threads + static_cast<int>(threadIdx.x);
  if (thread < 2 * kv_tokens * D) {
    const int part = thread / (kv_tokens * D), token = thread / D % kv_tokens, d = thread % D;
    move_number<Kind, to_exchange>(own + kv_code_at(Kind, D, part, token, d),
                                   exchanged + kv_exchange_at(Kind, D, part, token, d));
  }
  if (kv_has_scales(Kind) && thread < 2 * kv_tokens) {
    const int at = kv_scale_at(Kind, D, 0, 0) + 2 * thread;
    move_number<kv_bf16, to_exchange>(own + at, exchanged + at);
  }
}

}  // namespace

#define OCTAVO_KV_CONVERT(name, Kind)                                                                  \
  OCTAVO_KERNEL(octavo_kv_export_##name, KvConvertParams, convert_threads) { convert<Kind, true>(p); } \
  OCTAVO_KERNEL(octavo_kv_import_##name, KvConvertParams, convert_threads) { convert<Kind, false>(p); }

OCTAVO_KV_CONVERT(f16, kv_f16)
OCTAVO_KV_CONVERT(bf16, kv_bf16)
OCTAVO_KV_CONVERT(fp8, kv_fp8)
OCTAVO_KV_CONVERT(int8, kv_int8)

#undef OCTAVO_KV_CONVERT

OCTAVO_KERNEL(octavo_kv_copy, KvCopyParams, convert_threads) {
  unsigned char* layer = p.store + static_cast<long long>(blockIdx.x) * p.layer_bytes;
  const long long at = 16ll * (static_cast<long long>(blockIdx.y) * convert_threads + static_cast<int>(threadIdx.x));
  if (at >= p.block_bytes) return;  // a whole number of 16
  *reinterpret_cast<uint4*>(layer + p.destination * p.block_bytes + at) =
      *reinterpret_cast<const uint4*>(layer + p.source * p.block_bytes + at);
}

}  // namespace octavo::gpu

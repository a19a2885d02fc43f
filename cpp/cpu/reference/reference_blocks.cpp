// The reference's KV blocks as the bytes of Backend::kv_export: what cpp/cpu/attention/kv_store.h says of a head, number by
// number.
#include <bit>
#include <cstring>

#include "cpu/reference/reference_attention.h"
#include "cpu/reference/reference_math.h"
#include "files/quant.h"

namespace octavo::reference {

namespace {

std::uint16_t upper_half(float x) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16); }

std::uint16_t code_bits(KvDtype dtype, float c) {
  switch (dtype) {
    case KvDtype::f16:
      return f32_to_f16(c);
    case KvDtype::bf16:
      return upper_half(c);
    case KvDtype::int8:
      return static_cast<std::uint8_t>(std::isfinite(c) ? static_cast<int>(c) : 0) ^ 0x80;
    case KvDtype::fp8:
      break;
  }
  const int code = std::isnan(c) ? fp8_codes : fp8_code_from(std::fabs(c));
  return static_cast<std::uint16_t>(code | (std::signbit(c) ? 0x80 : 0));
}

float code_of(KvDtype dtype, std::uint16_t bits) {
  switch (dtype) {
    case KvDtype::f16:
      return f16_to_f32(bits);
    case KvDtype::bf16:
      return bf16_to_f32(bits);
    case KvDtype::int8:
      return static_cast<float>(static_cast<std::int8_t>(bits ^ 0x80));
    case KvDtype::fp8:
      break;
  }
  return std::copysign(fp8_magnitude(bits & 0x7F), bits & 0x80 ? -1.0f : 1.0f);
}

// Byte of a code within its head.
std::size_t code_at(KvDtype dtype, int D, KvRows::Part part, int token, int d) {
  const int half = kv_block_tokens * D;
  if (traits(dtype).value_bytes == 2) {
    const int index = part == KvRows::key ? d * kv_block_tokens + token : half + token * D + d;
    return static_cast<std::size_t>(index) * 2;
  }
  const int member = part == KvRows::key ? d % 4 : token % 4, lane = part == KvRows::key ? token : d % 16;
  const int vector = part == KvRows::key ? 64 * (d / 4) : half + token / 4 * 4 * D + 64 * (d / 16);
  return static_cast<std::size_t>(vector + 4 * lane + member);
}

std::size_t scale_at(int D, KvRows::Part part, int token) {
  return static_cast<std::size_t>(2 * kv_block_tokens * D +
                                  2 * (part == KvRows::key ? token : kv_block_tokens + token));
}

}  // namespace

// body(layer, slot, head, part, bytes of its head, token) for every key and value of a block.
template <typename Byte, typename Body>
void KvRows::for_each_row(int block, Byte* bytes, Body body) const {
  for (int layer = 0; layer < shape.layers; ++layer)
    for (int g = 0; g < shape.kv_heads; ++g, bytes += kv_head_bytes(shape))
      for (int token = 0; token < kv_block_tokens; ++token)
        for (const Part part : {key, value}) body(layer, block * kv_block_tokens + token, g, part, bytes, token);
}

void KvRows::export_block(std::uint8_t* out, int block) const {
  const int D = shape.head_size;
  for_each_row(block, out, [&](int layer, int slot, int g, Part part, std::uint8_t* head, int token) {
    for (int d = 0; d < D; ++d) {
      const std::uint16_t bits = code_bits(shape.dtype, codes(layer, slot, g, part)[d]);
      std::memcpy(head + code_at(shape.dtype, D, part, token, d), &bits, traits(shape.dtype).value_bytes);
    }
    const std::uint16_t bits = upper_half(scale(layer, slot, g, part));
    if (traits(shape.dtype).scaled) std::memcpy(head + scale_at(D, part, token), &bits, sizeof(bits));
  });
}

void KvRows::import_block(int block, const std::uint8_t* bytes) {
  const int D = shape.head_size;
  for_each_row(block, bytes, [&](int layer, int slot, int g, Part part, const std::uint8_t* head, int token) {
    const std::size_t row = at(layer, slot, g, part);
    std::uint16_t bits = 0;
    for (int d = 0; d < D; ++d) {
      std::memcpy(&bits, head + code_at(shape.dtype, D, part, token, d), traits(shape.dtype).value_bytes);
      codes_[row * static_cast<std::size_t>(D) + d] = code_of(shape.dtype, bits);
    }
    if (!traits(shape.dtype).scaled) return;
    std::memcpy(&bits, head + scale_at(D, part, token), sizeof(bits));
    scales_[row] = bf16_to_f32(bits);
  });
}

}  // namespace octavo::reference

// Bits: logic, shifts, fields, bytes, counts.
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

template <class T>
T left(T a, u32 by) {
  return by >= sizeof(T) * 8 ? T(0) : static_cast<T>(a << by);
}
// An arithmetic shift by the width or more leaves the sign everywhere.
template <class T>
T right(T a, u32 by) {
  constexpr u32 width = sizeof(T) * 8;
  if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> (by >= width ? width - 1 : by));
  return by >= width ? T(0) : static_cast<T>(a >> by);
}

// Bit (a, b, c) of the result is bit 4a + 2b + c of the table.
u32 lop3(u32 a, u32 b, u32 c, u32 table) {
  u32 out = 0;
  for (int k = 0; k < 8; ++k) {
    const u32 here = (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
    out |= (table >> k) & 1 ? here : 0;
  }
  return out;
}

// Four bytes chosen of eight; a selector's bit 3 spreads the byte's sign instead.
u32 prmt(u32 a, u32 b, u32 selector) {
  const u64 bytes = a | static_cast<u64>(b) << 32;
  u32 out = 0;
  for (int k = 0; k < 4; ++k) {
    const u32 s = selector >> (4 * k);
    u32 byte = static_cast<u32>(bytes >> (8 * (s & 7))) & 0xff;
    if (s & 8) byte = byte & 0x80 ? 0xff : 0;
    out |= byte << (8 * k);
  }
  return out;
}

template <class T>
T extract(T value, u32 position, u32 length) {
  using U = std::make_unsigned_t<T>;
  constexpr u32 width = sizeof(T) * 8;
  position &= 0xff, length &= 0xff;
  const U a = static_cast<U>(value);
  const u32 last = position + length == 0 ? 0 : std::min(position + length - 1, width - 1);
  const bool sign = std::is_signed_v<T> && length != 0 && ((a >> last) & 1);
  U out = 0;
  for (u32 k = 0; k < width; ++k) {
    const bool bit = k < length && position + k < width ? (a >> (position + k)) & 1 : sign;
    out |= static_cast<U>(bit) << k;
  }
  return static_cast<T>(out);
}
template <class T>
T insert(T a, T b, u32 position, u32 length) {
  constexpr u32 width = sizeof(T) * 8;
  position &= 0xff, length &= 0xff;
  for (u32 k = 0; k < length && position + k < width; ++k) {
    const T at = T(1) << (position + k);
    b = (a >> k) & 1 ? b | at : b & ~at;
  }
  return b;
}
u32 reverse(u32 a) {
  u32 out = 0;
  for (int k = 0; k < 32; ++k) out |= ((a >> k) & 1) << (31 - k);
  return out;
}
u32 funnel_left(u32 a, u32 b, u32 by) { return static_cast<u32>((((static_cast<u64>(b) << 32) | a) << by) >> 32); }
u32 funnel_right(u32 a, u32 b, u32 by) { return static_cast<u32>(((static_cast<u64>(b) << 32) | a) >> by); }

const Row rows[] = {
    lanes<[](u16 a, u16 b) -> u16 { return a & b; }>("and.b16", "bits"),
    lanes<[](u32 a, u32 b) { return a & b; }>("and.b32", "bits"),
    lanes<[](u64 a, u64 b) { return a & b; }>("and.b64", "bits"),
    lanes<[](bool a, bool b) { return a && b; }>("and.pred", "bits"),
    lanes<[](u16 a, u16 b) -> u16 { return a | b; }>("or.b16", "bits"),
    lanes<[](u32 a, u32 b) { return a | b; }>("or.b32", "bits"),
    lanes<[](u64 a, u64 b) { return a | b; }>("or.b64", "bits"),
    lanes<[](bool a, bool b) { return a || b; }>("or.pred", "bits"),
    lanes<[](u16 a, u16 b) -> u16 { return a ^ b; }>("xor.b16", "bits"),
    lanes<[](u32 a, u32 b) { return a ^ b; }>("xor.b32", "bits"),
    lanes<[](u64 a, u64 b) { return a ^ b; }>("xor.b64", "bits"),
    lanes<[](bool a, bool b) { return a != b; }>("xor.pred", "bits"),
    lanes<[](u16 a) -> u16 { return static_cast<u16>(~a); }>("not.b16", "bits"),
    lanes<[](u32 a) { return ~a; }>("not.b32", "bits"),
    lanes<[](u64 a) { return ~a; }>("not.b64", "bits"),
    lanes<[](bool a) { return !a; }>("not.pred", "bits"),
    lanes<left<u16>>("shl.b16", "bits"),
    lanes<left<u32>>("shl.b32", "bits"),
    lanes<left<u64>>("shl.b64", "bits"),
    lanes<right<u16>>("shr.{u16,b16}", "bits"),
    lanes<right<u32>>("shr.{u32,b32}", "bits"),
    lanes<right<u64>>("shr.{u64,b64}", "bits"),
    lanes<right<std::int16_t>>("shr.s16", "bits"),
    lanes<right<std::int32_t>>("shr.s32", "bits"),
    lanes<right<std::int64_t>>("shr.s64", "bits"),
    lanes<lop3>("lop3.b32", "bits"),
    lanes<prmt>("prmt.b32", "bits"),
    lanes<extract<u32>>("bfe.u32", "bits"),
    lanes<extract<u64>>("bfe.u64", "bits"),
    lanes<extract<std::int32_t>>("bfe.s32", "bits"),
    lanes<extract<std::int64_t>>("bfe.s64", "bits"),
    lanes<insert<u32>>("bfi.b32", "bits"),
    lanes<insert<u64>>("bfi.b64", "bits"),
    lanes<reverse>("brev.b32", "bits"),
    lanes<[](u32 a) -> u32 { return static_cast<u32>(std::popcount(a)); }>("popc.b32", "bits"),
    lanes<[](u64 a) -> u32 { return static_cast<u32>(std::popcount(a)); }>("popc.b64", "bits"),
    lanes<[](u32 a) -> u32 { return static_cast<u32>(std::countl_zero(a)); }>("clz.b32", "bits"),
    lanes<[](u64 a) -> u32 { return static_cast<u32>(std::countl_zero(a)); }>("clz.b64", "bits"),
    // How far the highest bit is from the top; none: all ones.
    lanes<[](u32 a) -> u32 { return a ? static_cast<u32>(std::countl_zero(a)) : ~0u; }>("bfind.shiftamt.u32", "bits"),
    lanes<[](u32 a, u32 b, u32 c) { return funnel_left(a, b, c & 31); }>("shf.l.wrap.b32", "bits"),
    lanes<[](u32 a, u32 b, u32 c) { return funnel_right(a, b, c & 31); }>("shf.r.wrap.b32", "bits"),
    lanes<[](u32 a, u32 b, u32 c) { return funnel_left(a, b, std::min(c, 32u)); }>("shf.l.clamp.b32", "bits"),
    lanes<[](u32 a, u32 b, u32 c) { return funnel_right(a, b, std::min(c, 32u)); }>("shf.r.clamp.b32", "bits"),
};

}  // namespace

std::span<const Row> bit_rows() { return rows; }

}  // namespace octavo::ptx

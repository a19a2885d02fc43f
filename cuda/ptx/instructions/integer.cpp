// Integer arithmetic: sums, products, quotients, extrema. Results wrap as two's complement does.
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

// A quotient by zero is whatever the machine likes; the smallest number by -1 is itself.
template <class T>
T quotient(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if (std::is_signed_v<T> && b == static_cast<T>(-1))
    return static_cast<T>(std::make_unsigned_t<T>(0) - std::make_unsigned_t<T>(a));
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
template <class T>
T larger(T a, T b) {
  return a > b ? a : b;
}
template <class T>
T smaller(T a, T b) {
  return a < b ? a : b;
}
u64 high(u64 a, u64 b) { return static_cast<u64>((static_cast<unsigned __int128>(a) * b) >> 64); }
i64 high_signed(i64 a, i64 b) { return static_cast<i64>((static_cast<__int128>(a) * b) >> 64); }

const Row rows[] = {
    lanes<[](u16 a, u16 b) -> u16 { return static_cast<u16>(a + b); }>("add.{s16,u16}", "integer"),
    lanes<[](u32 a, u32 b) { return a + b; }>("add.{s32,u32}", "integer"),
    lanes<[](u64 a, u64 b) { return a + b; }>("add.{s64,u64}", "integer"),
    lanes<[](u16 a, u16 b) -> u16 { return static_cast<u16>(a - b); }>("sub.{s16,u16}", "integer"),
    lanes<[](u32 a, u32 b) { return a - b; }>("sub.{s32,u32}", "integer"),
    lanes<[](u64 a, u64 b) { return a - b; }>("sub.{s64,u64}", "integer"),
    lanes<[](u16 a, u16 b) -> u16 { return static_cast<u16>(u32(a) * b); }>("mul.lo.{s16,u16}", "integer"),
    lanes<[](u32 a, u32 b) { return a * b; }>("mul.lo.{s32,u32}", "integer"),
    lanes<[](u64 a, u64 b) { return a * b; }>("mul.lo.{s64,u64}", "integer"),
    lanes<[](i16 a, i16 b) -> i32 { return i32(a) * b; }>("mul.wide.s16", "integer"),
    lanes<[](u16 a, u16 b) -> u32 { return u32(a) * b; }>("mul.wide.u16", "integer"),
    lanes<[](i32 a, i32 b) -> i64 { return i64(a) * b; }>("mul.wide.s32", "integer"),
    lanes<[](u32 a, u32 b) -> u64 { return u64(a) * b; }>("mul.wide.u32", "integer"),
    lanes<[](i32 a, i32 b) -> i32 { return static_cast<i32>((i64(a) * b) >> 32); }>("mul.hi.s32", "integer"),
    lanes<[](u32 a, u32 b) -> u32 { return static_cast<u32>((u64(a) * b) >> 32); }>("mul.hi.u32", "integer"),
    lanes<[](i64 a, i64 b) { return high_signed(a, b); }>("mul.hi.s64", "integer"),
    lanes<[](u64 a, u64 b) { return high(a, b); }>("mul.hi.u64", "integer"),
    lanes<[](u16 a, u16 b, u16 c) -> u16 { return static_cast<u16>(u32(a) * b + c); }>("mad.lo.{s16,u16}", "integer"),
    lanes<[](u32 a, u32 b, u32 c) { return a * b + c; }>("mad.lo.{s32,u32}", "integer"),
    lanes<[](u64 a, u64 b, u64 c) { return a * b + c; }>("mad.lo.{s64,u64}", "integer"),
    lanes<[](i32 a, i32 b, u64 c) -> u64 { return static_cast<u64>(i64(a) * b) + c; }>("mad.wide.s32", "integer"),
    lanes<[](u32 a, u32 b, u64 c) -> u64 { return u64(a) * b + c; }>("mad.wide.u32", "integer"),
    lanes<[](u32 a, u32 b, u32 c) -> u32 { return static_cast<u32>((u64(a) * b) >> 32) + c; }>("mad.hi.u32", "integer"),
    lanes<[](i32 a, i32 b, u32 c) -> u32 { return static_cast<u32>((i64(a) * b) >> 32) + c; }>("mad.hi.s32", "integer"),
    lanes<quotient<i16>>("div.s16", "integer"),
    lanes<quotient<u16>>("div.u16", "integer"),
    lanes<quotient<i32>>("div.s32", "integer"),
    lanes<quotient<u32>>("div.u32", "integer"),
    lanes<quotient<i64>>("div.s64", "integer"),
    lanes<quotient<u64>>("div.u64", "integer"),
    lanes<remainder<i16>>("rem.s16", "integer"),
    lanes<remainder<u16>>("rem.u16", "integer"),
    lanes<remainder<i32>>("rem.s32", "integer"),
    lanes<remainder<u32>>("rem.u32", "integer"),
    lanes<remainder<i64>>("rem.s64", "integer"),
    lanes<remainder<u64>>("rem.u64", "integer"),
    lanes<larger<i16>>("max.s16", "integer"),
    lanes<larger<u16>>("max.u16", "integer"),
    lanes<larger<i32>>("max.s32", "integer"),
    lanes<larger<u32>>("max.u32", "integer"),
    lanes<larger<i64>>("max.s64", "integer"),
    lanes<larger<u64>>("max.u64", "integer"),
    lanes<smaller<i16>>("min.s16", "integer"),
    lanes<smaller<u16>>("min.u16", "integer"),
    lanes<smaller<i32>>("min.s32", "integer"),
    lanes<smaller<u32>>("min.u32", "integer"),
    lanes<smaller<i64>>("min.s64", "integer"),
    lanes<smaller<u64>>("min.u64", "integer"),
    lanes<[](u16 a) -> u16 { return static_cast<u16>(-a); }>("neg.s16", "integer"),
    lanes<[](u32 a) -> u32 { return 0u - a; }>("neg.s32", "integer"),
    lanes<[](u64 a) -> u64 { return u64(0) - a; }>("neg.s64", "integer"),
    lanes<[](i16 a) -> u16 { return static_cast<u16>(a < 0 ? -a : a); }>("abs.s16", "integer"),
    lanes<[](i32 a) -> u32 { return a < 0 ? 0u - static_cast<u32>(a) : static_cast<u32>(a); }>("abs.s32", "integer"),
    lanes<[](i64 a) -> u64 { return a < 0 ? u64(0) - static_cast<u64>(a) : static_cast<u64>(a); }>("abs.s64",
                                                                                                   "integer"),
};

}  // namespace

std::span<const Row> integer_rows() { return rows; }

}  // namespace octavo::ptx

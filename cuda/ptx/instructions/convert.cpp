// cvt: integers to one another, to and from floating point, and between floating-point types. A register may be wider
// than the type it holds: it is read by its low bits, and written with its type's sign.
#include <limits>

#include "numbers.h"
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

template <auto F, class R, class A>
void convert(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) {
    const R out = F(from_slot<A>(static_cast<Slot<A>>(wide(w, i.op[1], l))));
    if constexpr (std::is_integral_v<R>) {
      set_wide(w, i.op[0], l, static_cast<u64>(static_cast<i64>(out)));
    } else {
      set_wide(w, i.op[0], l, to_slot<R>(out));
    }
  });
}
template <auto F, class R, class A>
constexpr Row row_for(const char* pattern, R (*)(A)) {
  return {pattern, "Cc", convert<F, R, A>, "convert"};
}
template <auto F>
constexpr Row one(const char* pattern) {
  return row_for<F>(pattern, +F);
}

template <class R, class A>
R resize(A a) {
  return static_cast<R>(a);
}
#define OCTAVO_INTEGERS(R, name)                                                        \
  one<resize<R, u8>>("cvt." name ".u8"), one<resize<R, i8>>("cvt." name ".s8"),         \
      one<resize<R, u16>>("cvt." name ".u16"), one<resize<R, i16>>("cvt." name ".s16"), \
      one<resize<R, u32>>("cvt." name ".u32"), one<resize<R, i32>>("cvt." name ".s32"), \
      one<resize<R, u64>>("cvt." name ".u64"), one<resize<R, i64>>("cvt." name ".s64")

// Values beyond a type become its last. What is no number becomes 0, or, from f64 and into 64 bits, the highest bit
// alone. (PTX ISA, "cvt".)
template <class A, Rounding rounding>
A whole_number(A a) {
  switch (rounding) {
    case Rounding::nearest:
      return canonical(std::nearbyint(a));
    case Rounding::zero:
      return canonical(std::trunc(a));
    case Rounding::down:
      return canonical(std::floor(a));
    default:
      return canonical(std::ceil(a));
  }
}
template <class R, class A, Rounding rounding>
R whole(A a) {
  if (a != a) return sizeof(A) == 8 || sizeof(R) == 8 ? static_cast<R>(std::uint64_t(1) << (8 * sizeof(R) - 1)) : 0;
  const double x = whole_number<double, rounding>(a);
  if (x <= static_cast<double>(std::numeric_limits<R>::min())) return std::numeric_limits<R>::min();
  if (x >= static_cast<double>(std::numeric_limits<R>::max())) return std::numeric_limits<R>::max();
  return static_cast<R>(x);
}
#define OCTAVO_ROUNDED(R, name, A, from)                          \
  one<whole<R, A, Rounding::nearest>>("cvt.rni." name "." from),  \
      one<whole<R, A, Rounding::zero>>("cvt.rzi." name "." from), \
      one<whole<R, A, Rounding::down>>("cvt.rmi." name "." from), \
      one<whole<R, A, Rounding::up>>("cvt.rpi." name "." from)
#define OCTAVO_WHOLE(A, name)                                         \
  one<whole_number<A, Rounding::nearest>>("cvt.rni." name "." name),  \
      one<whole_number<A, Rounding::zero>>("cvt.rzi." name "." name), \
      one<whole_number<A, Rounding::down>>("cvt.rmi." name "." name), \
      one<whole_number<A, Rounding::up>>("cvt.rpi." name "." name)

template <Rounding rounding>
u32 two_halves(float high, float low) {
  return static_cast<u32>(to_half(high, rounding)) << 16 | to_half(low, rounding);
}
template <Rounding rounding>
u32 two_bf16(float high, float low) {
  return static_cast<u32>(to_bf16(high, rounding)) << 16 | to_bf16(low, rounding);
}
u16 two_e4m3(float high, float low) { return static_cast<u16>(to_e4m3(high) << 8 | to_e4m3(low)); }
u32 halves_of_e4m3(u16 a) {
  return static_cast<u32>(to_half(e4m3_to_float(static_cast<u8>(a >> 8)))) << 16 |
         to_half(e4m3_to_float(static_cast<u8>(a)));
}

const Row rows[] = {
    OCTAVO_INTEGERS(u8, "u8"),
    OCTAVO_INTEGERS(i8, "s8"),
    OCTAVO_INTEGERS(u16, "u16"),
    OCTAVO_INTEGERS(i16, "s16"),
    OCTAVO_INTEGERS(u32, "u32"),
    OCTAVO_INTEGERS(i32, "s32"),
    OCTAVO_INTEGERS(u64, "u64"),
    OCTAVO_INTEGERS(i64, "s64"),
    one<resize<float, u8>>("cvt.rn.f32.u8"),
    one<resize<float, i8>>("cvt.rn.f32.s8"),
    one<resize<float, u16>>("cvt.rn.f32.u16"),
    one<resize<float, i16>>("cvt.rn.f32.s16"),
    one<resize<float, u32>>("cvt.rn.f32.u32"),
    one<resize<float, i32>>("cvt.rn.f32.s32"),
    one<resize<float, u64>>("cvt.rn.f32.u64"),
    one<resize<float, i64>>("cvt.rn.f32.s64"),
    one<resize<double, u32>>("cvt.rn.f64.u32"),
    one<resize<double, i32>>("cvt.rn.f64.s32"),
    one<resize<double, u64>>("cvt.rn.f64.u64"),
    one<resize<double, i64>>("cvt.rn.f64.s64"),
    one<[](i16 a) -> Half { return {to_half(a)}; }>("cvt.rn.f16.s16"),
    one<[](u16 a) -> Half { return {to_half(a)}; }>("cvt.rn.f16.u16"),
    one<[](i32 a) -> Half { return {to_half(a)}; }>("cvt.rn.f16.s32"),
    one<[](u32 a) -> Half { return {to_half(a)}; }>("cvt.rn.f16.u32"),
    OCTAVO_ROUNDED(i8, "s8", float, "f32"),
    OCTAVO_ROUNDED(u8, "u8", float, "f32"),
    OCTAVO_ROUNDED(i16, "s16", float, "f32"),
    OCTAVO_ROUNDED(u16, "u16", float, "f32"),
    OCTAVO_ROUNDED(i32, "s32", float, "f32"),
    OCTAVO_ROUNDED(u32, "u32", float, "f32"),
    OCTAVO_ROUNDED(i32, "s32", double, "f64"),
    OCTAVO_ROUNDED(u32, "u32", double, "f64"),
    OCTAVO_ROUNDED(i64, "s64", double, "f64"),
    OCTAVO_WHOLE(float, "f32"),
    OCTAVO_WHOLE(double, "f64"),
    one<[](Half a) -> float { return canonical(half_to_float(a.bits)); }>("cvt.f32.f16"),
    one<[](Bf16 a) -> float { return canonical(bf16_to_float(a.bits)); }>("cvt.f32.bf16"),
    one<[](Half a) -> double { return canonical(static_cast<double>(half_to_float(a.bits))); }>("cvt.f64.f16"),
    one<[](float a) -> double { return canonical(static_cast<double>(a)); }>("cvt.f64.f32"),
    one<[](double a) -> float { return canonical(static_cast<float>(a)); }>("cvt.rn.f32.f64"),
    one<[](float a) -> Half { return {to_half(a)}; }>("cvt.rn.f16.f32"),
    one<[](float a) -> Half { return {to_half(a, Rounding::zero)}; }>("cvt.rz.f16.f32"),
    one<[](float a) -> Bf16 { return {to_bf16(a)}; }>("cvt.rn.bf16.f32"),
    one<[](float a) -> Bf16 { return {to_bf16(a, Rounding::zero)}; }>("cvt.rz.bf16.f32"),
    lanes<two_halves<Rounding::nearest>>("cvt.rn.f16x2.f32", "convert two"),
    lanes<two_halves<Rounding::zero>>("cvt.rz.f16x2.f32", "convert two"),
    lanes<two_bf16<Rounding::nearest>>("cvt.rn.bf16x2.f32", "convert two"),
    lanes<two_bf16<Rounding::zero>>("cvt.rz.bf16x2.f32", "convert two"),
    lanes<two_e4m3>("cvt.rn.satfinite.e4m3x2.f32", "convert two"),
    lanes<halves_of_e4m3>("cvt.rn.f16x2.e4m3x2", "convert two"),
};

}  // namespace

std::span<const Row> convert_rows() { return rows; }

}  // namespace octavo::ptx

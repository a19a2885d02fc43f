// Arithmetic on f16, bf16 and pairs of them. Sums, products and fused ones of such numbers are exact in f64 as far as
// their rounding needs it, so each is computed there and rounded once.
#include "numbers.h"
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

double value(Half x) { return half_to_float(x.bits); }
double value(Bf16 x) { return bf16_to_float(x.bits); }
template <class T>
T rounded(double x) {
  if constexpr (std::is_same_v<T, Half>)
    return {to_half(x)};
  else
    return {to_bf16(x)};
}
template <class T, auto F>
u32 pair(u32 a, u32 b, u32 c) {
  const auto at = [&](int k) {
    const auto part = [k](u32 x) { return value(T{static_cast<std::uint16_t>(x >> (16 * k))}); };
    return static_cast<u32>(rounded<T>(F(part(a), part(b), part(c))).bits) << (16 * k);
  };
  return at(0) | at(1);
}
constexpr auto sum = [](double a, double b, double) { return a + b; };
constexpr auto difference = [](double a, double b, double) { return a - b; };
constexpr auto product = [](double a, double b, double) { return a * b; };
constexpr auto fused = [](double a, double b, double c) { return std::fma(a, b, c); };

template <class T, auto F>
constexpr Row one(const char* pattern) {
  return lanes<[](T a, T b) { return rounded<T>(F(value(a), value(b), 0.0)); }>(pattern, "half");
}
template <class T, auto F>
constexpr Row two(const char* pattern) {
  return lanes<[](u32 a, u32 b) { return pair<T, F>(a, b, 0); }>(pattern, "half");
}

const Row rows[] = {
    one<Half, sum>("add{,.rn}.f16"),
    one<Half, difference>("sub{,.rn}.f16"),
    one<Half, product>("mul{,.rn}.f16"),
    lanes<[](Half a, Half b, Half c) { return rounded<Half>(fused(value(a), value(b), value(c))); }>("fma.rn.f16",
                                                                                                     "half"),
    two<Half, sum>("add{,.rn}.f16x2"),
    two<Half, difference>("sub{,.rn}.f16x2"),
    two<Half, product>("mul{,.rn}.f16x2"),
    lanes<[](u32 a, u32 b, u32 c) { return pair<Half, fused>(a, b, c); }>("fma.rn.f16x2", "half"),
    lanes<[](u32 a, u32 b, u32 c) { return pair<Bf16, fused>(a, b, c); }>("fma.rn.bf16x2", "half"),
};

}  // namespace

std::span<const Row> half_rows() { return rows; }

}  // namespace octavo::ptx

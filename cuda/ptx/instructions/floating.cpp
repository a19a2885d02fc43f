// f32 and f64 arithmetic, rounded to nearest even: IEEE 754 on both sides, so the host computes it. No approximate
// instruction is here: their bits are not the same on every GPU, and no kernel of ours may use one.
#include "numbers.h"
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

// NaN is nothing where the other is a number; -0 is below +0.
template <class T>
T larger(T a, T b) {
  if (a != a) return canonical(b);
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
template <class T>
T smaller(T a, T b) {
  if (a != a) return canonical(b);
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

const Row rows[] = {
    lanes<[](float a, float b) { return canonical(a + b); }>("add{,.rn}.f32", "float"),
    lanes<[](float a, float b) { return canonical(a - b); }>("sub{,.rn}.f32", "float"),
    lanes<[](float a, float b) { return canonical(a * b); }>("mul{,.rn}.f32", "float"),
    lanes<[](float a, float b, float c) { return canonical(std::fma(a, b, c)); }>("fma.rn.f32", "float"),
    lanes<[](float a, float b) { return canonical(a / b); }>("div.rn.f32", "float"),
    lanes<[](float a) { return canonical(1.0f / a); }>("rcp.rn.f32", "float"),
    lanes<[](float a) { return canonical(std::sqrt(a)); }>("sqrt.rn.f32", "float"),
    lanes<larger<float>>("max.f32", "float"),
    lanes<smaller<float>>("min.f32", "float"),
    lanes<[](u32 a) { return a ^ 0x80000000u; }>("neg.f32", "float"),
    lanes<[](u32 a) { return a & 0x7fffffffu; }>("abs.f32", "float"),
    lanes<[](u32 a, u32 b) { return (a & 0x80000000u) | (b & 0x7fffffffu); }>("copysign.f32", "float"),
    lanes<[](double a, double b) { return canonical(a + b); }>("add{,.rn}.f64", "float"),
    lanes<[](double a, double b) { return canonical(a - b); }>("sub{,.rn}.f64", "float"),
    lanes<[](double a, double b) { return canonical(a * b); }>("mul{,.rn}.f64", "float"),
    lanes<[](double a, double b, double c) { return canonical(std::fma(a, b, c)); }>("fma.rn.f64", "float"),
    lanes<[](double a, double b) { return canonical(a / b); }>("div.rn.f64", "float"),
    lanes<[](double a) { return canonical(1.0 / a); }>("rcp.rn.f64", "float"),
    lanes<[](double a) { return canonical(std::sqrt(a)); }>("sqrt.rn.f64", "float"),
    lanes<larger<double>>("max.f64", "float"),
    lanes<smaller<double>>("min.f64", "float"),
    lanes<[](u64 a) { return a ^ (u64(1) << 63); }>("neg.f64", "float"),
    lanes<[](u64 a) { return a & ~(u64(1) << 63); }>("abs.f64", "float"),
};

}  // namespace

std::span<const Row> float_rows() { return rows; }

}  // namespace octavo::ptx

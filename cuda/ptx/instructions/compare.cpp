// setp and selp. An ordered comparison with NaN is false, an unordered one (equ, ltu, ...) true.
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

enum class Is { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };

template <Is is, class T>
bool holds(T a, T b) {
  const bool unordered = a != a || b != b;
  switch (is) {
    case Is::eq:
      return a == b;
    case Is::ne:
      return !unordered && a != b;
    case Is::lt:
      return a < b;
    case Is::le:
      return a <= b;
    case Is::gt:
      return a > b;
    case Is::ge:
      return a >= b;
    case Is::equ:
      return unordered || a == b;
    case Is::neu:
      return unordered || a != b;
    case Is::ltu:
      return !(a >= b);
    case Is::leu:
      return !(a > b);
    case Is::gtu:
      return !(a <= b);
    case Is::geu:
      return !(a < b);
    case Is::num:
      return !unordered;
    default:
      return unordered;
  }
}

template <Is is, class T>
constexpr Row compare(const char* pattern) {
  return lanes<holds<is, T>>(pattern, "compare");
}
template <Is is, class T>
constexpr Row with_and(const char* pattern) {
  return lanes<[](T a, T b, bool c) { return holds<is, T>(a, b) && c; }>(pattern, "compare");
}
template <Is is, class T>
constexpr Row with_or(const char* pattern) {
  return lanes<[](T a, T b, bool c) { return holds<is, T>(a, b) || c; }>(pattern, "compare");
}

// Six relations of one type, plain and joined with a predicate.
#define OCTAVO_RELATIONS(T, name)                                                                                    \
  compare<Is::eq, T>("setp.eq." name), compare<Is::ne, T>("setp.ne." name), compare<Is::lt, T>("setp.lt." name),     \
      compare<Is::le, T>("setp.le." name), compare<Is::gt, T>("setp.gt." name), compare<Is::ge, T>("setp.ge." name), \
      with_and<Is::eq, T>("setp.eq.and." name), with_and<Is::ne, T>("setp.ne.and." name),                            \
      with_and<Is::lt, T>("setp.lt.and." name), with_and<Is::le, T>("setp.le.and." name),                            \
      with_and<Is::gt, T>("setp.gt.and." name), with_and<Is::ge, T>("setp.ge.and." name),                            \
      with_or<Is::eq, T>("setp.eq.or." name), with_or<Is::ne, T>("setp.ne.or." name),                                \
      with_or<Is::lt, T>("setp.lt.or." name), with_or<Is::le, T>("setp.le.or." name),                                \
      with_or<Is::gt, T>("setp.gt.or." name), with_or<Is::ge, T>("setp.ge.or." name)
#define OCTAVO_UNORDERED(T, name)                                                                                      \
  compare<Is::equ, T>("setp.equ." name), compare<Is::neu, T>("setp.neu." name), compare<Is::ltu, T>("setp.ltu." name), \
      compare<Is::leu, T>("setp.leu." name), compare<Is::gtu, T>("setp.gtu." name),                                    \
      compare<Is::geu, T>("setp.geu." name), compare<Is::num, T>("setp.num." name),                                    \
      compare<Is::nan, T>("setp.nan." name), with_and<Is::neu, T>("setp.neu.and." name),                               \
      with_or<Is::neu, T>("setp.neu.or." name)

const Row rows[] = {
    OCTAVO_RELATIONS(std::int16_t, "s16"),
    OCTAVO_RELATIONS(u16, "u16"),
    OCTAVO_RELATIONS(std::int32_t, "s32"),
    OCTAVO_RELATIONS(u32, "u32"),
    OCTAVO_RELATIONS(std::int64_t, "s64"),
    OCTAVO_RELATIONS(u64, "u64"),
    OCTAVO_RELATIONS(float, "f32"),
    OCTAVO_RELATIONS(double, "f64"),
    OCTAVO_UNORDERED(float, "f32"),
    OCTAVO_UNORDERED(double, "f64"),
    compare<Is::eq, u16>("setp.eq.b16"),
    compare<Is::ne, u16>("setp.ne.b16"),
    compare<Is::eq, u32>("setp.eq.b32"),
    compare<Is::ne, u32>("setp.ne.b32"),
    compare<Is::eq, u64>("setp.eq.b64"),
    compare<Is::ne, u64>("setp.ne.b64"),
    lanes<[](u16 a, u16 b, bool c) -> u16 { return c ? a : b; }>("selp.{b16,u16,s16}", "compare"),
    lanes<[](u32 a, u32 b, bool c) { return c ? a : b; }>("selp.{b32,u32,s32,f32}", "compare"),
    lanes<[](u64 a, u64 b, bool c) { return c ? a : b; }>("selp.{b64,u64,s64,f64}", "compare"),
};

#undef OCTAVO_RELATIONS
#undef OCTAVO_UNORDERED

}  // namespace

std::span<const Row> compare_rows() { return rows; }

}  // namespace octavo::ptx

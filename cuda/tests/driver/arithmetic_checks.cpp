// Arithmetic, bits and comparisons against plain C++: integers in 128 bits, f32 in f64, f64 in 128 bits, bits one by
// one.
#include <doctest.h>

#include <cmath>

#include "harness.h"

using namespace octavo::testing;

namespace {

using wide = __int128;
using quad = __float128;

u64 wrap(wide value, int bits) {
  return bits == 64 ? static_cast<u64>(value) : static_cast<u64>(value) & ((u64(1) << bits) - 1);
}

// Types of a form's sources, from its operands.
std::vector<std::vector<u64>> cases_for(const std::vector<std::string>& types, int n) {
  std::mt19937_64 random(types.size() * 1000 + static_cast<u64>(n));
  std::vector<std::vector<u64>> pools, cases;
  for (const auto& t : types) pools.push_back(samples(t, random, 12));
  for (int k = 0; k < n; ++k) {
    std::vector<u64> values;
    for (std::size_t s = 0; s < types.size(); ++s) {
      const auto& pool = pools[s];
      // Every pair of the first two sources' special values in the beginning, then random ones.
      const u64 at = s == 0   ? static_cast<u64>(k) % pool.size()
                     : s == 1 ? static_cast<u64>(k) / pools[0].size()
                              : random();
      values.push_back(pool[at % pool.size()]);
    }
    cases.push_back(values);
  }
  return cases;
}

template <class F>
void compare(const Checked& c, const std::vector<std::string>& types, F expected, int n = 512) {
  const auto cases = cases_for(types, n);
  const auto out = run_form(c.form, c.operands, cases);
  int wrong = 0;
  for (std::size_t k = 0; k < cases.size(); ++k) {
    const u64 want = expected(cases[k]);
    if (out[k] != want && wrong++ == 0) {
      for (const u64 v : cases[k]) CAPTURE(v);
      CHECK_MESSAGE(out[k] == want, c.form << " of case " << k << ": " << std::hex << cases[k][0] << ", "
                                           << (cases[k].size() > 1 ? cases[k][1] : 0) << ", "
                                           << (cases[k].size() > 2 ? cases[k][2] : 0));
    }
  }
  CHECK(wrong == 0);
}

void check_integer(const Checked& c) {
  const std::string& op = c.parts[0];
  const std::string t = c.type();
  const int bits = bits_of(t);
  const int sources = static_cast<int>(c.operands.size()) - 1;
  std::vector<std::string> types(static_cast<std::size_t>(sources), t);
  const bool wide_result = c.has("wide");
  const std::string sum_type = t[0] + std::to_string(2 * bits);
  if (op == "mad" && wide_result) types[2] = sum_type;
  compare(c, types, [&](const std::vector<u64>& v) -> u64 {
    const wide a = integer(v[0], t), b = sources > 1 ? integer(v[1], t) : 0;
    const wide s = sources > 2 ? integer(v[2], types[2]) : 0;
    const int out = wide_result ? 2 * bits : bits;
    // The product of two u64 does not fit into a signed 128; its bits do.
    const wide product = static_cast<wide>(static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b));
    if (op == "add") return wrap(a + b, out);
    if (op == "sub") return wrap(a - b, out);
    if (op == "mul" && c.has("hi"))
      return wrap(static_cast<wide>((is_signed(t) ? static_cast<unsigned __int128>(product >> bits)
                                                  : static_cast<unsigned __int128>(product) >> bits)),
                  out);
    if (op == "mul") return wrap(product, out);
    if (op == "mad" && c.has("hi")) return wrap((product >> bits) + s, out);
    if (op == "mad") return wrap(product + s, out);
    if (op == "div") return wrap(b == 0 ? -1 : a / b, out);
    if (op == "rem") return wrap(b == 0 ? a : a % b, out);
    if (op == "max") return wrap(a > b ? a : b, out);
    if (op == "min") return wrap(a < b ? a : b, out);
    if (op == "neg") return wrap(-a, out);
    if (op == "abs") return wrap(a < 0 ? -a : a, out);
    FAIL("what is " << c.form);
    return 0;
  });
}

bool bit(u64 v, int k) { return k >= 0 && k < 64 && ((v >> k) & 1); }

void check_bits(const Checked& c) {
  const std::string& op = c.parts[0];
  const std::string t = c.type();
  const int n = bits_of(t);
  const std::size_t sources = c.operands.size() - 1;
  std::vector<std::string> types(sources, t);
  if (op == "shl" || op == "shr") types[1] = "u32";
  if (op == "bfe") types[1] = types[2] = "u8";
  if (op == "bfi") types[2] = types[3] = "u8";
  compare(c, types, [&](const std::vector<u64>& v) -> u64 {
    if (op == "bfind") return v[0] ? 31 - static_cast<u64>(std::log2(static_cast<double>(v[0]))) : 0xffffffffu;
    if (op == "popc" || op == "clz") {
      u64 count = 0;
      for (int k = n - 1; k >= 0; --k) {
        if (op == "popc")
          count += bit(v[0], k);
        else if (bit(v[0], k))
          break;
        else
          ++count;
      }
      return count;
    }
    u64 out = 0;
    if (op == "prmt") {
      u8 bytes[8];
      for (int k = 0; k < 4; ++k)
        bytes[k] = static_cast<u8>(v[0] >> 8 * k), bytes[k + 4] = static_cast<u8>(v[1] >> 8 * k);
      for (int k = 3; k >= 0; --k) {
        const int selector = static_cast<int>(v[2] >> 4 * k) & 15;
        const u8 byte = bytes[selector & 7];
        out = out * 256 + (selector < 8 ? byte : byte > 127 ? 255 : 0);
      }
      return out;
    }
    for (int k = 0; k < n; ++k) {
      bool b = false;
      const bool x = bit(v[0], k), y = sources > 1 && bit(v[1], k), z = sources > 2 && bit(v[2], k);
      const bool sign = is_signed(t) && bit(v[0], n - 1);
      const u64 by = sources > 1 ? v[1] : 0;
      if (op == "and")
        b = x && y;
      else if (op == "or")
        b = x || y;
      else if (op == "xor")
        b = x != y;
      else if (op == "not")
        b = !x;
      else if (op == "brev")
        b = bit(v[0], n - 1 - k);
      else if (op == "shl")
        b = by < 64 && k >= static_cast<int>(by) && bit(v[0], k - static_cast<int>(by));
      else if (op == "shr")
        b = by >= 64 || k + static_cast<int>(by) >= n ? sign : bit(v[0], k + static_cast<int>(by));
      else if (op == "lop3")
        b = bit(v[3], (x ? 4 : 0) + (y ? 2 : 0) + (z ? 1 : 0));
      else if (op == "bfe") {
        const int position = static_cast<int>(v[1]), length = static_cast<int>(v[2]);
        // Behind the field is its last bit, or the operand's where the field goes beyond it.
        const bool fill = is_signed(t) && length > 0 && bit(v[0], std::min(position + length - 1, n - 1));
        b = k < length && position + k < n ? bit(v[0], position + k) : fill;
      } else if (op == "bfi") {
        const int position = static_cast<int>(v[2]), length = static_cast<int>(v[3]);
        b = k >= position && k < position + length ? bit(v[0], k - position) : y;
      } else if (op == "shf") {
        const int s = c.has("wrap") ? static_cast<int>(v[2] & 31) : static_cast<int>(std::min<u64>(v[2], 32));
        const u64 both = v[0] | v[1] << 32;
        b = c.has("l") ? bit(both, 32 + k - s) : bit(both, k + s);
      } else {
        FAIL("what is " << c.form);
      }
      out |= static_cast<u64>(b) << k;
    }
    return out;
  });
}

float f32(u64 bits) { return std::bit_cast<float>(static_cast<u32>(bits)); }
double f64(u64 bits) { return std::bit_cast<double>(bits); }
u64 bits_of_f32(double x) {
  const float f = static_cast<float>(x);
  return f != f ? 0x7fffffffu : std::bit_cast<u32>(f);
}
u64 bits_of_f64(double x) { return x != x ? 0x7ff8000000000000u : std::bit_cast<u64>(x); }
quad power_of_two(int e) {
  quad x = 1;
  for (; e > 0; --e) x *= 2;
  for (; e < 0; ++e) x /= 2;
  return x;
}
quad exact(double x) { return x; }

// In f64 a sum, product, quotient or root of f32 may be rounded twice without harm; a fused one needs more.
u64 expected_f32(const std::string& op, const std::vector<u64>& v) {
  const u32 sign = 0x80000000u;
  const double a = f32(v[0]), b = v.size() > 1 ? f32(v[1]) : 0, c = v.size() > 2 ? f32(v[2]) : 0;
  if (op == "add") return bits_of_f32(a + b);
  if (op == "sub") return bits_of_f32(a - b);
  if (op == "mul") return bits_of_f32(a * b);
  if (op == "div") return bits_of_f32(a / b);
  if (op == "rcp") return bits_of_f32(1 / a);
  if (op == "sqrt") return bits_of_f32(std::sqrt(a));
  if (op == "fma") {
    const double p = a * b;
    if (!std::isfinite(p) || !std::isfinite(c)) return bits_of_f32(p + c);
    const float r = static_cast<float>(exact(p) + exact(c));
    if (r == 0) return bits_of_f32(p + c);  // the sign of a zero
    return std::bit_cast<u32>(r);
  }
  if (op == "neg") return v[0] ^ sign;
  if (op == "abs") return v[0] & ~u64(sign);
  if (op == "copysign") return (v[0] & sign) | (v[1] & ~u64(sign));
  const bool a_nan = a != a, b_nan = b != b;
  if (a_nan && b_nan) return 0x7fffffff;
  if (a_nan) return v[1];
  if (b_nan) return v[0];
  const bool a_below = a < b || (a == b && std::signbit(a) && !std::signbit(b));
  return (op == "max") == a_below ? v[1] : v[0];
}
u64 expected_f64(const std::string& op, const std::vector<u64>& v) {
  const u64 sign = u64(1) << 63;
  const double a = f64(v[0]), b = v.size() > 1 ? f64(v[1]) : 0, c = v.size() > 2 ? f64(v[2]) : 0;
  if (op == "neg") return v[0] ^ sign;
  if (op == "abs") return v[0] & ~sign;
  if (op == "max" || op == "min") {
    if (a != a) return b != b ? 0x7ff8000000000000u : v[1];
    if (b != b) return v[0];
    const bool a_below = a < b || (a == b && std::signbit(a) && !std::signbit(b));
    return (op == "max") == a_below ? v[1] : v[0];
  }
  if (op == "sqrt") {
    const double r = std::sqrt(a);
    if (!(a > 0) || std::isinf(a)) return bits_of_f64(r);
    // The root's neighbours half a place away must enclose a.
    int e;
    std::frexp(r, &e);
    const quad half = power_of_two(e - 54), low = exact(r) - half, high = exact(r) + half;
    CHECK(low * low <= exact(a));
    CHECK(high * high >= exact(a));
    return bits_of_f64(r);
  }
  double plain = 0;
  quad q = 0;
  if (op == "add")
    plain = a + b, q = exact(a) + exact(b);
  else if (op == "sub")
    plain = a - b, q = exact(a) - exact(b);
  else if (op == "mul")
    plain = a * b, q = exact(a) * exact(b);
  else if (op == "div")
    plain = a / b, q = exact(a) / exact(b);
  else if (op == "rcp")
    plain = 1 / a, q = 1 / exact(a);
  else if (op == "fma")
    plain = a * b + c, q = exact(a) * exact(b) + exact(c);
  else
    FAIL("what is " << op);
  const double r = static_cast<double>(q);
  if (r == 0) return bits_of_f64(plain);  // the sign of a zero
  return bits_of_f64(r);
}
void check_float(const Checked& c) {
  const std::vector<std::string> types(c.operands.size() - 1, c.type());
  compare(c, types, [&](const std::vector<u64>& v) {
    return c.type() == "f32" ? expected_f32(c.parts[0], v) : expected_f64(c.parts[0], v);
  });
}

// f16 and bf16: the nearest of all numbers of the type, found by looking at each.
double small(u32 bits, bool bf16) {
  const int mantissa = bf16 ? 7 : 10, bias = bf16 ? 127 : 15;
  const int e = static_cast<int>(bits >> mantissa) & (bf16 ? 255 : 31);
  const int m = static_cast<int>(bits) & ((1 << mantissa) - 1);
  const double s = bits & 0x8000 ? -1 : 1;
  if (e == (bf16 ? 255 : 31)) return m ? NAN : s * INFINITY;
  return s * std::ldexp(e ? m + (1 << mantissa) : m, (e ? e : 1) - bias - mantissa);
}
u32 nearest(double x, bool bf16) {
  if (x != x) return 0x7fff;
  u32 low = 0, high = bf16 ? 0x7f80 : 0x7c00;  // magnitudes ascend with their bits
  const u32 infinity = high;
  const double magnitude = std::fabs(x);
  while (high - low > 1) {
    const u32 middle = (low + high) / 2;
    (small(middle, bf16) <= magnitude ? low : high) = middle;
  }
  const double above = high == infinity ? std::ldexp(1.0, bf16 ? 128 : 16) : small(high, bf16);
  const double down = magnitude - small(low, bf16), up = above - magnitude;
  const u32 r = std::isinf(x) ? infinity : down < up || (down == up && low % 2 == 0) ? low : high;
  return r | (std::signbit(x) ? 0x8000 : 0);
}
void check_half(const Checked& c) {
  const bool bf16 = c.type().starts_with("bf16"), two = c.type().ends_with("x2");
  const std::vector<std::string> types(c.operands.size() - 1, two ? "u32" : bf16 ? "bf16" : "f16");
  compare(c, types, [&](const std::vector<u64>& v) -> u64 {
    u64 out = 0;
    for (int k = 0; k < (two ? 2 : 1); ++k) {
      const auto at = [&](std::size_t s) { return small(static_cast<u32>(v[s] >> 16 * k) & 0xffff, bf16); };
      const double a = at(0), b = at(1);
      double r = 0;
      if (c.parts[0] == "add") r = a + b;
      if (c.parts[0] == "sub") r = a - b;
      if (c.parts[0] == "mul") r = a * b;
      if (c.parts[0] == "fma") r = static_cast<double>(exact(a * b) + exact(at(2)));
      out |= static_cast<u64>(nearest(r, bf16)) << 16 * k;
    }
    return out;
  });
}

void check_compare(const Checked& c) {
  const std::string t = c.type(), &op = c.parts[0];
  std::vector<std::string> types = {t, t};
  if (c.operands.size() == 4) types.push_back("pred");
  compare(c, types, [&](const std::vector<u64>& v) -> u64 {
    if (op == "selp") return v[2] ? v[0] : v[1];
    bool unordered = false;
    int order = 0;  // -1, 0, 1
    if (t[0] == 'f') {
      const double a = t == "f32" ? f32(v[0]) : f64(v[0]), b = t == "f32" ? f32(v[1]) : f64(v[1]);
      unordered = std::isnan(a) || std::isnan(b);
      order = a < b ? -1 : a > b ? 1 : 0;
    } else {
      const wide a = integer(v[0], t), b = integer(v[1], t);
      order = a < b ? -1 : a > b ? 1 : 0;
    }
    std::string relation = c.parts[1];
    bool r;
    if (relation == "num")
      r = !unordered;
    else if (relation == "nan")
      r = unordered;
    else {
      const bool or_unordered = relation.size() == 3;
      relation.resize(2);
      const bool said = relation == "eq"   ? order == 0
                        : relation == "ne" ? order != 0
                        : relation == "lt" ? order < 0
                        : relation == "le" ? order <= 0
                        : relation == "gt" ? order > 0
                                           : order >= 0;
      r = unordered ? or_unordered : said;
    }
    if (c.has("and")) r = r && v[2];
    if (c.has("or")) r = r || v[2];
    return r;
  });
}

const bool added = add_check("integer", check_integer) && add_check("bits", check_bits) &&
                   add_check("float", check_float) && add_check("half", check_half) &&
                   add_check("compare", check_compare);

}  // namespace

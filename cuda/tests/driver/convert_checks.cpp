// cvt against plain C++, and mov, cvta.
#include <doctest.h>

#include <cmath>

#include "harness.h"
#include "ptx/program.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

bool is_float(const std::string& t) { return t == "f16" || t == "bf16" || t == "f32" || t == "f64"; }

double value(u64 bits, const std::string& t) {
  if (t == "f64") return std::bit_cast<double>(bits);
  if (t == "f32") return std::bit_cast<float>(static_cast<u32>(bits));
  if (t == "bf16") return std::bit_cast<float>(static_cast<u32>(bits << 16));
  return static_cast<double>(std::bit_cast<_Float16>(static_cast<u16>(bits)));
}
float to_bf16(float x, bool zero) {
  u32 b = std::bit_cast<u32>(x);
  if (std::isinf(x)) return x;
  b += zero ? 0 : 0x7fff + ((b >> 16) & 1);
  return std::bit_cast<float>(b & 0xffff0000u);
}
u64 from_double(double x, const std::string& t, bool zero) {
  if (t == "f64") return x != x ? 0x7ff8000000000000u : std::bit_cast<u64>(x);
  if (t == "f32") return x != x ? 0x7fffffffu : std::bit_cast<u32>(static_cast<float>(x));
  if (x != x) return 0x7fff;
  if (t == "bf16") return std::bit_cast<u32>(to_bf16(static_cast<float>(x), zero)) >> 16;
  const auto half = static_cast<_Float16>(x);
  u16 bits = std::bit_cast<u16>(half);
  // Towards zero: one less where the nearest is beyond.
  if (zero && std::isfinite(x) && std::fabs(static_cast<double>(half)) > std::fabs(x)) --bits;
  return bits;
}

std::string letter(const std::string& t, bool destination) {
  const int n = bits_of(t);
  const char c = n == 64 ? 'd' : n == 32 ? 'w' : 'h';
  return std::string(1, destination ? static_cast<char>(c - 'a' + 'A') : c);
}

u64 expected(const Checked& c, u64 bits) {
  const std::string to = c.type(1), from = c.type(0);
  const std::string rounding = c.parts.size() > 3 ? c.parts[1] : "";
  if (!is_float(from)) {
    const __int128 v = integer(bits, from);
    if (!is_float(to)) {
      // A register of 16 bits holds a type of 8 with its sign.
      const u64 wrapped = static_cast<u64>(integer(static_cast<u64>(v), to));
      const int held = std::max(bits_of(to), 16);
      return held == 64 ? wrapped : wrapped & ((u64(1) << held) - 1);
    }
    if (to == "f32") return std::bit_cast<u32>(static_cast<float>(static_cast<__float128>(v)));
    if (to == "f64") return std::bit_cast<u64>(static_cast<double>(static_cast<__float128>(v)));
    return from_double(static_cast<double>(v), to, false);
  }
  double x = value(bits, from);
  if (rounding == "rni") {
    const double down = std::floor(x);
    const double rest = x - down;
    if (std::fabs(x) < 1e15)
      x = std::copysign(rest < 0.5 || (rest == 0.5 && std::fmod(down, 2) == 0) ? down : down + 1, x);
  }
  if (rounding == "rzi") x = std::trunc(x);
  if (rounding == "rmi") x = std::floor(x);
  if (rounding == "rpi") x = std::ceil(x);
  if (is_float(to)) return from_double(x, to, rounding == "rz");
  const int n = bits_of(to);
  if (x != x) return from == "f64" || n == 64 ? u64(1) << (n - 1) : 0;
  const double least = is_signed(to) ? -std::ldexp(1, n - 1) : 0, most = std::ldexp(1, is_signed(to) ? n - 1 : n) - 1;
  if (n == 64 && std::fabs(x) >= 0x1p63) return x < 0 ? u64(1) << 63 : ~u64(0) >> 1;
  const auto whole = static_cast<long long>(std::min(std::max(x, least), most));
  const int held = std::max(n, 16);
  return held == 64 ? static_cast<u64>(whole) : static_cast<u64>(whole) & ((u64(1) << held) - 1);
}

void check_convert(const Checked& c) {
  std::mt19937_64 random(7);
  auto pool = samples(c.type(0), random, 400);
  for (int k = 0; k < 60 && c.type(0)[0] == 'f'; ++k) {
    // Halves, and values near the ends of small integer types.
    const float x = static_cast<float>(static_cast<int>(random() % 140000) - 70000) / (k % 2 ? 2.0f : 128.0f);
    pool.push_back(c.type(0) == "f64"   ? std::bit_cast<u64>(static_cast<double>(x))
                   : c.type(0) == "f32" ? std::bit_cast<u32>(x)
                                        : random() & 0xffff);
  }
  std::vector<std::vector<u64>> cases;
  for (const u64 v : pool) cases.push_back({v});
  const auto out = run_form(c.form, letter(c.type(1), true) + letter(c.type(0), false), cases);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    if (out[k] != expected(c, cases[k][0])) {
      CHECK_MESSAGE(out[k] == expected(c, cases[k][0]), c.form << " of " << std::hex << cases[k][0]);
      return;
    }
  }
}

float e4m3(u32 b) {
  if ((b & 127) == 127) return NAN;
  const int e = (b >> 3) & 15, m = b & 7;
  return (b & 128 ? -1.0f : 1.0f) * std::ldexp(e ? 8.0f + m : static_cast<float>(m), (e ? e : 1) - 10);
}
u32 nearest_e4m3(float x) {
  if (x != x) return 127;
  u32 best = 0;
  for (u32 b = 1; b < 127; ++b) {
    const double d = std::fabs(std::fabs(x) - static_cast<double>(e4m3(b))),
                 so_far = std::fabs(std::fabs(x) - static_cast<double>(e4m3(best)));
    if (d < so_far || (d == so_far && b % 2 == 0)) best = b;
  }
  if (std::isinf(x)) best = 126;
  return best | (std::signbit(x) ? 128 : 0);
}
void check_two(const Checked& c) {
  std::mt19937_64 random(11);
  std::vector<std::vector<u64>> cases;
  if (c.type(0) == "e4m3x2") {
    for (u64 k = 0; k < 65536; k += 7) cases.push_back({k});
  } else {
    auto pool = samples("f32", random, 300);
    for (int k = 0; k < 300; ++k)
      pool.push_back(std::bit_cast<u32>(static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 64));
    for (std::size_t k = 0; k < pool.size(); ++k) cases.push_back({pool[k], pool[(k * 7 + 3) % pool.size()]});
  }
  const auto out = run_form(c.form, c.operands, cases);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    u64 want;
    if (c.type(0) == "e4m3x2") {
      const u64 v = cases[k][0];
      want = from_double(e4m3(static_cast<u32>(v >> 8)), "f16", false) << 16 | from_double(e4m3(v & 255), "f16", false);
    } else {
      const float high = std::bit_cast<float>(static_cast<u32>(cases[k][0])),
                  low = std::bit_cast<float>(static_cast<u32>(cases[k][1]));
      if (c.type(1) == "e4m3x2") {
        want = nearest_e4m3(high) << 8 | nearest_e4m3(low);
      } else {
        const std::string t = c.type(1) == "f16x2" ? "f16" : "bf16";
        want = from_double(high, t, c.has("rz")) << 16 | from_double(low, t, c.has("rz"));
      }
    }
    if (out[k] != want) {
      CHECK_MESSAGE(out[k] == want, c.form << " of " << std::hex << cases[k][0]);
      return;
    }
  }
}

void check_move(const Checked& c) {
  const std::string t = c.type();
  std::mt19937_64 random(3);
  std::vector<std::vector<u64>> cases;
  for (const u64 v : samples(t[0] == 'f' ? "b" + t.substr(1) : t, random, 60)) cases.push_back({v});
  const auto out = run_form(c.form, letter(t, true) + letter(t, false), cases);
  for (std::size_t k = 0; k < cases.size(); ++k) CHECK(out[k] == cases[k][0]);
  if (t != "b32" && t != "b64") return;
  // In parts and back, with and without a part that nobody wants; constants.
  const bool big = t == "b64";
  const std::string body =
      big ? "ld.global.b64 %d2, [%d0];\nmov.b64 {%r1, %r2}, %d2;\nmov.b64 %d3, {%r2, %r1};\nst.global.b64 [%d1], %d3;\n"
            "mov.b64 {_, %r3}, %d2;\nmov.b64 {%h0, %h1, %h2, %h3}, %d2;\nmov.b64 %d4, {%h3, %h2, %h1, %h0};\n"
            "st.global.b64 [%d1+8], %d4;\nmov.b64 %d5, -2;\nst.global.b64 [%d1+16], %d5;\nst.global.b32 [%d1+24], "
            "%r3;\n"
          : "ld.global.b32 %r1, [%d0];\nmov.b32 {%h0, %h1}, %r1;\nmov.b32 %r2, {%h1, %h0};\nst.global.b32 [%d1], %r2;\n"
            "mov.b32 {%h2, _}, %r1;\nst.global.b16 [%d1+4], %h2;\nmov.b32 %f1, 0f3fc00000;\nst.global.b32 [%d1+8], "
            "%f1;\n"
            "mov.b32 %r3, -2;\nst.global.b32 [%d1+12], %r3;\n";
  ptx::LaunchShape one;
  const std::vector<u64> in = {0x0123456789abcdefu};
  const auto result = run(kernel(body), bytes_of(in), 32, one).out;
  const auto words = values_of<u32>(result);
  if (big) {
    CHECK(values_of<u64>(result)[0] == 0x89abcdef01234567u);
    CHECK(values_of<u64>(result)[1] == 0xcdef89ab45670123u);
    CHECK(values_of<u64>(result)[2] == ~u64(1));
    CHECK(words[6] == 0x01234567u);
  } else {
    CHECK(words[0] == 0xcdef89abu);
    CHECK(words[1] == 0xeeeecdefu);
    CHECK(words[2] == 0x3fc00000u);
    CHECK(words[3] == 0xfffffffeu);
  }
}
void check_move_predicate(const Checked& c) {
  CHECK(run_form(c.form, "Pp", {{0}, {1}, {1}, {0}}) == std::vector<u64>{0, 1, 1, 0});
  ptx::LaunchShape one;
  const auto out =
      run(kernel("mov.pred %p1, 1;\nmov.pred %p2, 0;\nmov.pred %p3, !%p1;\nselp.u32 %r1, 1, 0, %p1;\nselp.u32 %r2, 1, "
                 "0, %p2;\n"
                 "selp.u32 %r3, 1, 0, %p3;\nst.global.v2.u32 [%d1], {%r1, %r2};\nst.global.u32 [%d1+8], %r3;"),
          {}, 12, one)
          .out;
  CHECK(values_of<u32>(out) == std::vector<u32>{1, 0, 0});
}

// An address of a space as a generic one, through which the same bytes are read.
void check_address(const Checked& c) {
  const bool back = c.has("to");
  std::string space = "global";
  for (const char* s : {"shared", "local", "param"}) {
    if (c.has(s)) space = s;
  }
  std::string body;
  if (space == "shared") body += ".shared .align 8 .b8 here[64];\nmov.u64 %d2, here;\nst.shared.u32 [%d2+8], 4711;\n";
  if (space == "local") body += ".local .align 8 .b8 here[64];\nmov.u64 %d2, here;\nst.local.u32 [%d2+8], 4711;\n";
  if (space == "global") body += "mov.u64 %d2, %d0;\n";
  if (space == "param") body += "mov.b64 %d2, in;\n";
  body += "cvta." + space + ".u64 %d3, %d2;\n";
  if (back)
    body += "cvta.to." + space + ".u64 %d4, %d3;\nld." + space + ".u32 %r1, [%d4+8];\n";
  else
    body += "ld.u32 %r1, [%d3+8];\n";
  // The second parameter's low half is that of `out`.
  if (space == "param") body += "cvt.u32.u64 %r3, %d1;\nsetp.eq.s32 %p2, %r1, %r3;\nselp.u32 %r1, 4711, 0, %p2;\n";
  body +=
      "st.global.u32 [%d1], %r1;\nsetp.eq.s64 %p1, %d2, %d3;\nselp.u32 %r2, 1, 0, %p1;\nst.global.u32 [%d1+4], %r2;\n";
  const std::vector<u32> in = {1, 2, 4711, 3};
  ptx::LaunchShape one;
  const auto out = values_of<u32>(run(kernel(body), bytes_of(in), 8, one).out);
  CHECK(out[0] == 4711);
  CHECK(out[1] == (space == "global"));
}

const bool added = add_check("convert", check_convert) && add_check("convert two", check_two) &&
                   add_check("move", check_move) && add_check("move predicate", check_move_predicate) &&
                   add_check("address", check_address);

}  // namespace

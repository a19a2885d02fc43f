// ld, st, cp.async: the right bytes at the right places, and each rule of addresses.
#include <doctest.h>

#include <functional>

#include "harness.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

struct Access {
  std::string type, space;
  int vector = 1;
  int bits;
};
Access access_of(const Checked& c) {
  Access a{c.type(), "generic", 1, bits_of(c.type())};
  for (const char* s : {"global", "shared", "local", "param", "const"}) {
    if (c.has(s)) a.space = s;
  }
  if (c.has("v2")) a.vector = 2;
  if (c.has("v4")) a.vector = 4;
  return a;
}
// Registers as wide as the type or, where it is small, wider: names of `n` of them.
std::string list(const Access& a, int n) {
  std::string out = n > 1 ? "{" : "";
  for (int k = 0; k < n; ++k) out += (k ? ", " : "") + std::string(a.bits == 64 ? "%d" : "%r") + std::to_string(20 + k);
  return out + (n > 1 ? "}" : "");
}

// Moves bytes through the space with plain instructions, so that only the one in question may be wrong.
void check_access(const Checked& c) {
  const Access a = access_of(c);
  const bool load = c.parts[0] == "ld";
  const int bytes = a.bits / 8 * a.vector;
  std::vector<u8> in(64);
  for (std::size_t k = 0; k < in.size(); ++k) in[k] = static_cast<u8>(0x81 + 7 * k);
  std::string body;
  std::string where = "%d0+16";
  if (a.space == "shared" || a.space == "local") {
    body += "." + a.space + " .align 16 .b8 here[64];\n";
    where = "here+16";
  }
  if (load) {
    if (a.space == "shared" || a.space == "local") {
      for (int k = 0; k < bytes; ++k) {
        body += "ld.global.u8 %h1, [%d0+" + std::to_string(16 + k) + "];\nst." + a.space + ".u8 [here+" +
                std::to_string(16 + k) + "], %h1;\n";
      }
    }
    if (a.space == "param") where = "in";
    std::string before;
    if (a.space == "const") {
      before = ".const .align 16 .b8 table[64] = {";
      for (std::size_t k = 0; k < in.size(); ++k) before += (k ? ", " : "") + std::to_string(in[k]);
      before += "};\n";
      where = "table+16";
    }
    body += c.form + " " + list(a, a.vector) + ", [" + where + "];\n";
    // Widened by the type's sign.
    for (int k = 0; k < a.vector; ++k) {
      body += "st.global." + std::string(a.bits == 64 ? "u64" : "u32") + " [%d1+" + std::to_string(8 * k) + "], " +
              std::string(a.bits == 64 ? "%d" : "%r") + std::to_string(20 + k) + ";\n";
    }
    ptx::LaunchShape one;
    // A parameter's value is known to the program only: it is compared with the register that holds it.
    if (a.space == "param") body += "st.global.u64 [%d1+40], %d0;\nst.global.u64 [%d1+48], %d1;\n";
    const auto out = run(kernel(body, before), in, 64, one).out;
    const u8* from = a.space == "param" ? out.data() + 40 : in.data() + 16;
    for (int k = 0; k < a.vector; ++k) {
      u64 want = 0, got = 0;
      std::memcpy(&want, from + a.bits / 8 * k, static_cast<std::size_t>(a.bits / 8));
      if (a.space == "param" && bytes > 16) break;
      want = static_cast<u64>(integer(want, a.type[0] == 'f' ? "b" + a.type.substr(1) : a.type));
      if (a.bits != 64) want &= 0xffffffff;
      std::memcpy(&got, out.data() + 8 * k, a.bits == 64 ? 8 : 4);
      CHECK_MESSAGE(got == want, c.form << " register " << k);
    }
    return;
  }
  for (int k = 0; k < a.vector; ++k) {
    body += "ld.global." + std::string(a.bits == 64 ? "u64 %d" : "u32 %r") + std::to_string(20 + k) + ", [%d0+" +
            std::to_string(8 * k) + "];\n";
  }
  if (a.space == "generic" || a.space == "global") where = "%d1+16";
  body += c.form + " [" + where + "], " + list(a, a.vector) + ";\n";
  if (a.space == "shared" || a.space == "local") {
    for (int k = 0; k < bytes; ++k) {
      body += "ld." + a.space + ".u8 %h1, [here+" + std::to_string(16 + k) + "];\nst.global.u8 [%d1+" +
              std::to_string(16 + k) + "], %h1;\n";
    }
  }
  ptx::LaunchShape one;
  const auto out = run(kernel(body), in, 64, one).out;
  std::vector<u8> want(64, 0xEE);
  for (int k = 0; k < a.vector; ++k)
    std::memcpy(want.data() + 16 + a.bits / 8 * k, in.data() + 8 * k, static_cast<std::size_t>(a.bits / 8));
  CHECK_MESSAGE(out == want, c.form);
}

// A copy lands when it is waited for, not before; bytes that are not valid become zero; older groups first.
void check_copy(const Checked&) {
  std::vector<u8> in(256);
  for (std::size_t k = 0; k < in.size(); ++k) in[k] = static_cast<u8>(k + 1);
  const std::string copies =
      ".shared .align 16 .b8 here[64];\nmov.u32 %r1, here;\nst.shared.u32 [here], 77;\n"
      "cp.async.cg.shared.global [%r1], [%d0], 16;\ncp.async.commit_group;\n"
      "cp.async.cg.shared.global [%r1+16], [%d0+16], 16, 5;\ncp.async.ca.shared.global [%r1+32], [%d0+64], "
      "8;\ncp.async.commit_group;\n"
      "mov.u32 %r9, 0;\ncp.async.ca.shared.global [%r1+40], [%d0+128], 4, %r9;\n";
  const auto look = [](int at) {
    return "ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [here+" + std::to_string(at) + "];\nst.global.v4.u32 [%d1+" +
           std::to_string(at) + "], {%r4, %r5, %r6, %r7};\n";
  };
  const auto result = [&](const std::string& wait) {
    ptx::LaunchShape one;
    return run(kernel(copies + wait + look(0) + look(16) + look(32)), in, 48, one).out;
  };
  const auto early = result("");
  CHECK(values_of<u32>(early)[0] == 77);
  const auto first = result("cp.async.wait_group 1;\n");
  CHECK(std::equal(first.begin(), first.begin() + 16, in.begin()));
  CHECK(first[16] == 0xA5);
  const auto second = result("cp.async.wait_group 0;\n");
  CHECK(std::equal(second.begin() + 16, second.begin() + 21, in.begin() + 16));
  CHECK(std::vector<u8>(second.begin() + 21, second.begin() + 32) == std::vector<u8>(11, 0));
  CHECK(std::equal(second.begin() + 32, second.begin() + 40, in.begin() + 64));
  CHECK(second[40] == 0xA5);
  const auto all = result("cp.async.wait_all;\n");
  CHECK(values_of<u32>(all)[10] == 0);
}

// All lanes on one place, of a table of values: what is there at the end, and that each lane saw another one's result.
void check_atomic(const Checked& c) {
  const bool shared = c.has("shared"), result = c.parts[0] == "atom", big = bits_of(c.type()) == 64;
  const std::string t = c.type(), r = big ? "%d" : "%r", plain = big ? "u64" : "u32";
  const std::string where = shared ? "here+8" : "%d0+" + std::to_string(32 * 8);
  std::mt19937_64 random(9);
  std::vector<u64> in(34);
  for (u64& v : in) v = big ? random() : static_cast<u32>(random());
  std::string body = "mul.wide.u32 %d2, %r0, 8;\nadd.s64 %d3, %d2, %d0;\nadd.s64 %d4, %d2, %d1;\nld.global." + plain +
                     " " + r + "10, [%d3];\n";
  if (shared)
    body += ".shared .align 8 .b8 here[16];\nld.global." + plain + " " + r + "11, [%d0+256];\nst.shared." + plain +
            " [here+8], " + r + "11;\nbar.warp.sync -1;\n";
  body += c.form + (result ? " " + r + "12, [" : " [") + where + "], " + r + "10;\nbar.warp.sync -1;\n";
  if (result) body += "st.global." + plain + " [%d4], " + r + "12;\n";
  body += "ld." + std::string(shared ? "shared" : "global") + "." + plain + " " + r + "13, [" + where +
          "];\nst.global." + plain + " [%d1+256], " + r + "13;\n";
  ptx::LaunchShape warp;
  warp.block[0] = 32;
  const auto out = values_of<u64>(run(kernel(body), bytes_of(in), 34 * 8, warp).out);
  const u64 all = big ? ~u64(0) : 0xffffffffu;
  const auto step = [&](u64 a, u64 b) {
    if (c.has("add")) return (a + b) & all;
    const bool first = c.has("max") == (integer(a, t) > integer(b, t));
    return first ? a : b;
  };
  u64 want = in[32] & all;
  for (int k = 0; k < 32; ++k) want = step(want, in[static_cast<std::size_t>(k)] & all);
  CHECK((out[32] & all) == want);
  if (!result) return;
  // In some order each lane's step leads from what it saw to what another saw, or to the end.
  std::multiset<u64> seen, made;
  for (std::size_t k = 0; k < 32; ++k) seen.insert(out[k] & all), made.insert(step(out[k] & all, in[k] & all));
  seen.insert(want), made.insert(in[32] & all);
  CHECK(seen == made);
}

const bool added =
    add_check("atomic", check_atomic) && add_check("load and store", check_access) && add_check("cp.async", check_copy);

// What a program of these instructions is stopped for.
ptx::PtxError stopped(const std::string& body, ptx::LaunchShape shape = {}) {
  try {
    run(kernel(body), std::vector<u8>(64), 64, shape);
  } catch (const ptx::PtxError& error) {
    return error;
  }
  FAIL("it ran to its end: " << body);
  throw 0;
}

}  // namespace

TEST_CASE("ptx memory: outside, misaligned and read-only accesses stop a kernel") {
  const char* outside[] = {
      "ld.global.u32 %r1, [%d0+64];",
      "ld.global.u32 %r1, [%d0+-4];",
      "st.global.u8 [%d1+64], %r1;",
      "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d0+64];",
      "mov.u64 %d2, 0;\nld.u32 %r1, [%d2];",
      ".shared .align 16 .b8 a[32];\nld.shared.u32 %r1, [a+32];",
      "ld.shared.u32 %r1, [0];",
      ".local .align 16 .b8 a[32];\nst.local.u32 [a+32], %r1;",
      "ld.param.u32 %r1, [in+16];",
      "ld.global.u32 %r1, [%d0+2];",
      ".shared .align 16 .b8 a[32];\nld.shared.v2.u32 {%r1, %r2}, [a+4];",
      ".shared .align 16 .b8 a[32];\nmov.u32 %r1, a;\ncp.async.cg.shared.global [%r1+8], [%d0], 16;",
      ".shared .align 16 .b8 a[32];\nmov.u32 %r1, a;\ncp.async.cg.shared.global [%r1], [%d0+8], 16;",
      ".shared .align 16 .b8 a[32];\nmov.u32 %r1, a;\ncp.async.cg.shared.global [%r1], [%d0+64], 16;",
      ".shared .align 16 .b8 a[32];\nmov.u32 %r1, a;\ncp.async.cg.shared.global [%r1], [%d0], 12;",
      "mov.u64 %d2, %d0;\ncvta.to.shared.u64 %d3, %d2;"};
  for (const char* body : outside) {
    CAPTURE(body);
    CHECK(stopped(body).fault == ptx::Fault::memory);
  }
  ptx::Memory memory;
  ptx::Module module(
      kernel("mov.u64 %d2, table;\nst.global.u32 [%d2], %r1;", ".const .align 4 .b8 table[4] = {1, 2, 3, 4};\n"),
      memory);
  const u64 none[2] = {};
  CHECK_THROWS_AS(ptx::launch(*module.function("k"), memory, {}, none), ptx::PtxError);
}

TEST_CASE("ptx memory: variables of a module have their values, and go with it") {
  const std::string before =
      ".global .align 4 .u32 one = 305419896;\n.const .align 8 .f32 two[3] = {0f3fc00000, 0fbf800000, 2.5};\n"
      ".global .align 1 .b8 three[4] = {255, 1, 2};\n.extern .shared .align 16 .b8 dynamic[];\n.shared .align 4 .b8 "
      "fixed[20];\n";
  const std::string body =
      "mov.u64 %d2, one;\nld.global.u32 %r1, [%d2];\nst.global.u32 [%d1], %r1;\nmov.u64 %d2, two;\nld.global.u32 %r1, "
      "[%d2+8];\n"
      "st.global.u32 [%d1+4], %r1;\nld.global.u32 %r1, [three];\nst.global.u32 [%d1+8], %r1;\n"
      "mov.u32 %r2, dynamic;\nmov.u32 %r3, fixed;\nst.global.u32 [%d1+12], %r2;\nst.global.u32 [%d1+16], %r3;\n"
      "st.shared.u32 [dynamic+4], 5;\nld.shared.u32 %r4, [%r2+4];\nst.global.u32 [%d1+20], %r4;";
  ptx::Memory memory;
  {
    ptx::Module module(kernel(body, before), memory);
    CHECK(memory.count() == 3);
  }
  CHECK(memory.count() == 0);
  ptx::LaunchShape shape;
  shape.dynamic_shared = 8;
  const auto out = values_of<u32>(run(kernel(body, before), {}, 24, shape).out);
  CHECK(out == std::vector<u32>{0x12345678, 0x40200000, 0x000201ff, 32, 0, 5});
  shape.dynamic_shared = 4;
  CHECK_THROWS_AS(run(kernel(body, before), {}, 24, shape), ptx::PtxError);
}

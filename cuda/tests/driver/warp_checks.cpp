// What lanes and warps do together: matrices, shuffles, votes, barriers, ways that part and meet.
#include <doctest.h>

#include "harness.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

ptx::LaunchShape warps(unsigned n) {
  ptx::LaunchShape shape;
  shape.block[0] = 32 * n;
  return shape;
}
// Registers %rN.. of a lane from in[lane][words], results to out[lane][words].
std::string load_words(int words, int first) {
  std::string s = "mul.wide.u32 %d2, %r0, " + std::to_string(4 * words) + ";\nadd.s64 %d2, %d2, %d0;\n";
  for (int k = 0; k < words; ++k)
    s += "ld.global.u32 %r" + std::to_string(first + k) + ", [%d2+" + std::to_string(4 * k) + "];\n";
  return s;
}
std::string store_words(int words, int first) {
  std::string s = "mul.wide.u32 %d3, %r0, " + std::to_string(4 * words) + ";\nadd.s64 %d3, %d3, %d1;\n";
  for (int k = 0; k < words; ++k)
    s += "st.global.u32 [%d3+" + std::to_string(4 * k) + "], %r" + std::to_string(first + k) + ";\n";
  return s;
}

// Places of the operands' elements as the PTX ISA lists them: element e of lane l.
struct At {
  int row, column;
};
At a_s8(int l, int e) {
  return {(e < 4 || (e >= 8 && e < 12)) ? l >> 2 : (l >> 2) + 8, (l % 4) * 4 + (e & 3) + (e >= 8 ? 16 : 0)};
}
At b_s8(int l, int e) { return {(l % 4) * 4 + (e & 3) + (e >= 4 ? 16 : 0), l >> 2}; }
At a_f16(int l, int e) {
  return {(e < 2 || (e >= 4 && e < 6)) ? l >> 2 : (l >> 2) + 8, (l % 4) * 2 + (e & 1) + (e >= 4 ? 8 : 0)};
}
At b_f16(int l, int e) { return {(l % 4) * 2 + (e & 1) + (e >= 2 ? 8 : 0), l >> 2}; }
At c_at(int l, int e) { return {(l >> 2) + (e < 2 ? 0 : 8), (l % 4) * 2 + (e & 1)}; }

const std::string operands_of_mma =
    " {%r10, %r11, %r12, %r13}, {%r20, %r21, %r22, %r23}, {%r24, %r25}, {%r26, %r27, %r28, %r29};\n";

void check_mma_s8(const Checked& c) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 20; ++round) {
    int a[16][32], b[32][8], d[16][8];
    for (auto& row : a)
      for (int& v : row) v = round ? static_cast<int>(random() % 256) - 128 : -128;
    for (auto& row : b)
      for (int& v : row) v = round ? static_cast<int>(random() % 256) - 128 : -128;
    for (auto& row : d)
      for (int& v : row) v = static_cast<int>(random());
    std::vector<u32> in(32 * 10);
    for (int l = 0; l < 32; ++l) {
      u8* bytes = reinterpret_cast<u8*>(&in[static_cast<std::size_t>(l) * 10]);
      for (int e = 0; e < 16; ++e) bytes[e] = static_cast<u8>(a[a_s8(l, e).row][a_s8(l, e).column]);
      for (int e = 0; e < 8; ++e) bytes[16 + e] = static_cast<u8>(b[b_s8(l, e).row][b_s8(l, e).column]);
      for (int e = 0; e < 4; ++e)
        in[static_cast<std::size_t>(l * 10 + 6 + e)] = static_cast<u32>(d[c_at(l, e).row][c_at(l, e).column]);
    }
    const auto out = values_of<u32>(
        run(kernel(load_words(10, 20) + c.form + operands_of_mma + store_words(4, 10)), bytes_of(in), 512, warps(1))
            .out);
    for (int l = 0; l < 32; ++l) {
      for (int e = 0; e < 4; ++e) {
        const At at = c_at(l, e);
        u32 want = static_cast<u32>(d[at.row][at.column]);
        for (int k = 0; k < 32; ++k) want += static_cast<u32>(a[at.row][k] * b[k][at.column]);
        REQUIRE(out[static_cast<std::size_t>(l * 4 + e)] == want);
      }
    }
  }
}

void check_mma_f16(const Checked& c) {
  const bool bf16 = c.has("bf16");
  std::mt19937_64 random(6);
  const int most = bf16 ? 128 : 1000;  // whole numbers that the type holds
  int a[16][16], b[16][8], d[16][8];
  for (auto& row : a)
    for (int& v : row) v = static_cast<int>(random() % (2 * most)) - most;
  for (auto& row : b)
    for (int& v : row) v = static_cast<int>(random() % (2 * most)) - most;
  for (auto& row : d)
    for (int& v : row) v = static_cast<int>(random() % 65536) - 32768;
  const auto bits = [&](int v) -> u16 {
    const float f = static_cast<float>(v);
    return bf16 ? static_cast<u16>(std::bit_cast<u32>(f) >> 16) : std::bit_cast<u16>(static_cast<_Float16>(f));
  };
  std::vector<u32> in(32 * 10);
  for (int l = 0; l < 32; ++l) {
    u16* halves = reinterpret_cast<u16*>(&in[static_cast<std::size_t>(l) * 10]);
    for (int e = 0; e < 8; ++e) halves[e] = bits(a[a_f16(l, e).row][a_f16(l, e).column]);
    for (int e = 0; e < 4; ++e) halves[8 + e] = bits(b[b_f16(l, e).row][b_f16(l, e).column]);
    for (int e = 0; e < 4; ++e)
      in[static_cast<std::size_t>(l * 10 + 6 + e)] =
          std::bit_cast<u32>(static_cast<float>(d[c_at(l, e).row][c_at(l, e).column]));
  }
  const std::string program = kernel(load_words(10, 20) + c.form + operands_of_mma + store_words(4, 10));
  const auto outcome = run(program, bytes_of(in), 512, warps(1));
  const auto out = values_of<u32>(outcome.out);
  CHECK(outcome.stats.inexact_sums == 0);
  for (int l = 0; l < 32; ++l) {
    for (int e = 0; e < 4; ++e) {
      const At at = c_at(l, e);
      long long want = d[at.row][at.column];
      for (int k = 0; k < 16; ++k) want += static_cast<long long>(a[at.row][k]) * b[k][at.column];
      REQUIRE(out[static_cast<std::size_t>(l * 4 + e)] == std::bit_cast<u32>(static_cast<float>(want)));
    }
  }
  // A sum that f32 cannot hold is counted.
  in[6] = std::bit_cast<u32>(1e9f), in[0] = in[4] = bits(1) | static_cast<u32>(bits(1)) << 16;
  CHECK(run(program, bytes_of(in), 512, warps(1)).stats.inexact_sums > 0);
}

void check_ldmatrix(const Checked& c) {
  const int n = c.has("x4") ? 4 : c.has("x2") ? 2 : 1;
  std::vector<u16> in(4 * 64);
  for (std::size_t k = 0; k < in.size(); ++k) in[k] = static_cast<u16>(k * 257 + 3);
  // Row r of matrix m begins 16 bytes behind 48 * (8m + 7 - r): apart, and in another order than rows.
  std::string body =
      ".shared .align 16 .b8 here[2048];\nmul.lo.u32 %r1, %r0, 48;\nshl.b32 %r2, %r0, 4;\ncvt.u64.u32 %d2, "
      "%r2;\nadd.s64 %d2, %d2, %d0;\n"
      "xor.b32 %r3, %r0, 7;\nmul.lo.u32 %r3, %r3, 48;\nmov.u32 %r4, here;\nadd.s32 %r3, %r3, %r4;\n"
      "ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%d2];\nst.shared.v4.u32 [%r3+16], {%r5, %r6, %r7, %r8};\nbar.warp.sync "
      "-1;\n";
  std::string list = "{";
  for (int k = 0; k < n; ++k) list += (k ? ", %r" : "%r") + std::to_string(10 + k);
  body += c.form + " " + list + "}, [%r3+16];\n" + store_words(n, 10);
  const auto out = values_of<u16>(run(kernel(body), bytes_of(in), static_cast<std::size_t>(128 * n), warps(1)).out);
  for (int l = 0; l < 32; ++l) {
    for (int m = 0; m < n; ++m) {
      for (int e = 0; e < 2; ++e) {
        const int row = l / 4, column = 2 * (l % 4) + e;
        const int from = 64 * m + (c.has("trans") ? 8 * column + row : 8 * row + column);
        REQUIRE(out[static_cast<std::size_t>((l * n + m) * 2 + e)] == in[static_cast<std::size_t>(from)]);
      }
    }
  }
}

// CUDA's own description of the four shuffles: a warp in segments of `width` lanes; who asks beyond its segment keeps
// its own.
void check_shfl(const Checked& c) {
  for (const int width : {32, 16, 8, 2}) {
    for (const int delta : {0, 1, 3, 7, 16, 31}) {
      const std::string mode = c.parts[2];
      const int clamp = mode == "up" ? 0 : 31;
      const std::string body = "add.s32 %r1, %r0, 100;\n" + c.form + " %r10|%p1, %r1, " + std::to_string(delta) + ", " +
                               std::to_string((32 - width) << 8 | clamp) + ", -1;\nselp.u32 %r11, 1, 0, %p1;\n" +
                               store_words(2, 10);
      const auto out = values_of<u32>(run(kernel(body), {}, 256, warps(1)).out);
      for (int l = 0; l < 32; ++l) {
        const int begin = l / width * width, in = l % width;
        int from = mode == "up"     ? in - delta
                   : mode == "down" ? in + delta
                   : mode == "bfly" ? in ^ delta
                                    : delta % width;
        const bool inside = from >= 0 && from < width;
        // A lane beyond a narrower segment is reached by bfly where it lies before the segment's end.
        if (mode == "bfly" && !inside) {
          const int absolute = l ^ delta;
          const bool before = absolute < begin + width;
          CHECK(out[static_cast<std::size_t>(2 * l)] == static_cast<u32>(100 + (before ? absolute : l)));
          continue;
        }
        CHECK(out[static_cast<std::size_t>(2 * l)] == static_cast<u32>(100 + (inside ? begin + from : l)));
        CHECK(out[static_cast<std::size_t>(2 * l + 1)] == inside);
      }
    }
  }
  // Without the predicate; half of the warp among itself.
  const std::string half = "setp.lt.s32 %p2, %r0, 16;\nmov.u32 %r10, 9;\n@%p2 " + c.form +
                           " %r10, %r0, 0, 31, 65535;\n" + store_words(1, 10);
  CHECK(values_of<u32>(run(kernel(half), {}, 128, warps(1)).out)[20] == 9);
}

void check_vote(const Checked& c) {
  for (const u32 votes : {0u, 0xffffffffu, 1u, 0x80000000u, 0x00ff00ffu}) {
    const std::string said = "mov.u32 %r1, " + std::to_string(votes) +
                             ";\nshr.u32 %r2, %r1, %r0;\nand.b32 %r2, %r2, 1;\nsetp.ne.s32 %p1, %r2, 0;\n";
    const bool ballot = c.has("ballot");
    const std::string body = said + c.form +
                             (ballot ? " %r10, %p1, -1;\n" : " %p2, %p1, -1;\nselp.u32 %r10, 1, 0, %p2;\n") +
                             "mov.u32 %r11, 5;\nsetp.lt.s32 %p3, %r0, 8;\n@!%p3 bra skip;\n" + c.form +
                             (ballot ? " %r11, !%p1, 255;\n" : " %p2, !%p1, 255;\nselp.u32 %r11, 1, 0, %p2;\n") +
                             "skip:\n" + store_words(2, 10);
    const auto out = values_of<u32>(run(kernel(body), {}, 256, warps(1)).out);
    const u32 low = ~votes & 255;
    for (std::size_t l = 0; l < 32; ++l) {
      CHECK(out[2 * l] == (ballot ? votes : c.has("any") ? votes != 0 : votes == 0xffffffffu));
      CHECK(out[2 * l + 1] == (l >= 8 ? 5 : ballot ? low : c.has("any") ? low != 0 : low == 255));
    }
  }
}

// Loops of as many turns as the lane's number, ways inside ways, ends within, calls of nothing between.
void check_control(const Checked& c) {
  const std::string body =
      "mov.u32 %r10, 0;\nmov.u32 %r1, 0;\nloop:\nsetp.ge.s32 %p1, %r1, %r0;\n@%p1 bra done;\nand.b32 %r2, %r1, "
      "1;\nsetp.eq.s32 %p2, %r2, 0;\n@%p2 bra even;\n"
      "add.s32 %r10, %r10, 100;\nbra.uni next;\neven:\nadd.s32 %r10, %r10, 1;\nnext:\nadd.s32 %r1, %r1, 1;\nbra "
      "loop;\ndone:\nbar.warp.sync -1;\n"
      "membar.cta;\nmembar.gl;\nfence.acq_rel.cta;\nfence.acq_rel.gpu;\nfence.sc.cta;\nfence.sc.gpu;\n" +
      store_words(1, 10) + "setp.gt.s32 %p3, %r0, 20;\n@%p3 " + (c.form == "exit" ? "exit" : "ret") +
      ";\nmov.u32 %r10, 1;\n" + store_words(1, 10) + (c.form == "exit" ? "exit;" : "");
  const auto out = values_of<u32>(run(kernel(body), {}, 128, warps(1)).out);
  for (u32 l = 0; l < 32; ++l) CHECK(out[l] == (l > 20 ? (l + 1) / 2 + l / 2 * 100 : 1));
  // The programs above hold the form, or it is one of its parts that the scan of words does not see.
  if (c.form == "exit" || c.form == "ret") return;
}

// Warps that write, wait and read what their neighbours wrote, in many orders; a chain of arrive and sync.
void check_barrier(const Checked&) {
  const std::string turn =
      ".shared .align 4 .b8 here[512];\nmov.u32 %r1, here;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r3, %r1, "
      "%r2;\nst.shared.u32 [%r3], %r0;\nbar.sync 0;\n"
      "xor.b32 %r4, %r0, 96;\nshl.b32 %r4, %r4, 2;\nadd.s32 %r4, %r4, %r1;\nld.shared.u32 %r10, [%r4];\nbar.sync 1, "
      "128;\nst.shared.u32 [%r3], 7;\n" +
      store_words(1, 10);
  // Warp 0 arrives and goes on; warp 1 waits for it.
  const std::string chain =
      ".shared .align 4 .b8 here[512];\nshr.u32 %r5, %r0, 5;\nsetp.ne.s32 %p1, %r5, 0;\nmov.u32 %r10, 3;\n@%p1 bra "
      "second;\nst.shared.u32 [here], 11;\nbar.arrive 2, 64;\nbra out;\n"
      "second:\nbar.sync 2, 64;\nld.shared.u32 %r10, [here];\nout:\n" +
      store_words(1, 10);
  for (u64 seed = 0; seed < 8; ++seed) {
    auto shape = warps(4);
    shape.seed = seed;
    const auto out = values_of<u32>(run(kernel(turn), {}, 512, shape).out);
    for (u32 t = 0; t < 128; ++t) CHECK(out[t] == (t ^ 96));
    auto two = warps(2);
    two.seed = seed;
    const auto chained = values_of<u32>(run(kernel(chain), {}, 256, two).out);
    CHECK(chained[0] == 3);
    CHECK(chained[63] == 11);
  }
}

ptx::PtxError stopped(const std::string& body, ptx::LaunchShape shape) {
  try {
    run(kernel(body), {}, 512, shape);
  } catch (const ptx::PtxError& error) {
    return error;
  }
  FAIL("it ran to its end: " << body);
  throw 0;
}
void check_trap(const Checked&) {
  CHECK(stopped("trap;", warps(1)).fault == ptx::Fault::launch);
  run(kernel("setp.ne.s32 %p1, %r0, %r0;\n@%p1 trap;"), {}, 8, warps(1));
  run(kernel("bra over;\ntrap;\nover:"), {}, 8, warps(1));
  run(kernel("bra over;\n  trap ;\nover:"), {}, 8, warps(1));
}

const bool added = add_check("mma s8", check_mma_s8) && add_check("mma f16", check_mma_f16) &&
                   add_check("ldmatrix", check_ldmatrix) && add_check("shfl", check_shfl) &&
                   add_check("vote", check_vote) && add_check("control", check_control) &&
                   add_check("barrier", check_barrier) && add_check("trap", check_trap);

}  // namespace

TEST_CASE("ptx warps: lanes and warps that do not meet are found") {
  const std::string low = "setp.lt.s32 %p1, %r0, 16;\n";
  CHECK(stopped(low + "@%p1 bra a;\nshfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;\nbra b;\na:\nshfl.sync.bfly.b32 %r1, %r0, "
                      "1, 31, -1;\nb:",
                warps(1))
            .fault == ptx::Fault::divergence);
  CHECK(stopped(low + "@%p1 bra a;\nbar.sync 0;\na:\nbar.warp.sync -1;", warps(1)).fault == ptx::Fault::divergence);
  CHECK(stopped(low + "@%p1 ret;\nshfl.sync.bfly.b32 %r1, %r0, 16, 31, -1;", warps(1)).fault == ptx::Fault::divergence);
  CHECK(stopped(low + "@%p1 shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;", warps(1)).fault == ptx::Fault::divergence);
  CHECK(stopped(low + "@%p1 shfl.sync.bfly.b32 %r1, %r0, 1, 31, 1;", warps(1)).fault == ptx::Fault::divergence);
  CHECK(stopped(low + "@%p1 shfl.sync.idx.b32 %r1, %r0, 20, 31, 65535;", warps(1)).fault == ptx::Fault::divergence);
  CHECK(stopped(low + "@%p1 bra a;\nmma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1,%r2,%r3,%r4}, "
                      "{%r1,%r2,%r3,%r4}, {%r1,%r2}, {%r1,%r2,%r3,%r4};\na:",
                warps(1))
            .fault == ptx::Fault::divergence);
  CHECK(stopped("setp.lt.s32 %p1, %r0, 32;\n@%p1 bra a;\nbar.sync 1;\nbra b;\na:\nbar.sync 2;\nb:", warps(2)).fault ==
        ptx::Fault::deadlock);
  CHECK(stopped("bar.sync 3, 96;", warps(2)).fault == ptx::Fault::deadlock);
  CHECK(stopped("bar.sync 3, 40;", warps(2)).fault == ptx::Fault::launch);
  CHECK(stopped("bar.sync 16;", warps(2)).fault == ptx::Fault::launch);
  // Lanes that have ended are not waited for, warps neither.
  run(kernel("setp.lt.s32 %p1, %r0, 40;\n@%p1 ret;\nbar.sync 0;"), {}, 8, warps(3));
}

TEST_CASE("ptx warps: a launch beyond what a kernel is made for is refused") {
  const std::string program = kernel("");
  std::string bounded = program;
  bounded.insert(bounded.find("{\n"), ".maxntid 64, 1, 1\n");
  run(bounded, {}, 8, warps(2));
  CHECK_THROWS_AS(run(bounded, {}, 8, warps(3)), ptx::PtxError);
  CHECK_THROWS_AS(run(program, {}, 8, warps(33)), ptx::PtxError);
}

// Every form of the interpreter's table is checked by the test its row names, and that test has run it.
#include <doctest.h>

#include "harness.h"
#include "ptx/forms.h"

using namespace octavo;
using namespace octavo::testing;

TEST_CASE("ptx: every form of the table conforms") {
  const auto forms = ptx::all_forms();
  CHECK(forms.size() > 500);
  for (const ptx::Form& form : forms) {
    CAPTURE(form.name);
    const Check check = find_check(form.row->test);
    REQUIRE_MESSAGE(static_cast<bool>(check), "no test is named " << form.row->test);
    Checked c{form.name, form.row->operands, {}};
    for (const auto part : ptx::parts(form.name)) c.parts.emplace_back(part);
    check(c);
    CHECK_MESSAGE(opcodes_run().count(form.name) == 1, "its test did not run it");
  }
}

TEST_CASE("ptx: a form is in the table once") {
  std::set<std::string> seen;
  for (const ptx::Form& form : ptx::all_forms()) CHECK_MESSAGE(seen.insert(form.name).second, form.name);
}

TEST_CASE("ptx: what has no test is refused, with its line") {
  for (const std::string& instruction : std::vector<std::string>{
           "add.sat.s32 %r1, %r2, %r3", "ex2.approx.f32 %f1, %f2", "mul.ftz.f32 %f1, %f2, %f3",
           "add.rz.f32 %f1, %f2, %f3", "rcp.approx.ftz.f32 %f1, %f2", "div.full.f32 %f1, %f2, %f3",
           "fma.rn.ftz.f32 %f1, %f2, %f3, %f4", "atom.global.add.f32 %f1, [%d0], %f2", "cvt.rna.tf32.f32 %r1, %f1",
           "shfl.bfly.b32 %r1, %r2, 1, 31", "ld.volatile.global.u32 %r1, [%d0]",
           "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0}, {%r0}, {%r1}, {%f1}",
           "cp.async.bulk.wait_group 0", "call foo", "tex.1d.v4.f32.s32 {%f0,%f1,%f2,%f3}, [t, {%r0}]"}) {
    CAPTURE(instruction);
    const std::string program = kernel(instruction + ";");
    ptx::Memory memory;
    ptx::Module module(program, memory);
    try {
      module.function("k");
      FAIL("it was decoded");
    } catch (const ptx::PtxError& error) {
      CHECK(error.fault == ptx::Fault::unsupported);
      CHECK(error.line == 10);
    }
  }
}

TEST_CASE("ptx: registers of another width than an instruction's type are refused") {
  for (const std::string& instruction : std::vector<std::string>{
           "add.s32 %r1, %d2, %r3", "add.s64 %d1, %d2, %r3", "mov.b32 %r1, %d1", "cvt.u64.u32 %r1, %r2",
           "ld.global.u32 %h1, [%d0]", "and.pred %p1, %p2, %r1", "mov.b64 {%h0, %h1}, %d2"}) {
    CAPTURE(instruction);
    ptx::Memory memory;
    ptx::Module module(kernel(instruction + ";"), memory);
    CHECK_THROWS_AS(module.function("k"), ptx::PtxError);
  }
}

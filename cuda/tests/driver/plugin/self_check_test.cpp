// A device proves itself: one that computes rightly passes, whatever the model asks for; one bit that some kernel writes
// wrongly is named; a check is made once; and one in which a call fails leaves nothing behind.
#include <doctest.h>

#include <string>

#include "cuda/cuda_backend.h"
#include "cuda/self_check.h"
#include "device_steps.h"
#include "error.h"
#include "fake.h"
#include "tests/formats.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

// What was passed is remembered: each use differs by its epsilon, or by its scale, from those before.
ModelUse use(std::set<Format> formats, KvDtype dtype = KvDtype::f16) {
  static int uses = 0;
  const float other = 1e-6f * static_cast<float>(++uses);
  ModelUse u{};
  u.formats = std::move(formats);
  u.attention.heads = 6, u.attention.scale = 0.25f + other;
  u.kv_heads = 3, u.head_size = 16, u.rope_dims = 12, u.rope_style = RopeStyle::half;
  u.norm_eps = other, u.kv_dtype = dtype;
  return u;
}

void check(const ModelUse& u) {
  fake();
  const std::unique_ptr<Backend> backend = make_cuda_backend(0);
  dynamic_cast<ComputesSteps&>(*backend).check_itself(u);
}

std::string refusal(const char* wrong, const ModelUse& u) {
  const Played played((std::string("wrong=") + wrong).c_str());
  try {
    check(u);
  } catch (const Error& e) {
    CHECK(e.code() == Code::device_unavailable);
    return e.what();
  }
  return "";
}

std::uint64_t launches_of(const ModelUse& u) {
  const std::uint64_t before = report().launches;
  check(u);
  return report().launches - before;
}

}  // namespace

TEST_CASE("self-check: a device that computes rightly passes, with every format and every type of the cache") {
  fake();
  std::set<Format> formats;
  for (std::size_t f = 0; f < format_count; ++f)
    for (const Format format : chosen({static_cast<Format>(f)})) formats.insert(format);
  const Left left;
  CHECK_NOTHROW(check(use(formats)));
  for (const char* device : {"capability=9.0", "capability=8.6"}) {
    const Played played(device);
    for (const KvDtype dtype : {KvDtype::f16, KvDtype::bf16, KvDtype::fp8, KvDtype::int8}) {
      CAPTURE(traits(dtype).name);
      ModelUse u = use({Format::q4_0}, dtype);
      u.attention.window = 130, u.attention.sinks = 2, u.attention.soft_cap = 30, u.sink_logits = true;
      u.rope_style = RopeStyle::interleaved;
      CHECK_NOTHROW(check(u));
      CHECK_NOTHROW(check(use({}, dtype)));
      ModelUse large = use({}, dtype);
      large.attention.heads = 32, large.kv_heads = 8, large.head_size = large.rope_dims = 128;
      CHECK_NOTHROW(check(large));
    }
  }
  CHECK(left.nothing());
}

TEST_CASE("self-check: one wrong bit of a kernel is named, with what was expected and what was found") {
  fake();
  const struct {
    const char *kernel, *named;
    KvDtype dtype;
  } cases[] = {{"octavo_repack", "embed q4_0", KvDtype::f16},
               {"octavo_embed", "embed q4_0", KvDtype::f16},
               {"octavo_quantise_normed", "linear q4_0 of 3 rows", KvDtype::f16},
               {"octavo_quantise_gated", "linear q4_0 of 11 rows", KvDtype::f16},
               {"octavo_quantise_plain", "linear q4_0 of 37 rows", KvDtype::f16},
               {"octavo_linear_decode_q4_0_8", "linear q4_0 of 3 rows, row 0, column 0", KvDtype::f16},
               {"octavo_linear_decode_q4_0_16", "linear q4_0 of 11 rows", KvDtype::f16},
               {"octavo_linear_tile_q4_0", "linear q4_0 of 37 rows", KvDtype::f16},
               {"octavo_norm_heads", "norm of heads", KvDtype::f16},
               {"octavo_norm", "norm", KvDtype::f16},
               {"octavo_gate", "gate", KvDtype::f16},
               {"octavo_rope", "rope", KvDtype::f16},
               {"octavo_kv_write", "attention f16", KvDtype::f16},
               {"octavo_kv_write", "attention bf16", KvDtype::bf16},
               {"octavo_kv_write", "attention fp8", KvDtype::fp8},
               {"octavo_kv_write", "attention int8", KvDtype::int8},
               {"octavo_attention", "attention f16", KvDtype::f16},
               {"octavo_attention", "attention bf16", KvDtype::bf16},
               {"octavo_attention", "attention fp8", KvDtype::fp8},
               {"octavo_attention", "attention int8", KvDtype::int8}};
  for (const auto& c : cases) {
    CAPTURE(c.kernel);
    const Left left;
    const std::string why = refusal(c.kernel, use({Format::q4_0}, c.dtype));
    INFO(why);
    CHECK(why.starts_with(std::string("the CUDA device computes other numbers than the specification: ") + c.named));
    CHECK(why.find(": expected ") != std::string::npos);
    CHECK(why.find(", found ") != std::string::npos);
    CHECK(left.nothing());
  }
}

TEST_CASE("self-check: what was passed is not computed again, what is new is, and what failed is not passed") {
  const ModelUse first = use({Format::q8_0});
  CHECK(launches_of(first) > 10);
  CHECK(launches_of(first) == 0);
  ModelUse more = first;
  more.formats.insert(Format::q4_1);
  const std::uint64_t format = launches_of(more);
  CHECK(format > 5);
  more.kv_dtype = KvDtype::int8;
  const std::uint64_t cache = launches_of(more);
  CHECK(cache > 3);
  const ModelUse other = use({Format::q8_0});
  CHECK(refusal("octavo_norm", other) != "");
  CHECK(refusal("octavo_norm", other) != "");
  CHECK(launches_of(other) > 0);
  CHECK(refusal("octavo_norm", other) == "");
}

TEST_CASE("self-check: a call that fails in it ends it with a code, nothing is left, and the next one passes") {
  fake();
  const auto calls_of = [](const ModelUse& u) {
    const std::uint64_t before = report().calls;
    check(u);
    return report().calls - before;
  };
  const std::uint64_t opening = calls_of([] {
    const ModelUse passed = use({Format::q4_0});
    check(passed);
    return passed;
  }());
  const std::uint64_t calls = calls_of(use({Format::q4_0}));
  REQUIRE(calls > opening + 50);
  const int errors[] = {2, 719, 999};
  int failed = 0;
  for (std::uint64_t k = opening / 2, tries = 0; k < calls; k += 23, ++tries) {
    CAPTURE(k);
    const Left left;
    {
      const Played played(("rules=record fail=" + std::to_string(k) + ":" + std::to_string(errors[tries % 3])).c_str());
      try {
        check(use({Format::q4_0}));
      } catch (const Error& e) {
        ++failed;
        CHECK((e.code() == Code::out_of_memory || e.code() == Code::engine_failed));
      }
      CHECK_MESSAGE(report().broken_rules == 0, report().message);
    }
    CHECK(left.nothing());
  }
  CHECK(failed > 3);
}

// The KV cache on the emulated device: what is written, exchanged and copied is what the reference has, byte for byte.
#include <doctest.h>

#include <set>

#include "emulator/runtime.h"
#include "kernels/attention/kv_layout.h"
#include "ops_backend.h"
#include "tests/attention_scene.h"

namespace {

using namespace octavo;
using namespace octavo::testing;

std::vector<std::uint8_t> exported(Backend& backend, const KvStore& kv, int block) {
  std::vector<std::uint8_t> bytes(kv_block_bytes(kv.shape));
  backend.kv_export(bytes.data(), kv, block);
  return bytes;
}

// Rows of numbers that conversions find hard, rows of very different sizes, and queries likewise.
std::vector<float> hard_rows(int rows, int width, int D, Rng& rng) {
  static const std::vector<float> sizes = {0.0f, 1e-3f, 1e-29f, 2e-30f, 1e-31f, 1e-38f, 1e4f, 1e12f, 3.0f};
  std::vector<float> out = random_cache_values(static_cast<std::size_t>(rows * width), rng);
  for (int i = 0; i < rows * width / D; ++i)
    if (const float size = rng.pick(sizes); rng.chance(6))
      for (int d = 0; d < D; ++d) out[static_cast<std::size_t>(i * D + d)] *= size;
  return out;
}

}  // namespace

TEST_CASE("device: every number of a head has bytes of its own, on the device and in what is exchanged") {
  for (const int kind : {gpu::kv_f16, gpu::kv_bf16, gpu::kv_fp8, gpu::kv_int8}) {
    for (const int D : {16, 32, 48, 64, 80, 96, 128, 256, 512}) {
      std::set<int> own, exchange;
      for (int part = 0; part < 2; ++part)
        for (int token = 0; token < gpu::kv_tokens; ++token) {
          for (int d = 0; d < D; ++d) {
            own.insert(gpu::kv_code_at(kind, D, part, token, d));
            exchange.insert(gpu::kv_exchange_at(kind, D, part, token, d));
          }
          if (gpu::kv_has_scales(kind)) own.insert(gpu::kv_scale_at(kind, D, part, token));
        }
      const int numbers = 2 * gpu::kv_tokens * D, scales = gpu::kv_has_scales(kind) ? 2 * gpu::kv_tokens : 0;
      CHECK(static_cast<int>(own.size()) == numbers + scales);
      CHECK(static_cast<int>(exchange.size()) == numbers);
      CHECK(*own.rbegin() < gpu::kv_head_bytes(kind, D));
      CHECK(*exchange.rbegin() < numbers * gpu::kv_value_bytes(kind));
      const KvShape shape{1, 1, 1, D, static_cast<KvDtype>(kind)};
      CHECK(gpu::kv_head_bytes(kind, D) == static_cast<int>(kv_head_bytes(shape)));
    }
  }
}

TEST_CASE("device: kv_write, export, import and copy give the reference's bytes") {
  constexpr int blocks = 3;
  Rng rng(310);
  // In each schedule a fourth of the table, which has every type and every size.
  in_schedules([&](int schedule) {
    int turn = schedule;
    for (const KvDtype dtype : kv_dtypes) {
      for (const int D : {16, 48, 64, 80, 128, 256, 272, 512}) {
        if (!deep() && D > 48 && !rng.chance(shim::checked() ? 3 : 2)) continue;
        if (schedule >= 0 && ++turn % 4 != 0) continue;
        const int G = rng.between(1, 3), queries = rng.between(1, 4), T = D > 128 ? 6 : 18;
        CAPTURE(std::string(traits(dtype).name));
        CAPTURE(D);
        const KvShape shape{2, blocks, G, D, dtype};
        const auto expected = reference().kv_create(shape), found = device().kv_create(shape);
        for (const bool with_queries : {true, false}) {
          const int heads = with_queries ? G * queries : 0, ld = (G * queries + 2 * G) * D + rng.below(20);
          std::vector<std::int32_t> slots(blocks * gpu::kv_tokens);
          for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<std::int32_t>(i);
          shuffle(slots, rng);
          const std::vector<float> made = hard_rows(T, ld / D * D, D, rng);
          std::vector<float> rows(static_cast<std::size_t>(T * ld));
          for (int t = 0; t < T; ++t)
            std::copy_n(&made[static_cast<std::size_t>(t * (ld / D * D))], ld / D * D,
                        &rows[static_cast<std::size_t>(t * ld)]);
          const float *q = rows.data(), *k = q + G * queries * D, *v = k + G * D;
          for (const auto& [backend, kv] :
               {std::pair<Backend*, KvStore*>{&reference(), expected.get()}, {&device(), found.get()}})
            backend->kv_write(*kv, 1, q, heads, k, v, ld, slots.data(), T);
          for (int block = 0; block < blocks; ++block)
            CHECK(exported(reference(), *expected, block) == exported(device(), *found, block));
        }
        device().kv_copy(*found, 2, 1);
        for (const auto& [to, from] : {std::pair{0, 0}, {1, 1}, {2, 1}})
          CHECK(exported(reference(), *expected, from) == exported(device(), *found, to));
        const auto fresh = device().kv_create(shape);
        const std::vector<std::uint8_t> bytes = exported(reference(), *expected, 1);
        device().kv_import(*fresh, 2, bytes.data());
        CHECK(exported(device(), *fresh, 2) == bytes);
        CHECK(exported(device(), *fresh, 0) == exported(reference(), *reference().kv_create(shape), 0));
      }
    }
  });
}

TEST_CASE("device: a NaN or an infinity in a row makes the scale a NaN") {
  const int D = 64;
  for (const KvDtype dtype : {KvDtype::fp8, KvDtype::int8}) {
    for (const float broken : {NAN, INFINITY, -INFINITY}) {
      const auto kv = device().kv_create({1, 1, 1, D, dtype});
      std::vector<float> k(D, 1.0f), v(D, 2.0f);
      v[37] = broken;
      const std::int32_t slot = 3;
      device().kv_write(*kv, 0, k.data(), 1, k.data(), v.data(), D, &slot, 1);
      const std::vector<std::uint8_t> bytes = exported(device(), *kv, 0);
      std::uint16_t scales[2];
      for (int part = 0; part < 2; ++part)
        std::memcpy(&scales[part],
                    &bytes[static_cast<std::size_t>(gpu::kv_scale_at(static_cast<int>(dtype), D, part, slot))], 2);
      CHECK(std::isfinite(bf16_to_f32(scales[0])));
      CHECK(std::isnan(bf16_to_f32(scales[1])));
    }
  }
}

// What each kernel asks of memory, for the ratchet (cuda/ratchet.json): one call of every kernel, of a size that fills its blocks.
// With OCTAVO_TRAFFIC=FILE, in the build for the checker, the counts are written there, a line a kernel.
#include <doctest.h>

#include <cstdio>
#include <cstdlib>

#include "emulator/device_array.h"
#include "emulator/runtime.h"
#include "linear_case.h"
#include "ops/sample.h"
#include "ops_backend.h"
#include "tests/attention_scene.h"

namespace {

using namespace octavo;
using namespace octavo::testing;

void run_linears(Rng& rng) {
  for (const Format format : all_formats) {
    if (!is_quantised(format)) {
      Case(format, {8, 64, 256}, {}, rng).run(LinearKernel::floats);
      continue;
    }
    for (const int m : {8, 16}) Case(format, {m, 32, 512}, {}, rng).run(LinearKernel::decode);
    const Case tile(format, {128, 128, 64}, {}, rng);
    for (const LinearKernel kernel : {LinearKernel::tile_s8, LinearKernel::tile_f16}) tile.run(kernel);
  }
  for (const LinearInputKind input : {LinearInputKind::normed, LinearInputKind::gated}) {
    const Case few(Format::q4_0, {8, 16, 1024}, {input}, rng);
    for (const LinearKernel kernel : {LinearKernel::tile_s8, LinearKernel::tile_f16}) few.run(kernel);
    Case(Format::bf16, {8, 16, 1024}, {input}, rng).run(LinearKernel::floats);
  }
}

void run_rows(Backend& device, Rng& rng) {
  const int T = 8, width = 1024, heads = 8, D = width / heads;
  std::vector<float> x = random_normals(static_cast<std::size_t>(T * 2 * width), rng), out(x.size());
  const std::vector<float> w = random_normals(static_cast<std::size_t>(width), rng);
  const std::int32_t ids[T] = {3, 1, 4, 1, 5, 9, 2, 6};
  device.norm(out.data(), width, x.data(), width, w.data(), 1e-5f, T, 1, width);
  device.norm(out.data(), width, x.data(), width, w.data(), 1e-5f, T, heads, D);
  device.rope(x.data(), width, heads, D, out.data(), D, RopeStyle::half, T);
  device.gate(out.data(), x.data(), width, Activation::silu, T);
  device.gather(out.data(), x.data(), ids, T, width);
  for (const Format format : all_formats) {
    const auto table = make_weight(device, format, 16, width, random_rows(format, 16, width, rng));
    device.embed(out.data(), *table, ids, T);
  }
}

void run_caches(Rng& rng) {
  for (const KvDtype dtype : kv_dtypes) {
    for (const auto& [head_size, ratio] : {std::pair{64, 1}, {128, 4}, {80, 8}, {64, 16}}) {
      Scene scene = make_scene(dtype, head_size, 1, ratio, 0, {{300, 1}, {100, 1}}, rng);
      scene.sinks = 0;
      const Rows q(scene.rows, scene.q_width(), scene.q_width(), rng), start = q;
      for (const int multiprocessors : {1, 1000}) {  // an item a tile; an item a chunk, and a merge
        const auto device = make_ops_backend(multiprocessors);
        shim::options().traffic = false;
        const auto kv = fill(*device, scene, 64, rng);
        shim::options().traffic = true;
        Rng other(91);
        const Rows more(64, scene.q_width() + 2 * scene.width(), scene.q_width() + 2 * scene.width(), other);
        const float* const k = more.data() + scene.q_width();
        device->kv_write(*kv, 1 - scene.layer, more.data(), scene.heads, k, k + scene.width(), more.ld(),
                         slots_of(scene.sequences[0], 0, 64).data(), 64);
        attend(*device, scene, *kv, q, start, scene.segments);
        std::vector<std::uint8_t> bytes(kv_block_bytes(kv->shape));
        device->kv_export(bytes.data(), *kv, 1);
        device->kv_import(*kv, 2, bytes.data());
        device->kv_copy(*kv, 3, 1);
      }
    }
  }
}

void run_draws(Backend& device, Rng& rng) {
  const int vocab = 2048;
  SamplerParams greedy, sampled;
  greedy.temperature = 0;
  sampled.temperature = 0.8f, sampled.top_k = 40, sampled.top_p = 0.9f, sampled.min_p = 0.01f, sampled.seed = 7;
  std::vector<float> logits = random_normals(2 * vocab, rng);
  SampleRow rows[2] = {};
  rows[0].params = &greedy, rows[1].params = &sampled;
  device.sample(logits.data(), vocab, rows, 2);
  const std::vector<int> drawn(64, 5);
  std::vector<gpu::Feed> feeds;
  for (int i = 0; i < 64; ++i) feeds.push_back({i, i, i});
  const shim::DeviceArray<int> tokens(drawn, "drawn"), ids(drawn, "ids"), history(drawn, "history");
  const shim::DeviceArray<gpu::Feed> given(feeds, "feeds");
  cuda::Launches launches;
  cuda::add_feed(launches, {tokens.get(), ids.get(), history.get(), given.get(), 64});
  shim::run(launches);
}

}  // namespace

TEST_CASE("traffic: what each kernel asks of memory") {
  const char* const file = std::getenv("OCTAVO_TRAFFIC");
  if (!shim::checked() || file == nullptr) return;
  Rng rng(90);
  shim::options().traffic = true;
  shim::kernel_traffic().clear();
  const auto device = make_ops_backend();
  run_linears(rng);
  run_rows(*device, rng);
  run_caches(rng);
  run_draws(*device, rng);
  shim::options() = {};
  shim::clear_findings();
  std::FILE* const out = std::fopen(file, "w");
  REQUIRE(out != nullptr);
  for (const auto& [name, t] : shim::kernel_traffic()) {
    const std::uint64_t numbers[] = {t.loads.sectors,     t.loads.bytes,
                                     t.stores.sectors,    t.stores.bytes,
                                     t.shared.wavefronts, t.shared.wavefronts - t.shared.least_wavefronts};
    std::fprintf(out, "%s", name.c_str());
    for (const std::uint64_t n : numbers) std::fprintf(out, " %llu", static_cast<unsigned long long>(n));
    std::fprintf(out, "\n");
  }
  std::fclose(out);
}

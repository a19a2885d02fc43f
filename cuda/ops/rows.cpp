#include "ops/rows.h"

#include "ops/grid.h"
#include "ops/repack.h"

namespace octavo::cuda {

namespace {

// As the kernels' own.
constexpr int norm_threads = 256, rope_threads = 128, row_threads = 256, embed_threads = 256;
constexpr int lanes = 16, numbers_a_thread = 4;
// Half a warp walks heads; from here on a block's other threads pay.
constexpr int widest_head = 512;

// By Packing.
constexpr const char* embed_kernels[] = {"octavo_embed_q4_0",  "octavo_embed_q4_1",   "octavo_embed_q5_0",
                                         "octavo_embed_q5_1",  "octavo_embed_q8_0",   "octavo_embed_q4_k",
                                         "octavo_embed_q5_k",  "octavo_embed_q6_k",   "octavo_embed_q2_k",
                                         "octavo_embed_q3_k",  "octavo_embed_iq4_nl", "octavo_embed_mxfp4",
                                         "octavo_embed_nvfp4", "octavo_embed_levels", "octavo_embed_half_levels"};
static_assert(sizeof(embed_kernels) / sizeof(embed_kernels[0]) == gpu::packing_count);

const char* embed_kernel(Format format) {
  if (is_quantised(format)) return embed_kernels[static_cast<std::size_t>(packing_of(format))];
  if (format == Format::f32) return "octavo_embed_f32";
  return format == Format::f16 ? "octavo_embed_f16" : "octavo_embed_bf16";
}

}  // namespace

void add_norm(Launches& launches, const gpu::NormParams& params) {
  const int all = params.rows * params.heads;
  if (all == 0) return;
  if (params.width <= widest_head && params.heads > 1) {
    const Size3 grid{pieces(all, norm_threads / lanes)};
    launches.push_back(make_launch("octavo_norm_heads", grid, {norm_threads}, 0, params));
  } else {
    launches.push_back(make_launch("octavo_norm", {static_cast<unsigned>(all)}, {norm_threads}, 0, params));
  }
}

void add_rope(Launches& launches, const gpu::RopeParams& params) {
  const int pairs = params.heads * (params.dims / 2);
  if (params.rows == 0 || pairs == 0) return;
  const Size3 grid{static_cast<unsigned>(params.rows), pieces(pairs, rope_threads)};
  launches.push_back(make_launch("octavo_rope", grid, {rope_threads}, 0, params));
}

void add_gate(Launches& launches, const gpu::GateParams& params) {
  if (params.rows == 0) return;
  const Size3 grid{static_cast<unsigned>(params.rows), pieces(params.width, row_threads * numbers_a_thread)};
  launches.push_back(make_launch("octavo_gate", grid, {row_threads}, 0, params));
}

void add_gather(Launches& launches, const gpu::GatherParams& params) {
  if (params.count == 0) return;
  const Size3 grid{static_cast<unsigned>(params.count), pieces(params.width, row_threads * numbers_a_thread)};
  launches.push_back(make_launch("octavo_gather", grid, {row_threads}, 0, params));
}

void add_embed(Launches& launches, const Embed& embed) {
  if (embed.count == 0) return;
  gpu::EmbedParams params{};
  params.out = embed.out, params.ids = embed.ids, params.count = embed.count, params.k = static_cast<int>(embed.k);
  if (is_quantised(embed.format))
    params.table = packed_weight(embed.format, embed.n, embed.k, embed.weight);
  else
    params.table.codes = embed.weight;
  const Size3 grid{static_cast<unsigned>(embed.count), pieces(params.k, embed_threads)};
  launches.push_back(make_launch(embed_kernel(embed.format), grid, {embed_threads}, 0, params));
}

}  // namespace octavo::cuda

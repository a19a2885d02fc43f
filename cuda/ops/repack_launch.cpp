// add_repack of repack.h.
#include "ops/grid.h"
#include "ops/repack.h"

namespace octavo::cuda {

namespace {

constexpr int repack_threads = 128;  // as the kernels' own

// By Format.
constexpr const char* repack_kernels[] = {
    "octavo_repack_floats", "octavo_repack_floats",  "octavo_repack_q4_0",    "octavo_repack_q4_1",
    "octavo_repack_q8_0",   "octavo_repack_floats",  "octavo_repack_q5_0",    "octavo_repack_q5_1",
    "octavo_repack_q4_k",   "octavo_repack_q5_k",    "octavo_repack_q6_k",    "octavo_repack_iq4_nl",
    "octavo_repack_mxfp4",  "octavo_repack_q2_k",    "octavo_repack_q3_k",    "octavo_repack_iq4_xs",
    "octavo_repack_iq1_s",  "octavo_repack_iq1_m",   "octavo_repack_iq2_xxs", "octavo_repack_iq2_xs",
    "octavo_repack_iq2_s",  "octavo_repack_iq3_xxs", "octavo_repack_iq3_s",   "octavo_repack_nvfp4"};
static_assert(sizeof(repack_kernels) / sizeof(repack_kernels[0]) == format_count);

}  // namespace

void add_repack(Launches& launches, Format format, long long n, long long k, long long first, long long count,
                const unsigned char* rows, unsigned char* weight) {
  if (count == 0) return;
  RepackParams params{};
  params.rows = rows, params.weight = weight;
  params.row_bytes = static_cast<long long>(row_bytes(format, static_cast<std::size_t>(k)));
  params.first = static_cast<int>(first), params.count = static_cast<int>(count);
  const char* const kernel = repack_kernels[static_cast<std::size_t>(format)];
  if (!is_quantised(format)) {
    const long long blocks = (count + gpu::float_row_block - 1) / gpu::float_row_block;
    const Size3 grid{pieces(blocks * gpu::float_row_block * (params.row_bytes / 16), repack_threads)};
    launches.push_back(make_launch(kernel, grid, {repack_threads}, 0, params));
    return;
  }
  params.groups = static_cast<int>(k / gpu::group_size);
  const gpu::WeightParts parts = gpu::weight_parts(gpu::packing_table[static_cast<int>(packing_of(format))], n, k);
  params.scales_at = static_cast<long long>(parts.scales_at);
  params.headers_at = static_cast<long long>(parts.headers_at);
  const Size3 grid{pieces(count, gpu::row_block), static_cast<unsigned>(gpu::padded_groups(params.groups) / 2)};
  launches.push_back(make_launch(kernel, grid, {repack_threads}, 0, params));
}

}  // namespace octavo::cuda

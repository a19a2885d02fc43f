#include "ops/kv.h"

#include "ops/grid.h"

namespace octavo::cuda {

namespace {

// As the kernels' own.
constexpr int write_threads = 128, convert_threads = 256, lanes = 16;
constexpr int copied_a_thread = 16;

constexpr const char* write_kernels[] = {"octavo_kv_write_f16", "octavo_kv_write_bf16", "octavo_kv_write_fp8",
                                         "octavo_kv_write_int8"};
constexpr const char* export_kernels[] = {"octavo_kv_export_f16", "octavo_kv_export_bf16", "octavo_kv_export_fp8",
                                          "octavo_kv_export_int8"};
constexpr const char* import_kernels[] = {"octavo_kv_import_f16", "octavo_kv_import_bf16", "octavo_kv_import_fp8",
                                          "octavo_kv_import_int8"};

void add_convert(Launches& launches, const char* kernel, const gpu::KvConvertParams& params) {
  const Size3 grid{static_cast<unsigned>(params.layers * params.kv_heads),
                   pieces(2 * gpu::kv_tokens * params.head_size, convert_threads)};
  launches.push_back(make_launch(kernel, grid, {convert_threads}, 0, params));
}

}  // namespace

void add_kv_write(Launches& launches, gpu::KvKind kind, const gpu::KvWriteParams& params) {
  if (params.rows == 0) return;
  const Size3 grid{pieces(2ll * params.rows * params.kv_heads * lanes, write_threads)};
  launches.push_back(make_launch(write_kernels[kind], grid, {write_threads}, 0, params));
}

void add_kv_export(Launches& launches, gpu::KvKind kind, const gpu::KvConvertParams& params) {
  add_convert(launches, export_kernels[kind], params);
}

void add_kv_import(Launches& launches, gpu::KvKind kind, const gpu::KvConvertParams& params) {
  add_convert(launches, import_kernels[kind], params);
}

void add_kv_copy(Launches& launches, const gpu::KvCopyParams& params) {
  const Size3 grid{static_cast<unsigned>(params.layers), pieces(params.block_bytes, convert_threads * copied_a_thread)};
  launches.push_back(make_launch("octavo_kv_copy", grid, {convert_threads}, 0, params));
}

}  // namespace octavo::cuda

// Operations on the KV cache as launches (kernels/attention/kv_layout.h says how it lies): writing new keys and values, blocks to
// and from the bytes that backends exchange, and a block onto another.
#pragma once
#include "kernels/attention/kv_layout.h"
#include "kernels/attention/params_kv.h"
#include "ops/launch.h"

namespace octavo::cuda {

void add_kv_write(Launches& launches, gpu::KvKind kind, const gpu::KvWriteParams& params);
void add_kv_export(Launches& launches, gpu::KvKind kind, const gpu::KvConvertParams& params);
void add_kv_import(Launches& launches, gpu::KvKind kind, const gpu::KvConvertParams& params);
void add_kv_copy(Launches& launches, const gpu::KvCopyParams& params);

}  // namespace octavo::cuda

// Operations on rows of activations as launches: norm, rope, gate, gather, embed. What they are given is what their
// kernels are given (kernels/params_ops.h); what is decided here is the kernel and how many blocks. No rows, no launch.
#pragma once
#include "files/quant.h"
#include "kernels/params_ops.h"
#include "ops/launch.h"

namespace octavo::cuda {

void add_norm(Launches& launches, const gpu::NormParams& params);
void add_rope(Launches& launches, const gpu::RopeParams& params);
void add_gate(Launches& launches, const gpu::GateParams& params);
void add_gather(Launches& launches, const gpu::GatherParams& params);
// Whether a table of this format can be gathered from as the file has it.
bool can_embed(Format format);
void add_embed(Launches& launches, Format format, const gpu::EmbedParams& params);

}  // namespace octavo::cuda

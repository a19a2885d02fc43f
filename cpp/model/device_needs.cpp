// See device_needs.h.
#include "model/device_needs.h"

#include <vector>

#include "../../cuda/ops/repack.h"
#include "cuda/steps/step_memory.h"
#include "cuda/memory/weight_memory.h"
#include "error.h"

namespace octavo {

namespace {

std::size_t part(Format format, std::int64_t n, std::int64_t k) {
  return cuda::WeightMemory::part_bytes(cuda::device_weight_bytes(format, n, k));
}

// Tensors side by side: one weight where Model makes one of them.
std::size_t side_by_side(const ModelDesc& desc, const std::string& prefix, const std::vector<std::string>& roles) {
  std::vector<const TensorSource*> sources;
  for (const std::string& role : roles) {
    const auto found = desc.tensors.find(prefix + role);
    if (found != desc.tensors.end()) sources.push_back(&found->second);
  }
  std::int64_t rows = 0;
  bool merged = true;
  std::size_t apart = 0;
  for (const TensorSource* s : sources) {
    merged = merged && s->format == sources.front()->format && rows % repacked_rows == 0;
    rows += s->rows;
    apart += part(s->format, s->rows, s->width);
  }
  return merged && !sources.empty() ? part(sources.front()->format, rows, sources.front()->width) : apart;
}

std::size_t weight_bytes(const ModelDesc& desc) {
  std::size_t bytes = side_by_side(desc, "", {"embed"}) + side_by_side(desc, "", {"output"});
  for (int i = 0; i < desc.layers; ++i) {
    const std::string prefix = "layer." + std::to_string(i) + ".";
    for (const std::vector<std::string>& roles :
         {std::vector<std::string>{"q", "k", "v"}, {"attnOut"}, {"gate", "up"}, {"down"}})
      bytes += side_by_side(desc, prefix, roles);
  }
  return bytes;
}

}  // namespace

cuda::ModelShape device_shape(const ModelDesc& d) {
  cuda::ModelShape shape{d.layers,    d.width,        d.heads,      d.kv_heads,
                         d.head_size, d.feed_forward, d.vocabulary, d.rope_dims};
  for (const auto& [role, tensor] : d.tensors)
    if (tensor.rows == 1) shape.constants += static_cast<std::size_t>(tensor.width);
  return shape;
}

DeviceNeeds device_needs(const ModelDesc& d, KvDtype dtype, int max_step_tokens, int kv_blocks) {
  if (d.vocabulary > cuda::largest_vocabulary)
    throw Error(
        Code::model_unsupported,
        "a vocabulary of " + std::to_string(d.vocabulary) + " tokens is not computed on CUDA devices",
        {{"expected", "at most " + std::to_string(cuda::largest_vocabulary)}, {"found", std::to_string(d.vocabulary)}});
  const cuda::StepMemory steps = cuda::step_memory(device_shape(d), {max_step_tokens, kv_blocks});
  return {weight_bytes(d),
          kv_block_bytes({d.layers, 1, d.kv_heads, d.head_size, dtype}),
          {{"activations", steps.activations},
           {"logits", steps.logits},
           {"attention", steps.attention},
           {"linear", steps.linear},
           {"upload", steps.upload},
           {"results", steps.results},
           {"constants", steps.constants},
           {"graphs", steps.graphs}},
          steps.device_bytes(),
          steps.pinned};
}

}  // namespace octavo

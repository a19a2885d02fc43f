#include "run_model.h"

#include <cmath>

#include "engine.h"

namespace octavo::fuzz {

namespace {

// Sizes up to which a step takes well under a millisecond.
bool quick(const ModelDesc& d) {
  return d.layers <= 4 && d.width <= 256 && d.feed_forward <= 512 && d.vocabulary <= 1024 &&
         d.heads * d.head_size <= 512;
}

std::string one_step(std::shared_ptr<const Model> model) {
  const int vocabulary = model->desc().vocabulary;
  Engine engine(std::move(model), {.threads = 1, .kv_blocks = 2, .max_step_tokens = 4, .prefix_cache = false});
  const int sequence = engine.kv().create("");
  engine.set_sampler(sequence, SamplerParams{});
  if (!engine.kv().reserve(sequence, 3)) return "an empty pool of two blocks has no room for three tokens";
  engine.submit({{{sequence, 3, 1, false, -1}}, {0, vocabulary - 1, vocabulary / 2}});
  if (!engine.wait()) return "a step was discarded that nobody interrupted";
  const int token = engine.result().rows.at(0).token;
  return token >= -1 && token < vocabulary
             ? ""
             : "drew token " + std::to_string(token) + " of " + std::to_string(vocabulary);
}

}  // namespace

Outcome refusal(const Error& error) {
  const Code code = error.code();
  if (code == Code::model_invalid || code == Code::model_unsupported || code == Code::out_of_memory)
    return {"", error.what()};
  return {std::string(code_name(code)) + ": " + error.what(), error.what()};
}

std::string run_model(ModelDesc desc) {
  const auto model = std::make_shared<Model>(std::move(desc), make_cpu_backend(nullptr));
  for (int i = 0; i < model->tensor_count(); ++i) model->load_tensor(i);
  model->finish_load();
  return quick(model->desc()) ? one_step(model) : "";
}

}  // namespace octavo::fuzz

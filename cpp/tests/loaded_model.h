// A model with all its weights, as an engine wants it.
#pragma once
#include <memory>
#include <utility>

#include "model/model.h"

namespace octavo::testing {

inline std::shared_ptr<Model> loaded(const ModelDesc& desc, std::unique_ptr<Backend> backend) {
  auto model = std::make_shared<Model>(desc, std::move(backend));
  for (int i = 0; i < model->tensor_count(); ++i) model->load_tensor(i);
  model->finish_load();
  return model;
}

}  // namespace octavo::testing

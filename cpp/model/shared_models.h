// The models of this process: engines that load the same files in the same way stand on the same weights, whichever
// thread they live in. A model is known by what was asked for (sizes, tensors, backend, instruction set) and by the
// identity of its files (device, inode, size, modification time), so a file that was replaced is another model.
// References are counted; the last one frees the weights. Loading is shared, too: see Model::load_tensor.
#pragma once
#include <memory>
#include <string>

#include "model/model.h"

namespace octavo {

struct ModelRequest {
  ModelDesc desc;
  std::string backend;  // "cpu", "reference" or "cuda:N"
  std::string isa;      // empty: the best of this machine
  // Where processes that share weights find each other (cpp/model/shared_weights.h); empty: not shared beyond this process.
  // Only for the CPU backend. It does not tell one model from another.
  std::string sharing_folder = {};
};

// The model if somebody holds it (loaded, or still loading), else null. Throws what opening its files throws.
std::shared_ptr<Model> find_model(const ModelRequest& request);
// Likewise, or made now: two that ask at once get one. A failure is the failure of whoever made it; the next one tries
// itself. found: whether somebody else had made it.
std::shared_ptr<Model> share_model(const ModelRequest& request, bool* found = nullptr);
// Likewise; null while another process reads the same weights to share them: ask again, or go without its
// sharing_folder. When sharing is not to be had (*reason says why), the weights are this process's own.
std::shared_ptr<Model> try_share_model(const ModelRequest& request, bool* found, std::string* reason);

}  // namespace octavo

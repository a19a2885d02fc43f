#include "model/shared_models.h"

#include <cstdlib>
#include <mutex>
#include <sstream>
#include <unordered_map>

#include "cuda/cuda_backend.h"
#include "error.h"
#include "model/shared_weights.h"

namespace octavo {

namespace {

// The lock of one model is held while its weights are allocated: others that want the same one wait, nobody else does.
struct Entry {
  std::mutex mutex;
  std::weak_ptr<Model> model;
};

struct Registry {
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries;
};
Registry& registry() {
  static Registry* const instance = new Registry;  // never destroyed: threads may still load while the process exits
  return *instance;
}

// Everything that decides what the weights and the forward pass are. Texts are written with their length in front.
std::string key_of(const ModelRequest& request, const ModelFiles& files, bool with_isa = true) {
  const ModelDesc& d = request.desc;
  std::ostringstream key;
  key << std::hexfloat;
  const auto text = [&](const std::string& s) { key << s.size() << ':' << s << ' '; };
  text(request.backend), text(with_isa ? request.isa : ""), text(d.architecture);
  for (const auto& file : files) text(file->identity());
  for (const int n :
       {d.layers, d.width, d.heads, d.kv_heads, d.head_size, d.feed_forward, d.vocabulary, d.rope_dims,
        d.sliding_window, d.attention_sinks, static_cast<int>(d.activation), static_cast<int>(d.rope_style)})
    key << n << ' ';
  key << d.norm_eps << ' ' << d.attention_soft_cap << ' ' << d.rope_magnitude << ' ' << d.seed << ' ';
  for (const double frequency : d.rope_frequencies) key << frequency << ' ';
  for (const auto& [role, t] : d.tensors) {
    text(role);
    key << t.file << ' ' << t.offset << ' ' << t.bytes << ' ' << static_cast<int>(t.format) << ' ' << t.rows << ' '
        << t.width << ' ';
  }
  return key.str();
}

std::shared_ptr<Entry> entry_of(const std::string& key) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  // Only the registry holds an entry without users: nobody can be making its model. Its lock, free by then, orders this
  // look after what the last user wrote.
  std::erase_if(r.entries, [](const auto& item) {
    if (item.second.use_count() != 1) return false;
    const std::lock_guard ordered(item.second->mutex);
    return item.second->model.expired();
  });
  std::shared_ptr<Entry>& entry = r.entries[key];
  if (!entry) entry = std::make_shared<Entry>();
  return entry;
}

std::unique_ptr<Backend> make_backend(const ModelRequest& request, std::shared_ptr<os::Arena> weights = nullptr) {
  if (request.backend == "reference") return make_reference_backend();
  if (request.backend == "cpu")
    return make_cpu_backend(request.isa.empty() ? nullptr : request.isa.c_str(), std::move(weights));
  if (request.backend.starts_with("cuda:")) return make_cuda_backend(std::atoi(request.backend.c_str() + 5));
  throw Error(Code::invalid_argument, "no such backend",
              {{"expected", "cpu, reference or cuda:N"}, {"found", request.backend}});
}

// More than a model's weights and vectors take in the backend's layout: rows padded to tiles of 32, blocks that are up
// to 6% larger than the file's, vectors of two bytes a number that become four.
std::uint64_t capacity_bytes(const ModelDesc& desc) {
  std::uint64_t bytes = 0;
  for (const auto& [role, t] : desc.tensors) {
    const std::uint64_t width = static_cast<std::uint64_t>(t.width),
                        rows = (static_cast<std::uint64_t>(t.rows) + 31) / 32 * 32;
    bytes += rows * row_bytes(t.format, t.width) / 8 * 9 + width * sizeof(float) + 4096;
  }
  return bytes;
}

// With weights in an image of several processes. Null while another one fills it.
std::shared_ptr<Model> make_shared_between_processes(const ModelRequest& request, ModelFiles& files) {
  const std::string key = key_of(request, files, false);
  const auto image = SharedWeights::find_or_begin(request.sharing_folder, key, capacity_bytes(request.desc));
  if (!image) return nullptr;
  return std::make_shared<Model>(request.desc, make_backend(request, image->arena()), std::move(files), image);
}

}  // namespace

std::shared_ptr<Model> find_model(const ModelRequest& request) {
  const std::shared_ptr<Entry> entry = entry_of(key_of(request, open_files(request.desc)));
  const std::lock_guard lock(entry->mutex);
  return entry->model.lock();
}

std::shared_ptr<Model> share_model(const ModelRequest& request, bool* found) {
  ModelRequest alone = request;
  alone.sharing_folder.clear();
  return try_share_model(alone, found, nullptr);
}

std::shared_ptr<Model> try_share_model(const ModelRequest& request, bool* found, std::string* reason) {
  ModelFiles files = open_files(request.desc);
  const std::shared_ptr<Entry> entry = entry_of(key_of(request, files));
  const std::lock_guard lock(entry->mutex);
  std::shared_ptr<Model> model = entry->model.lock();
  if (found) *found = model != nullptr;
  if (model) return model;
  if (!request.sharing_folder.empty() && request.backend == "cpu") {
    try {
      model = make_shared_between_processes(request, files);
      if (!model) return nullptr;
    } catch (const Error& error) {
      if (reason) *reason = error.what();
      files = open_files(request.desc);
    }
  }
  if (!model) model = std::make_shared<Model>(request.desc, make_backend(request), std::move(files));
  entry->model = model;
  return model;
}

}  // namespace octavo

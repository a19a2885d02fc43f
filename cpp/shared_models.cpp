#include "shared_models.h"

#include <mutex>
#include <sstream>
#include <unordered_map>

#include "error.h"

namespace octavo {

namespace {

using Files = std::vector<std::unique_ptr<os::File>>;

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

Files open_files(const ModelDesc& desc) {
  Files files;
  for (const std::string& path : desc.files) files.push_back(std::make_unique<os::File>(path));
  return files;
}

// Everything that decides what the weights and the forward pass are. Texts are written with their length in front.
std::string key_of(const ModelRequest& request, const Files& files) {
  const ModelDesc& d = request.desc;
  std::ostringstream key;
  key << std::hexfloat;
  const auto text = [&](const std::string& s) { key << s.size() << ':' << s << ' '; };
  text(request.backend), text(request.isa), text(d.architecture);
  for (const auto& file : files) text(file->identity());
  for (const int n : {d.layers, d.width, d.heads, d.kv_heads, d.head_size, d.feed_forward, d.vocabulary, d.rope_dims, d.sliding_window,
                      static_cast<int>(d.activation), static_cast<int>(d.rope_style)})
    key << n << ' ';
  key << d.norm_eps << ' ' << d.rope_magnitude << ' ' << d.seed << ' ';
  for (const double frequency : d.rope_frequencies) key << frequency << ' ';
  for (const auto& [role, t] : d.tensors) {
    text(role);
    key << t.file << ' ' << t.offset << ' ' << t.bytes << ' ' << static_cast<int>(t.format) << ' ' << t.rows << ' ' << t.width << ' ';
  }
  return key.str();
}

std::shared_ptr<Entry> entry_of(const std::string& key) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  // Only the registry holds an entry without users: nobody can be making its model. Its lock, free by then, orders this look
  // after what the last user wrote.
  std::erase_if(r.entries, [](const auto& item) {
    if (item.second.use_count() != 1) return false;
    const std::lock_guard ordered(item.second->mutex);
    return item.second->model.expired();
  });
  std::shared_ptr<Entry>& entry = r.entries[key];
  if (!entry) entry = std::make_shared<Entry>();
  return entry;
}

std::unique_ptr<Backend> make_backend(const ModelRequest& request) {
  if (request.backend == "reference") return make_reference_backend();
  if (request.backend == "cpu") return make_cpu_backend(request.isa.empty() ? nullptr : request.isa.c_str());
  throw Error(Code::invalid_argument, "no such backend", {{"expected", "cpu or reference"}, {"found", request.backend}});
}

}  // namespace

std::shared_ptr<Model> find_model(const ModelRequest& request) {
  const std::shared_ptr<Entry> entry = entry_of(key_of(request, open_files(request.desc)));
  const std::lock_guard lock(entry->mutex);
  return entry->model.lock();
}

std::shared_ptr<Model> share_model(const ModelRequest& request, bool* found) {
  Files files = open_files(request.desc);
  const std::shared_ptr<Entry> entry = entry_of(key_of(request, files));
  const std::lock_guard lock(entry->mutex);
  std::shared_ptr<Model> model = entry->model.lock();
  if (found) *found = model != nullptr;
  if (!model) {
    model = std::make_shared<Model>(request.desc, make_backend(request), std::move(files));
    entry->model = model;
  }
  return model;
}

}  // namespace octavo

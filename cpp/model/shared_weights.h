// The weights of a model as processes of one user share them: an image of the backend's own layout in sealed memory
// (os_sharing.h). The first process to load a model fills an image while it loads, others adopt it once nobody can
// change it any more, and offer it in their turn, so that it lives as long as one of them does. They find each other by
// empty files in a private folder, "<key>-<process>-<descriptor>"; a name that leads nowhere (its process was killed)
// is removed by whoever meets it. Nothing in the folder is believed: an image counts only when it is sealed, of this
// user, whole by its checksum, and made of the very same description and files.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "os/os.h"
#include "os/os_sharing.h"

namespace octavo {

class SharedWeights {
 public:
  // The image of `key` that another process offers, or one for this process to fill; null while another one is filling
  // one. capacity_bytes: at least what the weights will need. Throws io_error (os::PrivateFolder), out_of_memory.
  static std::shared_ptr<SharedWeights> find_or_begin(const std::string& folder, const std::string& key,
                                                      std::uint64_t capacity_bytes);
  ~SharedWeights();

  bool adopted() const { return adopted_; }
  // Where the weights lie, in the order in which they are created.
  const std::shared_ptr<os::Arena>& arena() const { return arena_; }

  // Floats that are no weights of the backend, in the order of publishing. A piece of another length is model_invalid.
  using Vectors = std::vector<std::span<float>>;
  // Of one to be filled, when all weights are created: their pages are made huge while they are written.
  void prepare_pages();
  // Of an adopted image: fills the vectors, returns the content hash.
  std::uint64_t take(const Vectors& vectors) const;
  // Of one that was filled: nobody writes to it from here on, and others find it. False when the system does not seal
  // it: it then serves this process alone.
  bool publish(const Vectors& vectors, std::uint64_t content_hash);

 private:
  struct Head;
  SharedWeights(os::PrivateFolder folder, std::string name, std::string key)
      : folder_(std::move(folder)), name_(std::move(name)), key_(std::move(key)) {}
  bool adopt_any();
  bool adopt(int process, int descriptor);
  void begin(std::uint64_t capacity_bytes);
  void offer();
  const Head& head() const;

  os::PrivateFolder folder_;
  std::string name_, key_, offered_;  // name_: of the key, in the folder
  std::shared_ptr<os::SharedMemory> memory_;
  std::shared_ptr<os::Arena> arena_;
  std::unique_ptr<os::PrivateFolder::Lock> lock_;
  bool adopted_ = false;
  std::thread pages_;
  std::atomic<bool> pages_stop_{false};
};

}  // namespace octavo

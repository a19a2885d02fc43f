#include "model/shared_weights.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "kv/content_hash.h"
#include "error.h"

namespace octavo {

// At the beginning of the image, followed by the key.
struct SharedWeights::Head {
  char magic[8];
  std::uint64_t version, key_bytes, weights_bytes, vectors_bytes, content_hash, checksum;
};

namespace {

constexpr char magic[8] = {'o', 'c', 't', 'a', 'v', 'o', 'W', 's'};
// Another one whenever a layout of cpp/cpu/isa/kernels.h or packed.h changes, or the order in which a model creates its
// weights.
constexpr std::uint64_t layout_version = 2;
constexpr std::size_t weights_at = os::huge_page;  // the head is small, and what it leaves is never touched
constexpr std::size_t line = 64;

std::string hexadecimal(std::uint64_t value) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

std::size_t lines(std::uint64_t bytes) { return static_cast<std::size_t>((bytes + line - 1) / line * line); }

std::size_t total_bytes(const SharedWeights::Vectors& vectors) {
  std::size_t bytes = 0;
  for (const std::span<float> vector : vectors) bytes += vector.size_bytes();
  return bytes;
}

}  // namespace

std::shared_ptr<SharedWeights> SharedWeights::find_or_begin(const std::string& folder, const std::string& key,
                                                            std::uint64_t capacity_bytes) {
  ContentHash hash;
  hash.add(key.data(), key.size());
  hash.add(layout_version);
  std::shared_ptr<SharedWeights> image(new SharedWeights(os::PrivateFolder(folder), hexadecimal(hash.value()), key));
  if (image->adopt_any()) return image;
  auto lock = image->folder_.try_lock(image->name_ + ".lock");
  if (!lock) return nullptr;
  // Whoever held the lock a moment ago may have finished.
  if (image->adopt_any()) return image;
  image->lock_ = std::move(lock);
  image->begin(capacity_bytes);
  return image;
}

SharedWeights::~SharedWeights() {
  pages_stop_.store(true, std::memory_order_relaxed);
  if (pages_.joinable()) pages_.join();
  if (!offered_.empty()) folder_.remove(offered_);
}

const SharedWeights::Head& SharedWeights::head() const { return *reinterpret_cast<const Head*>(memory_->data()); }

bool SharedWeights::adopt_any() {
  for (const std::string& name : folder_.names()) {
    int process = 0, descriptor = 0, end = 0;
    const std::string numbers =
        name.compare(0, name_.size() + 1, name_ + "-") == 0 ? name.substr(name_.size() + 1) : "";
    if (std::sscanf(numbers.c_str(), "%d-%d%n", &process, &descriptor, &end) != 2 ||
        static_cast<std::size_t>(end) != numbers.size())
      continue;
    if (adopt(process, descriptor)) {
      offer();
      return true;
    }
    folder_.remove(name);
  }
  return false;
}

bool SharedWeights::adopt(int process, int descriptor) {
  std::shared_ptr<os::SharedMemory> memory = os::SharedMemory::adopt(process, descriptor);
  if (!memory || memory->bytes() < weights_at) return false;
  memory_ = std::move(memory);
  const Head& h = head();
  const std::uint64_t room = memory_->bytes() - weights_at;
  const bool fits = std::memcmp(h.magic, magic, sizeof magic) == 0 && h.version == layout_version &&
                    h.key_bytes == key_.size() && h.key_bytes <= weights_at - sizeof(Head) && h.weights_bytes <= room &&
                    h.vectors_bytes <= room - h.weights_bytes &&
                    std::memcmp(memory_->data() + sizeof(Head), key_.data(), key_.size()) == 0;
  ContentHash sum;
  if (fits) sum.add(memory_->data() + weights_at, static_cast<std::size_t>(h.weights_bytes + h.vectors_bytes));
  if (!fits || h.weights_bytes % line != 0 || sum.value() != h.checksum) {
    memory_ = nullptr;
    return false;
  }
  arena_ = std::make_shared<os::Arena>(std::shared_ptr<std::uint8_t>(memory_, memory_->data() + weights_at),
                                       static_cast<std::size_t>(h.weights_bytes));
  adopted_ = true;
  return true;
}

void SharedWeights::begin(std::uint64_t capacity_bytes) {
  if (key_.size() > weights_at - sizeof(Head))
    throw Error(Code::model_unsupported, "the description of a model is too long to be shared", {});
  memory_ = std::make_shared<os::SharedMemory>(weights_at + lines(capacity_bytes));
  arena_ = std::make_shared<os::Arena>(std::shared_ptr<std::uint8_t>(memory_, memory_->data() + weights_at),
                                       lines(capacity_bytes));
}

void SharedWeights::prepare_pages() {
  if (adopted_ || !os::huge_pages_allowed()) return;
  const std::size_t end = weights_at + arena_->used_bytes();
  try {
    pages_ = std::thread([this, end] {
      for (std::size_t at = weights_at; at < end && !pages_stop_.load(std::memory_order_relaxed); at += os::huge_page)
        memory_->use_huge_pages(at, os::huge_page);
    });
  } catch (const std::system_error&) {
    // No thread to be had: small pages do as well.
  }
}

std::uint64_t SharedWeights::take(const Vectors& vectors) const {
  const Head& h = head();
  if (h.vectors_bytes != total_bytes(vectors) || arena_->used_bytes() != h.weights_bytes)
    throw Error(Code::model_invalid, "shared weights have another size than the model",
                {{"expected", std::to_string(arena_->used_bytes()) + " + " + std::to_string(total_bytes(vectors))},
                 {"found", std::to_string(h.weights_bytes) + " + " + std::to_string(h.vectors_bytes)}});
  const std::uint8_t* from = memory_->data() + weights_at + h.weights_bytes;
  for (const std::span<float> vector : vectors) {
    std::memcpy(vector.data(), from, vector.size_bytes());
    from += vector.size_bytes();
  }
  return h.content_hash;
}

bool SharedWeights::publish(const Vectors& vectors, std::uint64_t content_hash) {
  const std::size_t weights = arena_->used_bytes(), floats = total_bytes(vectors);
  std::uint8_t* to = memory_->data() + weights_at + weights;
  if (weights + floats > memory_->bytes() - weights_at)
    throw Error(Code::internal, "shared weights are larger than was reckoned",
                {{"found", std::to_string(weights + floats)}});
  for (const std::span<float> vector : vectors) {
    std::memcpy(to, vector.data(), vector.size_bytes());
    to += vector.size_bytes();
  }
  ContentHash sum;
  sum.add(memory_->data() + weights_at, weights + floats);
  Head h{{}, layout_version, key_.size(), weights, floats, content_hash, sum.value()};
  std::memcpy(h.magic, magic, sizeof magic);
  std::memcpy(memory_->data(), &h, sizeof h);
  std::memcpy(memory_->data() + sizeof h, key_.data(), key_.size());
  if (pages_.joinable()) {
    pages_.join();
    memory_->use_huge_pages(weights_at, weights);  // where the first try met a writer
  }
  const bool sealed = memory_->seal();
  if (sealed) offer();
  lock_ = nullptr;
  return sealed;
}

void SharedWeights::offer() {
  offered_ = name_ + "-" + std::to_string(os::process_id()) + "-" + std::to_string(memory_->descriptor());
  folder_.add(offered_);
}

}  // namespace octavo

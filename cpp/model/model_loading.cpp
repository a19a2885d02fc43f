// How the weights of a model get from its files into the backend's layout. Whoever asks for a tensor reads and repacks
// it piece by piece; for a large model a few helpers do the same, each taking the next piece in the order of the files:
// the system reads on ahead of them all, and while one waits for it the others repack. A piece is never handed from one
// thread to another: waking one takes as long as loading a piece. Several loaders may share the work
// (cpp/model/shared_models.h). Helpers only make it faster: a piece that they could not load is read by the one who asks for
// it.
#include <algorithm>
#include <system_error>

#include "kv/content_hash.h"
#include "error.h"
#include "model/model.h"
#include "model/shared_weights.h"
#include "files/synthetic.h"

namespace octavo {

namespace {

constexpr std::uint64_t alone_bytes = 8 << 20;  // a model up to this size is loaded before threads have started
constexpr int most_loaders = 8;                 // one loads some 2 GB/s: more than most disks give

}  // namespace

std::uint64_t Model::task_bytes(const Task& task) const {
  return row_bytes(task.source->format, static_cast<std::size_t>(task.source->width)) *
         static_cast<std::uint64_t>(task.rows);
}

std::uint64_t Model::load_tensor(int index) {
  if (index < 0 || index >= tensor_count())
    throw Error(Code::invalid_argument, "no such tensor",
                {{"expected", "0.." + std::to_string(tensor_count() - 1)}, {"found", std::to_string(index)}});
  start_helpers();
  Task& task = tasks_[static_cast<std::size_t>(index)];
  std::unique_lock lock(load_mutex_);
  while (task.progress != Progress::loaded)
    if (task.progress == Progress::untouched) load_task(task, lock);
    else if (!help(lock)) changed_.wait(lock);
  return task.source->file >= 0 ? task_bytes(task) : 0;
}

// Loads the next piece that nobody has begun, whoever wants it; a failure leaves it to them, and is the end of helping.
// False when there is none. The lock is given up meanwhile.
bool Model::help(std::unique_lock<std::mutex>& lock) {
  while (help_.next < tasks_.size() && tasks_[help_.next].progress != Progress::untouched) ++help_.next;
  if (help_.next == tasks_.size()) return false;
  try {
    load_task(tasks_[help_.next++], lock);
  } catch (const std::exception&) {
    help_.next = tasks_.size();
  }
  return true;
}

// Of a piece that nobody has begun. The lock is given up meanwhile.
void Model::load_task(Task& task, std::unique_lock<std::mutex>& lock) {
  os::Memory rows;
  if (!help_.spare.empty()) {
    rows = std::move(help_.spare.back());
    help_.spare.pop_back();
  }
  const auto ended = [&](Progress progress) {
    lock.lock();
    task.progress = progress;
    help_.spare.push_back(std::move(rows));
    changed_.notify_all();
  };
  task.progress = Progress::loading;
  lock.unlock();
  try {
    read_rows(task, rows);
    store_rows(task, rows.data());
  } catch (...) {
    ended(Progress::untouched);
    throw;
  }
  ended(Progress::loaded);
}

// Into a buffer that grows: of pages of its own, which go back to the system after the load, as the heap's may not.
void Model::read_rows(const Task& task, os::Memory& rows) const {
  const TensorSource& s = *task.source;
  const std::uint64_t bytes = task_bytes(task), stride = bytes / static_cast<std::uint64_t>(task.rows);
  if (rows.bytes() < bytes) rows = os::Memory(bytes);
  if (s.file >= 0)
    files_[static_cast<std::size_t>(s.file)]->read(rows.data(),
                                                   s.offset + stride * static_cast<std::uint64_t>(task.first), bytes);
  else
    synthetic_rows(s.format, desc_.seed, task.number, task.first, task.rows, s.width,
                   static_cast<std::uint8_t*>(rows.data()));
}

void Model::store_rows(Task& task, const void* rows) {
  ContentHash hash;
  hash.add(rows, task_bytes(task));
  task.hash = hash.value();
  if (task.weight)
    backend_->weight_load(*task.weight, task.row, task.rows, rows);
  else
    dequantise_row(task.source->format, rows, static_cast<std::size_t>(task.source->width), task.vector);
}

void Model::start_helpers() {
  const std::lock_guard lock(load_mutex_);
  if (help_.started || loaded()) return;
  std::uint64_t bytes = 0;
  for (const Task& task : tasks_) bytes += task_bytes(task);
  if (bytes <= alone_bytes) return;
  help_.started = true;
  try {
    for (int i = 1; i < std::min(os::cpus_available(), most_loaders); ++i)
      help_.threads.emplace_back(&Model::load_along, this);
  } catch (const std::system_error&) {
    // No more threads to be had: those that there are do it.
  }
}

void Model::load_along() {
  std::unique_lock lock(load_mutex_);
  while (!help_.stop && help(lock)) continue;
}

void Model::stop_helpers() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(load_mutex_);
    help_.stop = true;
    threads.swap(help_.threads);
  }
  for (std::thread& thread : threads) thread.join();
}

void Model::finish_load() {
  {
    const std::lock_guard lock(load_mutex_);
    for (std::size_t i = 0; i < tasks_.size(); ++i)
      if (tasks_[i].progress != Progress::loaded)
        throw Error(Code::invalid_argument, "tensor " + std::to_string(i) + " was not loaded", {});
  }
  stop_helpers();
  const std::lock_guard lock(load_mutex_);
  if (loaded()) return;  // another loader was first: what readers see stays as it is
  ContentHash all;
  for (const Task& task : tasks_) all.add(task.hash);
  if (shared_ && shared_->publish(vectors(), all.value())) origin_ = Origin::offered;
  complete(all.value());
}

void Model::complete(std::uint64_t content_hash) {
  files_.clear();
  help_.spare.clear();
  content_hash_ = content_hash;
  loaded_.store(true, std::memory_order_release);
}

// What is no weight of the backend, in the order of the tasks.
std::vector<std::span<float>> Model::vectors() {
  std::vector<std::span<float>> found;
  for (const Task& task : tasks_)
    if (task.vector) found.emplace_back(task.vector, static_cast<std::size_t>(task.source->width));
  return found;
}

void Model::adopt_or_prepare() {
  if (!shared_->adopted()) return shared_->prepare_pages();
  const std::uint64_t content_hash = shared_->take(vectors());
  for (Task& task : tasks_) task.progress = Progress::loaded;
  origin_ = Origin::adopted;
  complete(content_hash);
}

}  // namespace octavo

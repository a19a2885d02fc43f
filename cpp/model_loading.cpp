// How the weights of a model get from its files into the backend's layout. A large model is a pipeline: one thread
// reads pieces of tensors in the order of the files (a steady stream is what the system reads ahead for, in large
// units), and whoever asks for a tensor repacks what has been read, together with a few helpers. Several loaders may
// share the work (cpp/shared_models.h). The pipeline only makes it faster: a piece that it could not load is read by
// the one who asks for it.
#include <algorithm>
#include <system_error>

#include "content_hash.h"
#include "error.h"
#include "model.h"
#include "shared_weights.h"
#include "synthetic.h"

namespace octavo {

namespace {

constexpr std::uint64_t alone_bytes = 8 << 20;  // a model up to this size is loaded before threads have started
constexpr int most_loaders = 8;                 // one repacks about 2 GB/s: more than most disks give

}  // namespace

std::uint64_t Model::task_bytes(const Task& task) const {
  return row_bytes(task.source->format, static_cast<std::size_t>(task.source->width)) * static_cast<std::uint64_t>(task.rows);
}

std::uint64_t Model::load_tensor(int index) {
  if (index < 0 || index >= tensor_count())
    throw Error(Code::invalid_argument, "no such tensor", {{"expected", "0.." + std::to_string(tensor_count() - 1)}, {"found", std::to_string(index)}});
  start_pipeline();
  Task& task = tasks_[static_cast<std::size_t>(index)];
  std::unique_lock lock(load_mutex_);
  while (task.progress != Progress::loaded) {
    if (!pipeline_.ready.empty()) {
      repack_ready(lock);
    } else if (task.progress == Progress::untouched && !pipeline_.reading) {
      task.progress = Progress::loading;
      lock.unlock();
      load_alone(task);
      lock.lock();
    } else {
      changed_.wait(lock);
    }
  }
  return task.source->file >= 0 ? task_bytes(task) : 0;
}

void Model::set_progress(Task& task, Progress progress) {
  const std::lock_guard lock(load_mutex_);
  task.progress = progress;
  changed_.notify_all();
}

void Model::load_alone(Task& task) {
  try {
    std::vector<std::uint8_t> rows;
    read_rows(task, rows);
    store_rows(task, rows);
  } catch (...) {
    set_progress(task, Progress::untouched);
    throw;
  }
  set_progress(task, Progress::loaded);
}

void Model::read_rows(const Task& task, std::vector<std::uint8_t>& rows) const {
  const TensorSource& s = *task.source;
  rows.resize(task_bytes(task));
  const std::uint64_t stride = rows.size() / static_cast<std::uint64_t>(task.rows);
  if (s.file >= 0)
    files_[static_cast<std::size_t>(s.file)]->read(rows.data(), s.offset + stride * static_cast<std::uint64_t>(task.first), rows.size());
  else
    synthetic_rows(s.format, desc_.seed, task.number, task.first, task.rows, s.width, rows.data());
}

void Model::store_rows(Task& task, const std::vector<std::uint8_t>& rows) {
  ContentHash hash;
  hash.add(rows.data(), rows.size());
  task.hash = hash.value();
  if (task.weight)
    backend_->weight_load(*task.weight, task.row, task.rows, rows.data());
  else
    dequantise_row(task.source->format, rows.data(), static_cast<std::size_t>(task.source->width), task.vector);
}

void Model::start_pipeline() {
  const std::lock_guard lock(load_mutex_);
  if (pipeline_.started || loaded()) return;
  std::uint64_t bytes = 0;
  for (const Task& task : tasks_) bytes += task_bytes(task);
  if (bytes <= alone_bytes) return;
  const int loaders = std::min(os::cpus_available(), most_loaders);
  pipeline_.started = true;
  pipeline_.spare.resize(static_cast<std::size_t>(loaders) + 2);  // a piece each, and two to read into
  try {
    pipeline_.threads.emplace_back(&Model::read_along, this);
    pipeline_.reading = true;
    for (int i = 1; i < loaders; ++i) pipeline_.threads.emplace_back(&Model::repack_along, this);
  } catch (const std::system_error&) {
    // No more threads to be had: those that there are do it.
  }
}

void Model::stop_pipeline() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(load_mutex_);
    pipeline_.stop = true;
    threads.swap(pipeline_.threads);
    changed_.notify_all();
  }
  for (std::thread& thread : threads) thread.join();
}

void Model::read_along() {
  std::unique_lock lock(load_mutex_);
  for (Task& task : tasks_) {
    if (task.progress != Progress::untouched) continue;
    changed_.wait(lock, [&] { return pipeline_.stop || !pipeline_.spare.empty(); });
    if (pipeline_.stop) break;
    std::vector<std::uint8_t> rows = std::move(pipeline_.spare.back());
    pipeline_.spare.pop_back();
    task.progress = Progress::loading;
    try {
      lock.unlock();
      if (task.source->file >= 0) read_rows(task, rows);  // what is computed, the loaders compute
      lock.lock();
      pipeline_.ready.emplace_back(&task, std::move(rows));
    } catch (const std::exception&) {
      // Whoever asks for that piece meets the same failure.
      if (!lock.owns_lock()) lock.lock();
      task.progress = Progress::untouched;
      break;
    }
    changed_.notify_all();
  }
  pipeline_.reading = false;
  changed_.notify_all();
}

void Model::repack_along() {
  std::unique_lock lock(load_mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return pipeline_.stop || !pipeline_.reading || !pipeline_.ready.empty(); });
    if (pipeline_.stop || pipeline_.ready.empty()) return;
    repack_ready(lock);
  }
}

// Repacks the piece that has waited longest. A failure leaves it untouched. The lock is given up meanwhile.
void Model::repack_ready(std::unique_lock<std::mutex>& lock) {
  auto [task, rows] = std::move(pipeline_.ready.front());
  pipeline_.ready.pop_front();
  lock.unlock();
  Progress progress = Progress::loaded;
  try {
    if (task->source->file < 0) read_rows(*task, rows);
    store_rows(*task, rows);
  } catch (const std::exception&) {
    progress = Progress::untouched;
  }
  lock.lock();
  task->progress = progress;
  pipeline_.spare.push_back(std::move(rows));
  changed_.notify_all();
}

void Model::finish_load() {
  {
    const std::lock_guard lock(load_mutex_);
    for (std::size_t i = 0; i < tasks_.size(); ++i)
      if (tasks_[i].progress != Progress::loaded) throw Error(Code::invalid_argument, "tensor " + std::to_string(i) + " was not loaded", {});
  }
  stop_pipeline();
  const std::lock_guard lock(load_mutex_);
  if (loaded()) return;  // another loader was first: what readers see stays as it is
  ContentHash all;
  for (const Task& task : tasks_) all.add(task.hash);
  if (shared_ && shared_->publish(vectors(), all.value())) origin_ = Origin::offered;
  complete(all.value());
}

void Model::complete(std::uint64_t content_hash) {
  files_.clear();
  pipeline_.spare.clear();
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

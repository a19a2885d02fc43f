// Loading a model that is large enough for helpers: every row of every weight arrives once and as the file has it,
// whoever asks in whatever order; failures reach the one who asks; one that is given up in the middle goes away.
#include <doctest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "error.h"
#include "tests/forwarding_backend.h"
#include "model/model.h"
#include "tests/one_layer_model.h"

using namespace octavo;

namespace {

constexpr int width = 64, vocabulary = 50000;  // 12.8 MB of f32
constexpr std::size_t count = static_cast<std::size_t>(width) * (vocabulary + 7 * width + 3);

float value_at(std::size_t i) { return static_cast<float>(i % 1000003) - 500000.0f; }

struct LargeFile {
  std::string path =
      (std::filesystem::temp_directory_path() / ("octavo-loading-" + std::to_string(::getpid()) + ".bin")).string();
  LargeFile() {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = value_at(i);
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(values.data()), count * sizeof(float));
  }
  ~LargeFile() { std::filesystem::remove(path); }
};

ModelDesc description(const std::string& path) {
  // The embedding in the middle of the file.
  return one_layer_model(path, width, vocabulary, {"q", "k", "v", "embed", "attnOut", "gate", "up", "down"});
}

// Notes where each row of a weight came from: the number of its first value in the file.
class Recording : public ForwardingBackend {
 public:
  using Rows = std::map<const Weight*, std::map<std::int64_t, std::size_t>>;
  Recording(Rows& rows, std::atomic<int>& twice)
      : ForwardingBackend(make_cpu_backend(nullptr)), rows_(rows), twice_(twice) {}
  void weight_load(Weight& w, std::int64_t row, std::int64_t n, const void* data) override {
    const float* values = static_cast<const float*>(data);
    {
      const std::lock_guard lock(mutex_);
      for (std::int64_t r = 0; r < n; ++r) {
        // Rows are 64 values: the first two tell where they are, as the period is odd.
        std::size_t at = static_cast<std::size_t>(values[r * width] + 500000.0f);
        while (at % width != 0) at += 1000003;
        bool whole = at < count;
        for (std::size_t i = 0; whole && i < width; ++i)
          whole = values[static_cast<std::size_t>(r) * width + i] == value_at(at + i);
        twice_ += !rows_[&w].emplace(row + r, whole ? at : SIZE_MAX).second;
      }
    }
    ForwardingBackend::weight_load(w, row, n, data);
  }

 private:
  Rows& rows_;
  std::atomic<int>& twice_;
  std::mutex mutex_;
};

void check_complete(const Recording::Rows& rows) {
  CHECK(rows.size() == 5);  // embed, qkv, attnOut, gate and up, down
  std::size_t total = 0;
  for (const auto& [weight, of_weight] : rows) {
    CHECK(of_weight.size() == static_cast<std::size_t>(weight->n));
    // Consecutive rows of a weight lie one after another in this file.
    std::size_t broken = 0;
    for (const auto& [row, at] : of_weight)
      broken += at != of_weight.begin()->second + static_cast<std::size_t>(row) * width;
    CHECK(broken == 0);
    total += of_weight.size();
  }
  CHECK(total == vocabulary + 7 * width);
}

Code failure_of(Model& model, int index) {
  try {
    model.load_tensor(index);
  } catch (const Error& e) {
    return e.code();
  }
  return Code::internal;
}

}  // namespace

TEST_CASE("model loading: every row once and as the file has it, from either end, and by several loaders") {
  const LargeFile file;
  for (const int loaders : {1, 4}) {
    for (const bool backwards : {false, true}) {
      CAPTURE(loaders);
      CAPTURE(backwards);
      Recording::Rows rows;
      std::atomic<int> twice{0};
      Model model(description(file.path), std::make_unique<Recording>(rows, twice));
      const int n = model.tensor_count();
      REQUIRE(n > 16);
      std::atomic<std::uint64_t> bytes{0};
      std::vector<std::thread> threads;
      for (int t = 0; t < loaders; ++t)
        threads.emplace_back([&] {
          for (int i = 0; i < n; ++i) bytes += model.load_tensor(backwards ? n - 1 - i : i);
          model.finish_load();
        });
      for (std::thread& thread : threads) thread.join();
      CHECK(bytes == static_cast<std::uint64_t>(loaders) * count * sizeof(float));
      CHECK(model.loaded());
      CHECK(twice == 0);
      check_complete(rows);
    }
  }
}

TEST_CASE("model loading: a file cut short fails whoever asks for what is missing, and only them, again and again") {
  const LargeFile file;
  Recording::Rows rows;
  std::atomic<int> twice{0};
  Model model(description(file.path), std::make_unique<Recording>(rows, twice));
  std::filesystem::resize_file(file.path, count * sizeof(float) / 2);
  const int n = model.tensor_count();
  CHECK(model.load_tensor(0) > 0);
  CHECK(failure_of(model, n - 1) == Code::model_invalid);
  CHECK(failure_of(model, n - 1) == Code::model_invalid);
  CHECK(failure_of(model, n / 2 + 2) == Code::model_invalid);
  CHECK(model.load_tensor(n / 4) > 0);
  CHECK_THROWS_AS(model.finish_load(), Error);
}

TEST_CASE("model loading: one that is given up at any moment goes away") {
  const LargeFile file;
  for (int asked = 0; asked < 12; ++asked) {
    Recording::Rows rows;
    std::atomic<int> twice{0};
    Model model(description(file.path), std::make_unique<Recording>(rows, twice));
    for (int i = 0; i < asked; ++i) model.load_tensor(i);
    CHECK_FALSE(model.loaded());
  }
}

// Models that are shared between the engines of a process: what counts as the same, loading together, failures, and
// when the weights go. The model is a single layer of seeded rows in a file that may be damaged or replaced.
#include "model/shared_models.h"

#include <doctest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "engine.h"
#include "error.h"
#include "tests/one_layer_model.h"

using namespace octavo;

namespace {

constexpr int width = 64, vocabulary = 96;

struct ModelFile {
  std::string path =
      (std::filesystem::temp_directory_path() / ("octavo-shared-" + std::to_string(::getpid()) + ".bin")).string();
  explicit ModelFile(bool damaged = false) { write(damaged); }
  ~ModelFile() { std::filesystem::remove(path); }
  // f32 rows; damaged: too short by one number.
  void write(bool damaged) const {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    const std::size_t count = static_cast<std::size_t>(width) * (vocabulary + 7 * width + 3) - (damaged ? 1 : 0);
    for (std::size_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(i * 2654435761u % 1000) / 1000.0f - 0.5f;
      out.write(reinterpret_cast<const char*>(&value), sizeof value);
    }
  }
};

ModelRequest request_of(const ModelFile& file, const std::string& backend = "cpu") {
  return {one_layer_model(file.path, width, vocabulary, {"embed", "q", "k", "v", "attnOut", "gate", "up", "down"}),
          backend, ""};
}

void load(Model& model) {
  for (int i = 0; i < model.tensor_count(); ++i) model.load_tensor(i);
  model.finish_load();
}

std::vector<float> scores(const std::shared_ptr<Model>& model) {
  Engine engine(model, {2, 4, 16, false});
  const int sequence = engine.kv().create("");
  REQUIRE(engine.kv().reserve(sequence, 8));
  engine.submit({{{sequence, 8, 8, true, -1}}, {1, 2, 3, 4, 5, 6, 7, 8}});
  REQUIRE(engine.wait());
  std::vector<float> out;
  for (const SampleRow& row : engine.result().rows) out.push_back(row.logprob);
  return out;
}

Code code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.code();
  }
  FAIL("nothing was thrown");
  return Code::internal;
}

}  // namespace

TEST_CASE("shared models: the same file in the same way is one model; another backend or a changed file is another") {
  const ModelFile file;
  const auto first = share_model(request_of(file));
  CHECK(share_model(request_of(file)) == first);
  CHECK(find_model(request_of(file)) == first);
  CHECK(find_model(request_of(file, "reference")) == nullptr);
  for (void (*change)(ModelDesc&) : std::initializer_list<void (*)(ModelDesc&)>{
           [](ModelDesc& d) { d.norm_eps = 1e-6f; }, [](ModelDesc& d) { d.rope_style = RopeStyle::interleaved; },
           [](ModelDesc& d) { d.rope_frequencies[3] = 0.5; }, [](ModelDesc& d) { d.rope_magnitude = 2; },
           [](ModelDesc& d) { d.sliding_window = 4; }, [](ModelDesc& d) { d.attention_sinks = 2; },
           [](ModelDesc& d) { d.attention_soft_cap = 30; }}) {
    ModelRequest other = request_of(file);
    change(other.desc);
    CHECK(share_model(other) != first);
  }
  file.write(false);
  std::filesystem::last_write_time(file.path, std::filesystem::last_write_time(file.path) + std::chrono::seconds(5));
  CHECK(share_model(request_of(file)) != first);
}

TEST_CASE("shared models: the weights go with the last one who holds them") {
  const ModelFile file;
  std::weak_ptr<Model> weights;
  {
    auto a = share_model(request_of(file));
    weights = a;
    auto b = share_model(request_of(file));
    a.reset();
    load(*b);
    const Engine engine(b, {1, 4, 16, false});
    b.reset();
    CHECK_FALSE(weights.expired());
    CHECK(find_model(request_of(file)) != nullptr);
  }
  CHECK(weights.expired());
  CHECK(find_model(request_of(file)) == nullptr);
}

TEST_CASE("shared models: threads that load at once load each tensor once, and all get the whole model") {
  const ModelFile file;
  const std::vector<float> alone = [&] {
    const auto model = share_model(request_of(file));
    load(*model);
    return scores(model);
  }();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::shared_ptr<Model>> models(4);
    std::vector<std::vector<float>> results(models.size());
    std::vector<std::uint64_t> hashes(models.size());
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < models.size(); ++t)
      threads.emplace_back([&, t] {
        models[t] = share_model(request_of(file));
        load(*models[t]);
        hashes[t] = models[t]->content_hash();
        results[t] = scores(models[t]);
      });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t t = 0; t < models.size(); ++t) {
      CHECK(models[t] == models[0]);
      CHECK(results[t] == alone);
      CHECK(hashes[t] == hashes[0]);
    }
  }
}

TEST_CASE("shared models: one that gives up in the middle leaves the rest to the others; finishing twice is fine") {
  const ModelFile file;
  const auto second = share_model(request_of(file));
  {
    const auto first = share_model(request_of(file));
    for (int i = 0; i < 3; ++i) first->load_tensor(i);
  }
  CHECK(code_of([&] { Engine(second, {1, 4, 16, false}); }) == Code::invalid_argument);
  CHECK(code_of([&] { second->finish_load(); }) == Code::invalid_argument);
  load(*second);
  second->finish_load();
  CHECK(second->load_tensor(0) > 0);
  CHECK(scores(second).size() == 7);
}

TEST_CASE("shared models: a load that fails does not fail the next one") {
  const ModelFile file(true);
  const auto broken = share_model(request_of(file));
  CHECK(code_of([&] { load(*broken); }) == Code::model_invalid);
  // Again, by another one who held it meanwhile: it tries for itself.
  CHECK(code_of([&] { load(*share_model(request_of(file))); }) == Code::model_invalid);
  file.write(false);
  const auto repaired = share_model(request_of(file));
  CHECK(repaired != broken);
  load(*repaired);
  CHECK(code_of([&] { share_model({request_of(file).desc, "cpu", "no such set"}); }) == Code::invalid_argument);
  ModelRequest missing = request_of(file);
  missing.desc.files = {file.path + ".missing"};
  CHECK(code_of([&] { share_model(missing); }) == Code::file_not_found);
}

TEST_CASE(
    "shared models: engines of several threads compute on one model, with every backend, and none disturbs another") {
  const ModelFile file;
  for (const char* backend : {"cpu", "reference"}) {
    const auto model = share_model(request_of(file, backend));
    load(*model);
    const std::vector<float> alone = scores(model);
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) wrong += scores(model) != alone;
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("shared models: processes that share weights compute alike, on whatever instruction set") {
  const ModelFile file;
  const std::string folder = file.path + ".sharing";
  std::vector<float> expected = [&] {
    const auto alone = share_model(request_of(file));
    load(*alone);
    return scores(alone);
  }();
  bool found = false;
  std::string reason;
  ModelRequest request = request_of(file);
  request.sharing_folder = folder;
  const auto first = try_share_model(request, &found, &reason);
  REQUIRE(first);
  // Another instruction set is another model of this process, but the weights are the same.
  request.isa = "baseline";
  CHECK(try_share_model(request, &found, &reason) == nullptr);  // busy
  load(*first);
  CHECK(first->origin() == Model::Origin::offered);
  CHECK(scores(first) == expected);
  const auto second = try_share_model(request, &found, &reason);
  REQUIRE(second);
  CHECK(reason.empty());
  CHECK_FALSE(found);
  CHECK(second->origin() == Model::Origin::adopted);
  CHECK(second->loaded());
  load(*second);  // nothing to do, and no error
  CHECK(second->content_hash() == first->content_hash());
  CHECK(scores(second) == expected);

  SUBCASE("the reference has a layout of its own and shares nothing") {
    request.backend = "reference";
    const auto reference = try_share_model(request, &found, &reason);
    load(*reference);
    CHECK(reference->origin() == Model::Origin::own);
    CHECK(scores(reference) == expected);
  }
  SUBCASE("a changed file is another model") {
    file.write(false);
    request.isa = "";
    const auto third = try_share_model(request, &found, &reason);
    REQUIRE(third);
    CHECK(third->origin() == Model::Origin::own);
  }
  SUBCASE("without a folder to trust the weights are one's own, and the reason is told") {
    file.write(false);
    request.sharing_folder = "/proc/nowhere";
    const auto third = try_share_model(request, &found, &reason);
    REQUIRE(third);
    CHECK(reason.find("/proc/nowhere") != std::string::npos);
    load(*third);
    CHECK(third->origin() == Model::Origin::own);
    CHECK(scores(third) == expected);
  }
  std::filesystem::remove_all(folder);
}

// Replays the fuzzers' corpus (cpp/fuzz/corpus): hand-made damage, each file named after it, and what fuzzing added.
// Under ASan and UBSan in `npm test`, so that nothing a fuzzer has found comes back.
#include <doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "fuzz/cases.h"

using namespace octavo;

namespace {

std::vector<std::filesystem::path> corpus(const std::string& name) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(OCTAVO_SOURCE_DIR) + "/cpp/fuzz/corpus/" + name))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const std::uint8_t* data(const std::string& s) { return reinterpret_cast<const std::uint8_t*>(s.data()); }

// Fuzzers name files by their hash; those made by hand have words.
bool hand_made(const std::string& name) { return name.size() != 40 || name.find('-') != std::string::npos; }

// Sound files whose numbers are not: they load, and a step tells that its logits are not finite.
const std::set<std::string> broken_numbers = {"nan-weights-f16", "infinite-weights-f16", "nan-norm"};

}  // namespace

TEST_CASE("fuzz corpus: what could go wrong if a GGUF file is damaged in a way that is known") {
  int taken = 0, refused = 0;
  for (const auto& path : corpus("gguf")) {
    const std::string name = path.filename().string();
    INFO(name);
    const fuzz::Outcome outcome = fuzz::gguf_case(path.string());
    CHECK(outcome.broken == "");
    (outcome.refusal.empty() ? taken : refused) += 1;
    if (!hand_made(name)) continue;
    const bool sound = name.rfind("good-", 0) == 0 || broken_numbers.count(name) != 0;
    // Good headers without a whole model are refused as a model.
    const bool model = name.rfind("good-q", 0) == 0 || name.rfind("good-f", 0) == 0 || name.rfind("good-b", 0) == 0 ||
                       broken_numbers.count(name) != 0;
    if (model) CHECK(outcome.refusal == "");
    if (!sound) CHECK(outcome.refusal != "");
  }
  CHECK(taken >= 8);
  CHECK(refused >= 60);
}

TEST_CASE("fuzz corpus: what could go wrong if a model's description contradicts itself") {
  int taken = 0, refused = 0;
  for (const auto& path : corpus("model")) {
    const std::string bytes = content(path);
    INFO(path.filename().string());
    const fuzz::Outcome outcome = fuzz::model_case(data(bytes), bytes.size());
    CHECK(outcome.broken == "");
    if (path.filename().string().rfind("good", 0) == 0) CHECK(outcome.refusal == "");
    (outcome.refusal.empty() ? taken : refused) += 1;
  }
  CHECK(taken >= 4);
  CHECK(refused >= 30);
}

TEST_CASE("fuzz corpus: what could go wrong if a compiled grammar says anything") {
  int taken = 0, refused = 0;
  for (const auto& path : corpus("grammar")) {
    const std::string bytes = content(path);
    INFO(path.filename().string());
    const fuzz::Outcome outcome = fuzz::grammar_case(data(bytes), bytes.size());
    CHECK(outcome.broken == "");
    if (path.filename().string().rfind("good", 0) == 0) CHECK(outcome.refusal == "");
    (outcome.refusal.empty() ? taken : refused) += 1;
  }
  CHECK(taken >= 10);
  CHECK(refused >= 10);
}

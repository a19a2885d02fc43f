// Weights that processes share: what is adopted, what is refused, and what a process leaves that is gone. One process
// plays all parts here; test/shared-weights.test.ts has several.
#include "model/shared_weights.h"

#include <doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include "kv/content_hash.h"
#include "error.h"

using namespace octavo;

namespace {

constexpr std::size_t weight_bytes = (std::size_t{5} << 20) + 64;  // two whole huge pages and some

struct Folder {
  std::string path =
      (std::filesystem::temp_directory_path() / ("octavo-weights-" + std::to_string(::getpid()))).string();
  Folder() { std::filesystem::remove_all(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::vector<std::string> names(const std::string& ending = "") const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.path().string().ends_with(ending)) found.push_back(entry.path().filename().string());
    return found;
  }
  // What an image offered under the same key would be called.
  std::string name(int process, int descriptor) const {
    const std::string lock = names(".lock").at(0);
    return lock.substr(0, lock.size() - 5) + "-" + std::to_string(process) + "-" + std::to_string(descriptor);
  }
  void add(const std::string& name) const { std::ofstream(path + "/" + name).put('\n'); }
};

struct Content {
  std::vector<float> first = {1.5f, -2.0f, 3.25f}, second = std::vector<float>(100, 0.5f);
  SharedWeights::Vectors vectors() { return {first, second}; }
};

std::uint8_t pattern(std::size_t i) { return static_cast<std::uint8_t>(i * 2654435761u >> 24); }

std::shared_ptr<SharedWeights> find(const Folder& folder, const std::string& key = "a model") {
  return SharedWeights::find_or_begin(folder.path, key, weight_bytes + 4096);
}
std::shared_ptr<std::uint8_t> fill(SharedWeights& weights) {
  std::shared_ptr<std::uint8_t> block = weights.arena()->allocate(weight_bytes);
  weights.prepare_pages();
  for (std::size_t i = 0; i < weight_bytes; ++i) block.get()[i] = pattern(i);
  return block;
}
bool holds_pattern(const std::uint8_t* block) {
  for (std::size_t i = 0; i < weight_bytes; ++i)
    if (block[i] != pattern(i)) return false;
  return true;
}

Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e;
  }
  FAIL("nothing was thrown");
  return Error(Code::internal, "");
}

}  // namespace

TEST_CASE("shared weights: one fills, others wait, then all stand on the same memory, which nobody can change") {
  const Folder folder;
  auto first = find(folder);
  REQUIRE(first);
  CHECK_FALSE(first->adopted());
  CHECK(find(folder) == nullptr);                        // busy
  CHECK_FALSE(find(folder, "another model")->adopted());  // not this one's business
  Content content;
  const auto block = fill(*first);
  REQUIRE(first->publish(content.vectors(), 42));
  CHECK(holds_pattern(block.get()));

  auto second = find(folder);
  REQUIRE(second);
  REQUIRE(second->adopted());
  Content taken{{0, 0, 0}, std::vector<float>(100)};
  const auto same = second->arena()->allocate(weight_bytes);
  CHECK(second->take(taken.vectors()) == 42);
  CHECK(taken.first == content.first);
  CHECK(taken.second == content.second);
  CHECK(holds_pattern(same.get()));
  CHECK(folder.names("").size() == 4);  // two locks, two offers

  SUBCASE("neither here nor through the file that others open") {
    for (const auto& name : folder.names()) {
      const std::size_t dash = name.rfind('-');
      if (dash == std::string::npos) continue;
      const std::string file = "/proc/self/fd/" + name.substr(dash + 1);
      const int writer = ::open(file.c_str(), O_RDWR);
      REQUIRE(writer >= 0);  // one's own memory opens for writing, and yet:
      CHECK(::pwrite(writer, "x", 1, 4 << 20) < 0);
      CHECK(::ftruncate(writer, 4096) < 0);
      CHECK(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0) == MAP_FAILED);
      ::close(writer);
      CHECK(::mprotect(same.get() - reinterpret_cast<std::uintptr_t>(same.get()) % 4096, 4096, PROT_READ | PROT_WRITE) <
            0);
    }
  }
  SUBCASE("the last one to go takes it along, in whatever order they go") {
    first = nullptr;
    CHECK(find(folder)->adopted());
    second = nullptr;
    CHECK_FALSE(find(folder)->adopted());
  }
}

TEST_CASE("shared weights: a loader that gives up leaves the place to the next one") {
  const Folder folder;
  auto first = find(folder);
  fill(*first);
  first = nullptr;
  auto second = find(folder);
  REQUIRE(second);
  CHECK_FALSE(second->adopted());
}

TEST_CASE(
    "shared weights: a loader that is killed leaves the place to the next one, and a sharer's memory to the others") {
  const Folder folder;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto mine = find(folder);
    Content content;
    const auto block = mine->arena()->allocate(weight_bytes);
    for (std::size_t i = 0; i < weight_bytes; ++i) block.get()[i] = pattern(i);
    if (::write(ready[1], "l", 1) != 1) ::_exit(1);
    mine->publish(content.vectors(), 7);
    if (::write(ready[1], "p", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char state = 0;
  REQUIRE(::read(ready[0], &state, 1) == 1);
  REQUIRE(::read(ready[0], &state, 1) == 1);
  auto mine = find(folder);
  REQUIRE(mine->adopted());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(holds_pattern(mine->arena()->allocate(weight_bytes).get()));
  CHECK(find(folder)->adopted());  // from this process; the dead one's name is passed or removed
  mine = nullptr;
  CHECK_FALSE(find(folder)->adopted());
  CHECK(folder.names().size() == 1);  // the lock
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE(
    "shared weights: nothing that another process could still change, or that is not the very model, is adopted") {
  const Folder folder;
  find(folder);  // makes the folder and the lock, whose name tells the key's
  auto refused = [&](int process, int descriptor) {
    const std::string name = folder.name(process, descriptor);
    folder.add(name);
    const bool own = !find(folder)->adopted();
    const auto left = folder.names(name);
    return own && left.empty();  // and its name is gone
  };
  const auto image_of = [&](int seals, const std::function<void(std::vector<std::uint8_t>&)>& change) {
    // A real image, copied into memory that is made by hand.
    std::vector<std::uint8_t> bytes;
    {
      auto real = SharedWeights::find_or_begin(folder.path + "-other", "a model", weight_bytes + 4096);
      fill(*real);
      Content content;
      real->publish(content.vectors(), 1);
      std::string name;
      for (const auto& entry : std::filesystem::directory_iterator(folder.path + "-other"))
        if (!entry.path().string().ends_with(".lock")) name = entry.path().string();
      const int fd = std::stoi(name.substr(name.rfind('-') + 1));
      struct stat info;
      REQUIRE(::fstat(fd, &info) == 0);
      bytes.resize(static_cast<std::size_t>(info.st_size));
      REQUIRE(::pread(fd, bytes.data(), bytes.size(), 0) == info.st_size);
    }
    std::filesystem::remove_all(folder.path + "-other");
    change(bytes);
    const int fd = ::memfd_create("octavo-weights", MFD_ALLOW_SEALING);
    REQUIRE(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    // The system refuses while it has a page in its hands itself.
    int tries = 0;
    while (::fcntl(fd, F_ADD_SEALS, seals) != 0 && errno == EBUSY && ++tries < 20) {
    }
    REQUIRE((::fcntl(fd, F_GET_SEALS) & seals) == seals);
    return fd;
  };
  constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  const auto nothing = [](std::vector<std::uint8_t>&) {};
  const int self = ::getpid();

  SUBCASE("the copy itself is fine: what is refused below is refused for its change") {
    const int fd = image_of(sealed, nothing);
    folder.add(folder.name(self, fd));
    CHECK(find(folder)->adopted());
    ::close(fd);
  }
  SUBCASE("seals that are missing") {
    for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL}) {
      const int fd = image_of(sealed & ~missing, nothing);
      CHECK(refused(self, fd));
      ::close(fd);
    }
  }
  SUBCASE("a changed byte of the weights, of the head, of the key; bytes that are missing") {
    const std::function<void(std::vector<std::uint8_t>&)> changes[] = {
        [](auto& b) { b[(3 << 20) + 5] ^= 1; },                   // a weight
        [](auto& b) { b[0] ^= 1; },                                // magic
        [](auto& b) { b[8] += 1; },                                // version
        [](auto& b) { b[24 + 7] = 0x7F; },                         // weights_bytes, far beyond the end
        [](auto& b) { b[32 + 7] = 0xFF; },                         // vectors_bytes, so that the sum would wrap
        [](auto& b) { b[56] ^= 1; },                               // the key
        [](auto& b) { b.resize(4 << 20); },                        // cut
        [](auto& b) { b.resize(16); },                             // hardly anything
    };
    for (const auto& change : changes) {
      const int fd = image_of(sealed, change);
      CHECK(refused(self, fd));
      ::close(fd);
    }
  }
  SUBCASE("files and processes that are something else") {
    const int file = ::open("/etc/passwd", O_RDONLY);
    CHECK(refused(self, file));
    CHECK(refused(self, 100000));
    CHECK(refused(1 << 30, 3));
    ::close(file);
    folder.add(folder.name(self, 3) + "x");  // no such name is ever made: it is left alone
    CHECK_FALSE(find(folder)->adopted());
  }
}

TEST_CASE("shared weights: a folder that others may enter is refused") {
  const Folder folder;
  std::filesystem::create_directory(folder.path);
  ::chmod(folder.path.c_str(), 0755);
  const Error open = error_of([&] { find(folder); });
  CHECK(open.code() == Code::io_error);
  CHECK(std::string(open.what()).find("mode 700") != std::string::npos);
  ::chmod(folder.path.c_str(), 0700);
  CHECK(find(folder));
  const std::string link = folder.path + "-link";
  std::filesystem::create_directory_symlink(folder.path, link);
  CHECK(error_of([&] { SharedWeights::find_or_begin(link, "a model", 64); }).code() == Code::io_error);
  std::filesystem::remove(link);
  CHECK(error_of([&] { SharedWeights::find_or_begin("/proc/nowhere/octavo", "a model", 64); }).code() ==
        Code::io_error);
  CHECK(error_of([&] { SharedWeights::find_or_begin("", "a model", 64); }).code() == Code::invalid_argument);
}

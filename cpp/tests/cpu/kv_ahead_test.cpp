// What is fetched ahead of an attention: everything a thread will read, nothing else, spread over the linears between.
#include "cpu/attention/kv_ahead.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

using octavo::cpu::KvAhead;

namespace {

constexpr std::size_t line = 64;

// Lines that `calls` kernel calls over `groups` groups fetch, as offsets in lines from `memory`; counts those asked
// for.
std::set<std::ptrdiff_t> fetched(KvAhead& ahead, const std::uint8_t* memory, int thread, int calls, int groups,
                                 int& asked) {
  std::set<std::ptrdiff_t> lines;
  asked = 0;
  for (int call = 0; call < calls; ++call) {
    const KvAhead::Lines taken = ahead.take(thread, groups);
    asked += taken.per_group * groups;
    for (int i = 0; i < taken.per_group * groups; ++i)
      lines.insert((taken.first - memory) / static_cast<std::ptrdiff_t>(line) + i);
  }
  return lines;
}

}  // namespace

TEST_CASE("kv ahead: a thread's pieces are fetched whole, between one attention and the next") {
  std::vector<std::uint8_t> memory(4096 * line);
  KvAhead ahead;
  const auto plan = [&](bool first) {
    ahead.clear(2);
    for (std::size_t i = 0; i < 5; ++i) ahead.add(0, 400 * i * line, 192 * line);
    ahead.add(1, 3000 * line, 100 * line);
    ahead.begin(memory.data(), first);
  };
  constexpr int calls = 40, groups = 18;
  int asked;
  plan(true);
  fetched(ahead, memory.data(), 0, calls, groups, asked);  // the first layer shows how much time there is
  plan(false);
  std::set<std::ptrdiff_t> wanted;
  for (std::ptrdiff_t i = 0; i < 5; ++i)
    for (std::ptrdiff_t j = 0; j < 192; ++j) wanted.insert(400 * i + j);
  CHECK(fetched(ahead, memory.data(), 0, calls, groups, asked) == wanted);
  CHECK(asked < 5 * 192 * 5 / 4);
  const KvAhead::Lines other = ahead.take(1, groups);
  CHECK(other.first == memory.data() + 3000 * line);
  CHECK(other.per_group >= 1);
  CHECK(ahead.take(7, groups).per_group == 0);  // a thread without a share
}

TEST_CASE("kv ahead: nothing after the last layer, nor after everything has been fetched") {
  std::vector<std::uint8_t> memory(64 * line);
  KvAhead ahead;
  CHECK(ahead.take(0, 18).per_group == 0);
  ahead.clear(1);
  ahead.add(0, 0, 33 * line);
  ahead.begin(memory.data(), true);
  int asked;
  CHECK(fetched(ahead, memory.data(), 0, 9, 4, asked).size() == 33);
  CHECK(ahead.take(0, 4).per_group == 0);
  ahead.begin(nullptr, false);
  CHECK(ahead.take(0, 4).per_group == 0);
}

TEST_CASE("kv ahead: no more than caches hold") {
  KvAhead ahead;
  ahead.clear(1);
  const std::size_t piece = 4096 * line;
  for (std::size_t i = 0; i < 64; ++i) ahead.add(0, i * piece, piece);
  std::vector<std::uint8_t> memory(1);
  ahead.begin(memory.data(), true);
  std::size_t lines = 0;
  for (KvAhead::Lines taken; (taken = ahead.take(0, 64)).per_group > 0;)
    lines += static_cast<std::size_t>(taken.per_group) * 64;
  CHECK(lines > 0);
  CHECK(lines * line <= std::size_t{4} << 20);
}

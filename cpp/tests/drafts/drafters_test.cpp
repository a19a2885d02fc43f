// Guesses: the index against a search by hand, and the drafters' borders and bounds.
#include <doctest.h>

#include <algorithm>

#include "tests/compare.h"
#include "tests/drafts/guesses.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

constexpr int most_places = 64, long_match = 32;  // of cpp/drafts/ngram_index.cpp

// Every place from `first` on: the longest common end of text[0, place) and the tail, the latest of the longest.
TextMatch search(const Tokens& text, const Tail& tail, int first) {
  TextMatch best;
  for (int end = static_cast<int>(text.size()); end > first; --end) {
    int length = 0;
    while (length < end && length < tail.size() && length < long_match &&
           text[static_cast<std::size_t>(end - 1 - length)] == tail.back(length))
      ++length;
    if (length > 1 && length > best.length) best = {end, length};
  }
  return best;
}

}  // namespace

TEST_CASE("drafts: the index finds what a search of every place finds, in no more than 16 bytes a token") {
  for (int seed = 0; seed < (deep() ? 400 : 60); ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed));
    const int vocabulary = rng.pick<int>({2, 5, 40, 1000});
    const int length = rng.pick<int>({most_places, 500, 3000});
    const Tokens text = random_text(rng, length, vocabulary);
    NgramIndex index;
    for (int count = 0; count < length;) {
      count = std::min(length, count + 1 + rng.below(rng.chance(8) ? 400 : 4));
      const Tokens known(text.begin(), text.begin() + count);
      index.follow(known.data(), count);
      REQUIRE(index.indexed() == count);
      if (count > 64) REQUIRE(index.bytes() <= 16 * static_cast<std::size_t>(count));
      // The sequence's own next token, and a tail of another text.
      const bool own = rng.below(3) > 0 && count < length;
      const Tokens other = random_text(rng, rng.between(1, 40), vocabulary);
      const Tail tail = own ? Tail{known.data(), count, text[static_cast<std::size_t>(count)]}
                            : Tail{other.data(), static_cast<int>(other.size()), rng.below(vocabulary)};
      const TextMatch found = index.find(known.data(), tail), best = search(known, tail, 0);
      if (length <= most_places) {
        REQUIRE(found.end == best.end);
        REQUIRE(found.length == best.length);
        continue;
      }
      // What it may miss is older than the latest places of the pair.
      REQUIRE(found.length <= best.length);
      REQUIRE(found.length >= search(known, tail, std::max(0, count - most_places)).length);
      for (int i = 0; i < found.length; ++i)
        REQUIRE(known[static_cast<std::size_t>(found.end - 1 - i)] == tail.back(i));
    }
    index.clear();
    CHECK(index.bytes() == 0);
  }
}

TEST_CASE("drafters: a sequence's own text, whose repetition goes on into what is guessed") {
  Drafters drafters;
  drafters.open(1, "");
  const Proposal p = propose(drafters, 1, {9, 5, 6, 7, 5}, 6);
  CHECK(p.report.source == DraftSource::own);
  CHECK(p.report.confidence == 0);
  CHECK(p.guesses == Tokens{7, 5, 6, 7, 5, 6, 7, 5, 6, 7, 5, 6, 7, 5, 6});
  CHECK(propose(drafters, 1, {9, 5, 6, 7, 5}, 7).report.source == DraftSource::none);
  SUBCASE("as many as are allowed and fit; one is looked up in any case") {
    Drafting few;
    few.on = true, few.own = {3, 0, 0, 0};
    CHECK(propose(drafters, 1, {9, 5, 6, 7, 5}, 6, few).guesses == Tokens{7, 5, 6});
    CHECK(propose(drafters, 1, {9, 5, 6, 7, 5}, 6, few, 2).guesses == Tokens{7, 5});
    CHECK(propose(drafters, 1, {9, 5, 6, 7, 5}, 6, few, 0).guesses.empty());
    Tokens out(max_drafts, -77);
    DraftReport report;
    drafters.propose(2, {9, 1, 2, 3, 4, 1, 2, 3}, 4, few, 10, out.data(), report);
    CHECK(report.source == DraftSource::own);
    CHECK(report.confidence == own_class(4));
    CHECK(report.proposed == 0);
    CHECK(out[0] == 1);
    CHECK(out[1] == -77);
  }
  SUBCASE("a text that was cut off is indexed anew") {
    CHECK(propose(drafters, 1, {9, 5}, 6).report.source == DraftSource::none);
    CHECK(propose(drafters, 1, {9, 5, 6, 3, 5}, 6).guesses[0] == 3);
  }
}

TEST_CASE("drafters: texts of the same tenant, up to their ends, after they were said") {
  Drafters drafters;
  const auto say = [&](int sequence, const std::string& salt, const Tokens& text, int known = 0) {
    drafters.open(sequence, salt);
    drafters.set_known(sequence, known);
    propose(drafters, sequence, {text.begin(), text.begin() + 1}, text[1]);
    drafters.close(sequence, text);
  };
  say(1, "a", counting(100, 40));
  say(2, "a", counting(200, 40));
  drafters.open(3, "a"), drafters.open(4, "b");
  const Proposal p = propose(drafters, 3, {1, 2, 130, 131}, 132);
  CHECK(p.report.source == DraftSource::shared);
  CHECK(p.report.confidence == 0);
  CHECK(p.guesses == Tokens{133, 134, 135, 136, 137, 138, 139});
  CHECK(propose(drafters, 3, counting(110, 8), 118).report.confidence == 1);
  CHECK(propose(drafters, 3, {138}, 139).report.source == DraftSource::none);
  CHECK(propose(drafters, 4, {1, 2, 130, 131}, 132).report.source == DraftSource::none);
  SUBCASE("the longer match goes first, if it is allowed to guess") {
    CHECK(propose(drafters, 3, {100, 101, 7, 1, 98, 99, 100}, 101).report.source == DraftSource::own);
    drafters.open(5, "a");
    const Tokens longer{102, 103, 7, 1, 100, 101, 102};
    CHECK(propose(drafters, 5, longer, 103).guesses[0] == 104);
    Drafting own = every;
    own.shared = {0, 0};
    CHECK(propose(drafters, 5, longer, 103, own).guesses.at(0) == 7);
    own.own = {0, 0, 0, 0};
    const Proposal looked = propose(drafters, 5, longer, 103, own);
    CHECK(looked.report.source == DraftSource::shared);
    CHECK(looked.report.proposed == 0);
  }
  SUBCASE("one that nobody guessed for, one that is short, and what came out of the cache add nothing") {
    drafters.open(5, "a");
    drafters.close(5, counting(300, 40));
    CHECK(propose(drafters, 3, {300, 301}, 302).report.source == DraftSource::none);
    say(6, "a", counting(400, 20));
    CHECK(propose(drafters, 3, {400, 401}, 402).report.source == DraftSource::none);
    say(7, "a", counting(500, 200), 160);
    CHECK(propose(drafters, 3, {500, 501}, 502).report.source == DraftSource::none);
    CHECK(propose(drafters, 3, {190, 659}, 660).report.source == DraftSource::shared);
    // With the cached tokens before it, by which it is found.
    CHECK(propose(drafters, 3, {190, 640}, 641).report.source == DraftSource::shared);
  }
  SUBCASE("the latest 65,536 tokens at most, of the latest sixteen tenants") {
    for (int i = 0; i < 40; ++i) say(10, "a", counting(1000 + 3000 * i, 3000));
    CHECK(propose(drafters, 3, {1, 130, 131}, 132).report.source == DraftSource::none);
    CHECK(propose(drafters, 3, {1, 119000, 119001}, 119002).guesses[0] == 119003);
    say(11, "a", counting(1 << 20, 200000));
    CHECK(propose(drafters, 3, {1, (1 << 20) + 199000}, (1 << 20) + 199001).guesses[0] == (1 << 20) + 199002);
    for (int i = 0; i < 15; ++i) say(12, std::to_string(i), counting(100, 40));
    CHECK(propose(drafters, 3, {1, (1 << 20) + 199000}, (1 << 20) + 199001).report.proposed > 0);
    for (int i = 0; i < 16; ++i) say(12, std::to_string(i), counting(100, 40));
    CHECK(propose(drafters, 3, {1, (1 << 20) + 199000}, (1 << 20) + 199001).report.source == DraftSource::none);
  }
}

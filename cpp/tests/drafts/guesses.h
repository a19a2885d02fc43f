// Texts that tests of guesses begin with, and how they ask for guesses.
#pragma once
#include <doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "drafts/drafters.h"
#include "tests/random_data.h"

namespace octavo::testing {

using Tokens = std::vector<std::int32_t>;

inline Tokens random_text(Rng& rng, int count, int vocabulary) {
  Tokens text;
  while (static_cast<int>(text.size()) < count) {
    // Now and then something that was said before.
    if (text.size() > 8 && rng.chance(12)) {
      const int from = rng.below(static_cast<int>(text.size()) - 4);
      const int length = std::min({rng.between(2, 50), count - static_cast<int>(text.size()),
                                   static_cast<int>(text.size()) - from});
      for (int i = 0; i < length; ++i) text.push_back(text[static_cast<std::size_t>(from + i)]);
    } else {
      text.push_back(rng.below(vocabulary));
    }
  }
  return text;
}

inline constexpr int all_drafts = max_drafts;
inline constexpr Drafting every{true,
                                {all_drafts, all_drafts, all_drafts, all_drafts},
                                {all_drafts, all_drafts},
                                all_drafts};

inline Tokens counting(int from, int count) {
  Tokens tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(from + i);
  return tokens;
}

struct Proposal {
  DraftReport report;
  Tokens guesses;
};
inline Proposal propose(Drafters& drafters, int sequence, const Tokens& tokens, std::int32_t last,
                 const Drafting& drafting = every, int room = 100) {
  Tokens out(max_drafts + 1, -77);
  Proposal p;
  drafters.propose(sequence, tokens, last, drafting, std::min(room, max_drafts), out.data(), p.report);
  CHECK(out[max_drafts] == -77);
  p.guesses.assign(out.begin(), out.begin() + p.report.proposed);
  return p;
}

}  // namespace octavo::testing

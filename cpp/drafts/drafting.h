// What a segment of a step asks of the drafters, and what came of it.
#pragma once
#include <array>
#include <cstdint>

namespace octavo {

inline constexpr int max_drafts = 16;  // of one segment in one step; maxDrafts of lib/host/drafts/

// In the order in which they are asked: the first that has something to say drafts.
enum class DraftSource : std::int32_t { none, own, shared, model };

// How sure a match is of itself: its length, in classes of 2, 3-4, 5-8 and more tokens.
inline constexpr int match_classes = 4;
constexpr int match_class(int length) { return length <= 2 ? 0 : length <= 4 ? 1 : length <= 8 ? 2 : 3; }

// Most guesses of each source; 0 = guesses are looked up and compared with the draw, but not computed: so a source shows
// what it is worth before it costs anything. Packed in an int32, five bits each, in this order.
struct Drafting {
  bool on = false;
  std::array<int, match_classes> own{};  // by class of the match
  int shared = 0, model = 0;             // the model is not asked for guesses that are not computed

  int most() const {
    int most = shared > model ? shared : model;
    for (const int n : own) most = n > most ? n : most;
    return most;
  }
  // packed: 0 to 2^30 - 1.
  static constexpr Drafting unpack(std::int32_t packed) {
    const auto field = [packed](int i) { return packed >> 5 * i & 31; };
    return {true, {field(0), field(1), field(2), field(3)}, field(4), field(5)};
  }
};

// Of one segment in one step.
struct DraftReport {
  std::int32_t draws = 0;     // tokens drawn that stand: right guesses and one more
  std::int32_t proposed = 0;  // guesses that were computed
  DraftSource source = DraftSource::none;
  std::int32_t confidence = 0;  // class of the match
  bool foreseen = false;        // the first guess equals the draw, computed or not
  std::int32_t nanoseconds = 0;  // of the whole step, guesses included
};

}  // namespace octavo

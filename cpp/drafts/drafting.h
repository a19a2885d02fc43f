// What a segment of a step asks of the drafters, and what came of it.
#pragma once
#include <array>
#include <cstdint>

namespace octavo {

// Of one segment in one step: with the token before them a tile of 16 rows. maxDrafts of lib/host/drafts/.
inline constexpr int max_drafts = 15;

enum class DraftSource : std::int32_t { none, own, shared, model };

// How sure a match is of itself: its length, in classes of 2, 3-4, 5-8 and more tokens; those of other texts in two.
inline constexpr int own_classes = 4, shared_classes = 2;
constexpr int own_class(int length) { return length <= 2 ? 0 : length <= 4 ? 1 : length <= 8 ? 2 : 3; }
constexpr int shared_class(int length) { return length <= 4 ? 0 : 1; }

// Most guesses of each source; 0 = guesses are looked up and compared with the draw, but not computed: so a source shows
// what it is worth before it costs anything. The model is not asked for guesses that are not computed. Packed in an
// int32, four bits each, in this order, and a bit.
struct Drafting {
  bool on = false;
  std::array<int, own_classes> own{};
  std::array<int, shared_classes> shared{};
  int model = 0;
  bool once = false;  // in the first step of a run only: where steps are short, a look is a good part of one

  int most() const {
    int most = model;
    for (const int n : own) most = n > most ? n : most;
    for (const int n : shared) most = n > most ? n : most;
    return most;
  }
  // packed: 0 to 2^29 - 1.
  static constexpr Drafting unpack(std::int32_t packed) {
    const auto field = [packed](int i) { return packed >> 4 * i & 15; };
    return {true, {field(0), field(1), field(2), field(3)}, {field(4), field(5)}, field(6), packed >> 28 != 0};
  }
};

// Of one segment in one step.
struct DraftReport {
  std::int32_t draws = 0;     // tokens drawn that stand: right guesses and one more
  std::int32_t proposed = 0;  // guesses that were computed
  DraftSource source = DraftSource::none;
  std::int32_t confidence = 0;         // class of the match
  bool foreseen = false;               // the first guess equals the draw, computed or not
  std::int32_t behind = 0;             // tokens before its guess that the draft model had to compute first
  std::int32_t nanoseconds = 0;        // of the whole step without guesses
  std::int32_t guess_nanoseconds = 0;  // of the guesses of the whole step
};

}  // namespace octavo

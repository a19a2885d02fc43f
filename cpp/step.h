// What one engine step computes: segments of sequences, no phases. Prefill, chunked prefill, decode, prefix hits and
// draft verification are all "count tokens after what is computed, results for the last rows of them".
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "drafts/drafting.h"
#include "sampling/sampler.h"

namespace octavo {

//
// A draw segment with more than one row verifies drafts: the tokens after the first row's are guesses at the draws.
// They are computed like any other, but committed only when Engine::accept says so, and overwritten otherwise: a wrong
// guess never enters the cache.
struct Segment {
  int sequence;
  int count;   // tokens, appended to the sequence; the caller has reserved room for them
  int rows;    // results wanted for the last `rows` tokens of the segment (0..count)
  bool score;  // false: draw a token after each of those rows; true: log-probability of the token that follows each row
  std::int32_t next;  // scoring: the token that follows the last one; -1 = the last row has none and gives no result
  // With any: a segment of one token and one row, to which the engine adds guesses of its own, commits those that are
  // right, and keeps the rows that stand.
  Drafting drafting{};
};

struct Step {
  std::vector<Segment> segments;
  std::vector<std::int32_t> tokens;  // of all segments, in order
};

// Rows of results: the last one of a scored text has nothing to score.
inline std::size_t rows_of(const Segment& s) {
  return static_cast<std::size_t>(s.rows) - (s.score && s.rows > 0 && s.next < 0 ? 1 : 0);
}
inline std::size_t rows_of(const Step& step) {
  std::size_t rows = 0;
  for (const Segment& s : step.segments) rows += rows_of(s);
  return rows;
}

// How far a step in which every segment draws after its only token may go on by itself, with the draws as next tokens:
// what is done between two steps outside costs as much as a twentieth of a short one. Guesses are made anew for each
// step. It ends after a step that drew an end token or no token, when a sequence has no room or no draws left, or when it
// is nudged: nothing that happens outside waits for more than one step.
struct Run {
  int steps = 1;       // at most, the first included
  double seconds = 0;  // a further step is begun when it is expected to end within this time of the end of the first
  int draws = std::numeric_limits<int>::max();  // at most, of each sequence, in steps after the first
};

// Which tokens a row may draw, one bit each; null: any.
using RowMask = std::shared_ptr<const std::vector<std::uint32_t>>;

struct StepResult {
  std::vector<SampleRow>
      rows;            // in order of segments; a scored segment without `next` has one row less; of a run: step by step
  double seconds = 0;  // of forward and sampling, guesses included
  std::vector<DraftReport> drafts;  // step by step, one a segment; empty when no segment asked for guesses
};

}  // namespace octavo

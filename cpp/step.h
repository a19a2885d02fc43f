// What one engine step computes: segments of sequences, no phases. Prefill, chunked prefill, decode, prefix hits and
// draft verification are all "count tokens after what is computed, results for the last rows of them".
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

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
};

struct Step {
  std::vector<Segment> segments;
  std::vector<std::int32_t> tokens;  // of all segments, in order
};

// How far a step in which every segment draws after its only token may go on by itself, with the draws as next tokens:
// what is done between two steps outside costs as much as a twentieth of a short one. It ends after a step that drew an
// end token or no token, when a sequence has no room left, or when it is nudged: nothing that happens outside waits for
// more than one step.
struct Run {
  int steps = 1;       // at most, the first included
  double seconds = 0;  // a further step is begun when it is expected to end within this time of the end of the first
};

// Which tokens a row may draw, one bit each; null: any.
using RowMask = std::shared_ptr<const std::vector<std::uint32_t>>;

struct StepResult {
  std::vector<SampleRow>
      rows;  // in order of segments; a scored segment without `next` has one row less; of a run: step by step
  double seconds = 0;           // of forward and sampling
};

}  // namespace octavo

// A step's inputs as one piece of memory, for the device to be sent by one copy:
//
//   [ histories | ids ] origin [ sample rows | tiles | items | slots | wanted | turns | biases | tables, masks | feeds ]
//
// What lies before the origin is given once and then fed by the draws of each step to the next; what lies behind is
// given with every step. Places depend on sizes alone, and those of steps that only decode are rounded up to a few, so
// that a graph finds everything where it was. Rows, tiles and items beyond those of the step have nothing to do. Feeds
// say which tokens the step before draws; a launch ahead of all others puts them where they belong.
#pragma once
#include <vector>

#include "cuda/steps/attention_inputs.h"
#include "cuda/steps/sample_inputs.h"
#include "cuda/steps/step_memory.h"
#include "device_steps.h"

namespace octavo::cuda {

// What there is room for. Graphs are kept by it.
struct BlockSize {
  int tokens = 0, rows = 0, tiles = 0, items = 0, biases = 0;
  int most_top = 1;
  bool merges = false;  // some tile of attention has partials
  bool operator==(const BlockSize&) const = default;
};

class StepBlock {
 public:
  // multiprocessors: of the device. rope_dims, vocabulary: of the model. most_rows: that a step may be rounded up to.
  struct Fixed {
    AttentionShape attention;
    int multiprocessors, rope_dims, vocabulary, most_rows;
  };
  StepBlock(const Fixed& fixed, const StepInputs& in, int fed);

  const BlockSize& size() const { return size_; }
  // Whether every segment is a token that is drawn after: results are the next step's tokens.
  bool decodes() const { return decodes_; }
  // Of those, whether sizes are rounded up, so that there is a graph for them.
  bool is_rounded() const { return rounded_; }
  bool wants_top() const { return wants_top_; }
  // As launches are made by it: with as many tiles and items as there is room for.
  const AttentionPlan& attention() const { return attention_; }
  int feeds() const { return static_cast<int>(feeds_.size()); }

  std::size_t before_bytes() const { return fed_ > 0 ? 0 : history_bytes() + ids_bytes(); }
  std::size_t behind_bytes() const { return places_.end; }
  // Fills before_bytes() + behind_bytes(). before: room for what is fed, in bytes; histories are named by their distance
  // from its beginning.
  void write(std::uint8_t* out, std::size_t before) const;
  std::size_t history_bytes() const;
  std::size_t ids_bytes() const;

  // From the origin.
  struct Places {
    std::size_t rows, tiles, items, slots, wanted, turns, bias_tokens, bias_values, words, feeds, end;
  };
  const Places& places() const { return places_; }

 private:
  void feed();
  void round_up(const Fixed& fixed);
  void place();

  const StepInputs in_;
  const int fed_, rope_dims_;
  AttentionInputs segments_;
  AttentionPlan attention_;
  SampleInputs samples_;
  std::vector<gpu::Feed> feeds_;  // histories as samples_ has them
  BlockSize size_;
  Places places_{};
  bool decodes_ = true, rounded_ = false, wants_top_ = false;
};

}  // namespace octavo::cuda

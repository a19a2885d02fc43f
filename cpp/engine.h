// An engine: a model, a KV pool and the step in flight, or two. One thread drives it; interrupt and nudge may come from
// any thread. What steps do on a device of its own is engine_device.cpp.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "drafts/drafters.h"
#include "grammar/matcher.h"
#include "kv/kv_cache.h"
#include "model/model.h"

namespace octavo {

struct EngineOptions {
  int threads, kv_blocks, max_step_tokens;
  bool prefix_cache;
  KvDtype kv_dtype = KvDtype::f16;
  bool tune =
      false;  // measure how this CPU wants to be worked (Model::tune): some milliseconds, once for a process and model
  // A device is given steps ahead that take so long together, or two: what is more would only be thrown away when a run
  // is cut.
  double queue_seconds = 0.002;
};

class DraftModel;

// What other threads may tell an engine.
struct Signals {
  std::atomic<bool> interrupt{false};  // the step in flight, or the next one, is discarded
  std::atomic<bool> nudge{false};      // the run in flight, or the next one, ends after its step
};

class Engine {
 public:
  // The model must be loaded (Model::finish_load).
  // signals: those of an engine that this one serves, which ends what they asked for; or none.
  Engine(std::shared_ptr<const Model> model, const EngineOptions& options, std::shared_ptr<Signals> signals = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  std::uint32_t id() const { return id_; }
  KvCache& kv() { return kv_; }
  const Model& model() const { return *model_; }
  const EngineOptions& options() const { return options_; }
  std::size_t kv_bytes() const { return store_->bytes(); }
  std::size_t kv_touched_bytes() const { return store_->touched_bytes(); }
  std::size_t block_bytes() const { return kv_block_bytes(store_->shape); }
  std::size_t scratch_bytes() const { return scratch_.bytes(); }

  // What grammars are matched with: set before the first sampler that has one.
  void set_vocabulary(std::shared_ptr<const grammar::TokenTrie> tokens) { grammars_.set_tokens(std::move(tokens)); }
  // A model with the same vocabulary that guesses what this one draws, with a pool of its own.
  void set_draft_model(std::shared_ptr<const Model> model, const EngineOptions& options);
  std::size_t draft_bytes() const;  // of its pool and buffers

  DraftModel* draft_model() { return draft_model_.get(); }

  int create(const std::string& salt);
  int fork(int sequence);
  int match(int sequence, const std::int32_t* tokens, int count);
  void set_sampler(int sequence, SamplerParams params);
  void truncate(int sequence, int length);
  void release(int sequence);  // sequence and its sampler

  // Contents of `count` full blocks of a sequence's computed tokens, from its block `first` on: out[count *
  // kv_block_bytes].
  void kv_export(int sequence, int first, int count, std::uint8_t* out) const;
  // Appends whole blocks of tokens whose keys and values are known: room, contents and tokens at once. False, and
  // nothing changed, when the pool has no room. tokens[count], blocks[count / 16 * kv_block_bytes]
  bool kv_import(int sequence, const std::int32_t* tokens, int count, const std::uint8_t* blocks);

  // How many steps may be submitted before the first is waited for: two where a device computes meanwhile.
  int steps_ahead() const { return steps_ ? 2 : 1; }
  // Checks and stores a step; throws invalid_argument naming the segment that is wrong. A device begins with it at once.
  // Of a second one a token may be -1 - r: what row r of the first draws, a row of the same sequence.
  void submit(Step step);
  // Result rows of the stored step at most, with as many guesses as are allowed; 0 without one.
  std::size_t result_rows() const;
  std::size_t segments() const { return pending_ ? step_.segments.size() : 0; }
  bool drafting() const { return pending_ && drafts_wanted(); }
  // Computes the stored step, the first of two, on this thread and commits its tokens, but for drafts (step.h). False:
  // discarded by interrupt, nothing committed, and a second one is discarded too, as it is when this throws. What an
  // interrupt discards of a run is the step it hits: those before it stand. Before a second one nothing runs on.
  bool wait(const Run& run = {});
  // Tokens after which no run goes on.
  void set_end_tokens(const std::vector<std::int32_t>& tokens) { end_tokens_ = {tokens.begin(), tokens.end()}; }
  // Commits the drafts of the last step that turned out right, the first `count` after what is committed.
  void accept(int sequence, const std::int32_t* tokens, int count);
  const StepResult& result() const { return result_; }

 private:
  // A step behind another one, whose draws it may wait for.
  struct Following {
    Step step;  // tokens that are drawn are 0
    std::vector<const SamplerParams*> samplers;
    std::vector<std::int32_t> drawn;  // see StepInputs
    bool given = false;               // to the device
  };

  void check_room(std::size_t index, const Segment& segment, int taken = 0) const;
  void check_follows(std::size_t index, const Segment& segment) const;
  void check_segments(const Step& step, std::vector<const SamplerParams*>& samplers) const;
  std::int32_t row_drawn(std::size_t index, const Segment& segment, std::int32_t token) const;
  void take_drawn(Following& following) const;
  void make_copies();
  void make_masks(const Step& step, const OnTheWay& way);
  bool drafts_wanted() const;
  bool guess(bool first);
  bool compute();
  bool compute_on_device(int most);
  bool may_queue() const;
  bool give_device();
  void give_first();
  void give_following();
  void begin();
  void take_following();
  void drop_queued();
  int most_on_their_way(const Run& run, int done, double since_first) const;
  void settle();
  bool goes_on() const;
  void follow_draws();
  std::uint32_t registered_and_tuned() const;

  const std::shared_ptr<const Model> model_;
  const EngineOptions options_;
  const bool serves_;
  const std::shared_ptr<Signals> signals_;
  std::unique_ptr<KvStore> store_;  // before kv_: it asks what memory there is, the block manager only takes
  KvCache kv_;
  Scratch scratch_;
  const std::unique_ptr<DeviceSteps> steps_;  // null: operations are carried out one by one
  const std::uint32_t id_;                    // registered last: a constructor that throws before leaves nothing behind
  std::unordered_map<int, SamplerParams> samplers_;
  grammar::Grammars grammars_;
  std::unordered_map<int, grammar::Matcher> matchers_;
  std::vector<grammar::Mask> masks_;  // of the step's result rows; empty: no grammar among them
  Step step_;
  std::vector<const SamplerParams*> step_samplers_;
  std::optional<Following> following_;
  std::vector<int> tokenless_;  // sequences of step_ that the step before drew nothing for: their tokens are nobody's
  std::unordered_set<std::int32_t> end_tokens_;
  Drafters drafters_;
  std::unique_ptr<DraftModel> draft_model_;
  std::vector<DraftReport> reports_;   // of the step in flight, by segment; empty: nobody asked for guesses
  std::vector<std::int32_t> guesses_;  // [segments * max_drafts]
  std::vector<std::int32_t> guessed_;  // tokens of the step with its guesses
  std::vector<int> draws_left_;        // of the run in flight, by segment
  bool pending_ = false;
  int queued_ = 0;           // steps on their way to the device or back, that of step_ first
  int fed_ = 0;              // steps given to it since one that came with its tokens, that one included
  double step_seconds_ = 0;  // that a step of a run took last; 0: not known
  std::chrono::steady_clock::time_point began_;  // when the device had nothing before step_ any more, if it has it
  StepResult result_;
};

// Set a signal of engine `id`; do nothing for an id that is gone. Thread-safe.
void interrupt_engine(std::uint32_t id);
void nudge_engine(std::uint32_t id);

}  // namespace octavo

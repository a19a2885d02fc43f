// Steps on a CUDA device (device_steps.h). All is given to one stream: a copy of the step's inputs (step_block.h) out of
// pinned memory, its launches, a copy of what it brought into pinned memory, and an event behind it. The launches of a
// step that only decodes are a graph, made when its size is first met; the places that it reads and writes never move.
// Others are given piece by piece while earlier pieces are computed, so that an interrupt is seen between them.
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "cuda/memory/device.h"
#include "cuda/steps/recorder.h"
#include "cuda/steps/staging_ring.h"
#include "cuda/steps/step_block.h"
#include "cuda/steps/step_memory.h"
#include "device_steps.h"

namespace octavo::cuda {

class CudaSteps final : public DeviceSteps {
 public:
  CudaSteps(Device& device, const StepShape& shape, KvStore& kv);
  ~CudaSteps() override;
  bool submit(const StepInputs& in, int fed, const StepOperations& operations) override;
  void give_all(const std::atomic<bool>* interrupt) override;
  void wait(SampleRow* rows, const std::atomic<bool>* interrupt) override;
  void drop() override;
  int most_queued() const override { return most_queued_steps; }

 private:
  using Event = Owned<octavo_cuda_event>;
  using Graph = Owned<octavo_cuda_graph>;
  // A step on its way.
  struct Flight {
    Launches launches;      // that are not a graph's
    std::size_t given = 0;  // of them
    std::size_t piece = 1;  // launches that are given at once
    std::size_t event = 0;
    std::size_t results = 0;  // where they come to, in the pinned memory
    int rows = 0;             // with results
    BlockSize size;
    bool top = false;                        // results have others beside the drawn tokens
    bool finished = false, dropped = false;  // finished: all is given, and the event behind it
  };
  struct KnownGraph {
    BlockSize size;
    Graph graph;
    std::uint64_t used;
  };

  bool fits(const StepBlock& block) const;
  void make_room(const StepBlock& block);
  void take_room(std::size_t before, std::size_t behind, std::size_t biases);
  bool has_free_flight();
  Recorder recorder(const StepBlock& block, const StepInputs& in);
  StepInputs on_device(const StepBlock& block, const StepInputs& in) const;
  octavo_cuda_graph* graph_of(const StepBlock& block, const StepInputs& in, const StepOperations& operations);
  void give(const StepBlock& block, const StepInputs& in, const StepOperations& operations, std::size_t place,
            Flight& flight);
  void feed(const StepBlock& block);
  void give_piece(Flight& flight);
  void finish(Flight& flight);
  void land();
  void land_dropped();
  std::size_t result_bytes(const BlockSize& size, bool top) const;
  gpu::SampleParams sample_params(const BlockSize& size) const;
  std::uint8_t* kept_by_samplers() const { return results_.get() + step_bytes::results(limits_); }
  std::uint8_t* origin() const { return upload_.get() + before_; }

  Device& device_;
  const StepShape shape_;
  KvStore& kv_;
  const ModelShape model_;
  const StepLimits limits_;
  const StepBlock::Fixed fixed_;
  const StepMemory memory_;
  Buffer<std::uint8_t> activations_, logits_, attention_, linear_, upload_, results_;
  Constants constants_;
  Activations room_{};
  std::size_t before_, behind_;  // bytes of upload_ on both sides of the origin
  std::size_t most_biases_;
  std::unique_ptr<Pinned> pinned_;
  StagingRing ring_;
  std::vector<Event> events_;        // one for each step on its way
  std::vector<Event> piece_events_;  // behind the latest pieces of the step that is being given
  std::size_t next_event_ = 0;
  std::deque<Flight> flights_;
  std::vector<KnownGraph> graphs_;
  std::uint64_t uses_ = 0;
  bool unsettled_ = false;  // after an error: things given may still use the pinned memory
};

}  // namespace octavo::cuda

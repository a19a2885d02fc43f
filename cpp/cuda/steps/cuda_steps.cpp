// See cuda_steps.h.
#include "cuda/steps/cuda_steps.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "error.h"

namespace octavo::cuda {

namespace {

std::size_t rounded(std::size_t bytes) { return step_bytes::rounded(bytes); }

// A step of more tokens than these is given in pieces: launches of so many layers at once, and so many pieces wait at
// most.
constexpr int most_tokens_at_once = 64, layers_of_piece = 2;
constexpr std::size_t pieces_ahead = 2;

std::size_t bytes_of_counts(const ModelShape& m) {
  return static_cast<std::size_t>(m.vocabulary) * sizeof(std::int32_t);
}

}  // namespace

CudaSteps::CudaSteps(Device& device, const StepShape& shape, KvStore& kv)
    : device_(device),
      shape_(shape),
      kv_(kv),
      model_{shape.layers,       shape.width,      shape.attention.heads, kv.shape.kv_heads, kv.shape.head_size,
             shape.feed_forward, shape.vocabulary, shape.rope_dims,       shape.constants},
      limits_{shape.max_tokens, kv.shape.blocks},
      fixed_{attention_shape(kv.shape, shape.attention), device.properties().multiprocessors, shape.rope_dims,
             shape.vocabulary, std::min(shape.max_tokens, most_logit_rows)},
      memory_(step_memory(model_, limits_)),
      activations_(device, memory_.activations),
      logits_(device, memory_.logits),
      attention_(device, memory_.attention),
      linear_(device, memory_.linear),
      upload_(device, memory_.upload),
      results_(device, memory_.results),
      constants_(device, memory_.constants),
      before_(step_bytes::before_origin(limits_)),
      behind_(step_bytes::behind_origin(model_, limits_)),
      most_biases_(step_bytes::biases(model_)),
      pinned_(std::make_unique<Pinned>(device, memory_.pinned)),
      ring_(memory_.pinned) {
  check_vocabulary(shape.vocabulary);
  const int T = shape.max_tokens;
  float** const places[] = {&room_.x, &room_.hidden, &room_.qkv, &room_.attended, &room_.gate_up, &room_.picked};
  std::uint8_t* next = activations_.get();
  for (int i = 0; i < step_bytes::activation_buffers; ++i) {
    *places[i] = reinterpret_cast<float*>(next);
    next += step_bytes::activation(model_, T, i);
  }
  room_.logits = reinterpret_cast<float*>(logits_.get());
  room_.logit_rows = fixed_.most_rows;
  // Rows that are rounded up to read what was never written, and penalties count from zero.
  activations_.zero();
  logits_.zero();
  for (int i = 0; i < most_queued_steps; ++i) events_.emplace_back(device, device.make_event());
  for (std::size_t i = 0; i < pieces_ahead; ++i) piece_events_.emplace_back(device, device.make_event());
}

// The memory that steps on their way use goes with this. Of a device that is lost nothing is on its way; where a wait
// fails for once, the next one does not.
CudaSteps::~CudaSteps() {
  for (int tries = 0; tries < 2; ++tries) {
    try {
      device_.wait();
      return;
    } catch (const Error&) {
      continue;
    }
  }
}

gpu::SampleParams CudaSteps::sample_params(const BlockSize& size) const {
  const std::size_t rows = static_cast<std::size_t>(size.rows), logit_rows = static_cast<std::size_t>(room_.logit_rows);
  gpu::SampleParams p{};
  auto* const counts = reinterpret_cast<std::int32_t*>(
      logits_.get() + rounded(logit_rows * static_cast<std::size_t>(model_.vocabulary) * sizeof(float)));
  p.counts = counts;
  p.group_max =
      reinterpret_cast<float*>(reinterpret_cast<std::uint8_t*>(counts) + rounded(logit_rows * bytes_of_counts(model_)));
  auto* const tokens = reinterpret_cast<std::int32_t*>(results_.get());
  p.tokens = tokens, p.logprobs = reinterpret_cast<float*>(tokens + rows);
  p.top_counts = tokens + 2 * rows, p.top_tokens = tokens + 3 * rows;
  p.top_logprobs = reinterpret_cast<float*>(tokens + (3 + static_cast<std::size_t>(size.most_top)) * rows);
  p.vocab = model_.vocabulary, p.most_top = size.most_top;
  return p;
}

std::size_t CudaSteps::result_bytes(const BlockSize& size, bool top) const {
  const std::size_t rows = static_cast<std::size_t>(size.rows);
  return rows * (top ? 3 + 2 * static_cast<std::size_t>(size.most_top) : 2) * sizeof(std::int32_t);
}

StepInputs CudaSteps::on_device(const StepBlock& block, const StepInputs& in) const {
  const StepBlock::Places& at = block.places();
  const auto ints = [&](std::size_t place) { return reinterpret_cast<const std::int32_t*>(origin() + place); };
  StepInputs out = in;
  out.T = out.plan.rows = block.size().tokens, out.R = block.size().rows;
  out.ids = reinterpret_cast<const std::int32_t*>(origin() - block.ids_bytes());
  out.slots = ints(at.slots), out.wanted = ints(at.wanted);
  out.cos_sin = reinterpret_cast<const float*>(origin() + at.turns);
  return out;
}

Recorder CudaSteps::recorder(const StepBlock& block, const StepInputs& in) {
  const StepBlock::Places& at = block.places();
  std::uint8_t* const from = origin();
  Workspace w;
  w.linear = linear_.get();
  w.attention = &block.attention();
  w.tiles = reinterpret_cast<const gpu::AttentionTile*>(from + at.tiles);
  w.items = reinterpret_cast<const gpu::AttentionItem*>(from + at.items);
  w.tables = reinterpret_cast<const std::int32_t*>(from + at.words);
  w.partial_ml = reinterpret_cast<float*>(attention_.get());
  w.partial_o = w.partial_ml + 2 * most_partials;
  w.first_row = in.rows;
  gpu::SampleParams& p = w.sample = sample_params(block.size());
  p.rows = reinterpret_cast<const gpu::SampleRow*>(from + at.rows);
  p.history = reinterpret_cast<std::int32_t*>(upload_.get());
  p.bias_tokens = reinterpret_cast<const std::int32_t*>(from + at.bias_tokens);
  p.bias_values = reinterpret_cast<const float*>(from + at.bias_values);
  p.masks = reinterpret_cast<const std::uint32_t*>(from + at.words);
  p.history_raw = reinterpret_cast<float*>(kept_by_samplers());
  p.bias_raw = reinterpret_cast<float*>(kept_by_samplers() + before_);
  if (block.decodes()) p.next_ids = reinterpret_cast<std::int32_t*>(from - block.ids_bytes());
  return Recorder(device_.properties(), w, &constants_);
}

octavo_cuda_graph* CudaSteps::graph_of(const StepBlock& block, const StepInputs& in, const StepOperations& operations) {
  for (KnownGraph& known : graphs_)
    if (known.size == block.size()) {
      known.used = ++uses_;
      return known.graph.get();
    }
  Recorder taken_down = recorder(block, in);
  operations(taken_down, on_device(block, in), room_);
  if (graphs_.size() >= most_graphs) {
    device_.wait();  // it may be on its way
    graphs_.erase(std::min_element(graphs_.begin(), graphs_.end(),
                                   [](const KnownGraph& a, const KnownGraph& b) { return a.used < b.used; }));
  }
  graphs_.push_back({block.size(), Graph(device_, device_.make_graph(taken_down.launches)), ++uses_});
  return graphs_.back().graph.get();
}

// Steps without results make room for others when they are done.
bool CudaSteps::has_free_flight() {
  while (flights_.size() >= events_.size() && flights_.front().dropped) land_dropped();
  return flights_.size() < events_.size();
}

bool CudaSteps::fits(const StepBlock& block) const {
  return upload_.size() > 0 && results_.size() > 0 && block.history_bytes() + block.ids_bytes() <= before_ &&
         block.behind_bytes() <= behind_ && static_cast<std::size_t>(block.size().biases) <= most_biases_;
}

// For steps whose rows name more than was thought of: biases by the ten thousand, masks by the hundred, tables of many
// sequences that share a long prefix, histories of many guesses. Then twice as much as before, since histories grow with
// every token; or, where the device has no such memory, what there was, and this step alone fails.
void CudaSteps::make_room(const StepBlock& block) {
  const auto grown = [](std::size_t there_is, std::size_t wanted) {
    return wanted <= there_is ? there_is : std::max(wanted, 2 * there_is);
  };
  const std::size_t before = before_, behind = behind_, biases = most_biases_;
  device_.wait();
  graphs_.clear();  // they name places that are gone now
  try {
    take_room(grown(before, block.history_bytes() + block.ids_bytes()), grown(behind, block.behind_bytes()),
              grown(biases, static_cast<std::size_t>(block.size().biases)));
  } catch (const Error&) {
    take_room(before, behind, biases);
    throw;
  }
}

void CudaSteps::take_room(std::size_t before, std::size_t behind, std::size_t biases) {
  upload_ = Buffer<std::uint8_t>(), results_ = Buffer<std::uint8_t>();
  before_ = rounded(before), behind_ = behind, most_biases_ = biases;
  const std::size_t results = step_bytes::results(limits_), pinned = 2 * (before_ + behind_ + results);
  if (pinned > pinned_->bytes()) {
    auto larger = std::make_unique<Pinned>(device_, pinned);
    pinned_.swap(larger);
    ring_ = StagingRing(pinned);
  }
  upload_ = Buffer<std::uint8_t>(device_, before_ + behind_);
  results_ = Buffer<std::uint8_t>(device_, results + before_ + most_biases_ * sizeof(float));
}

bool CudaSteps::submit(const StepInputs& in, int fed, const StepOperations& operations) {
  if (unsettled_) device_.wait();
  unsettled_ = false;
  if (!has_free_flight()) return false;
  if (!flights_.empty()) finish(flights_.back());
  const StepBlock block(fixed_, in, fed);
  if (!fits(block)) {
    while (!flights_.empty() && flights_.front().dropped) land_dropped();
    if (!flights_.empty()) return false;
    make_room(block);
  }
  Flight flight;
  flight.size = block.size(), flight.top = block.wants_top(), flight.rows = in.R;
  const std::size_t inputs = rounded(block.before_bytes() + block.behind_bytes());
  std::optional<std::size_t> place;
  while (!(place = ring_.take(inputs + rounded(result_bytes(flight.size, flight.top))))) {
    if (flights_.empty() || !flights_.front().dropped) return false;
    land_dropped();
  }
  flight.results = *place + inputs;
  flight.event = next_event_;
  try {
    give(block, in, operations, *place, flight);
  } catch (...) {
    unsettled_ = true;
    ring_.give_back_newest();
    throw;
  }
  flights_.push_back(std::move(flight));
  next_event_ = (next_event_ + 1) % events_.size();
  return true;
}

void CudaSteps::give(const StepBlock& block, const StepInputs& in, const StepOperations& operations, std::size_t place,
                     Flight& flight) {
  std::uint8_t* const from = pinned_->get() + place;
  block.write(from, before_);
  const auto send = [&] {
    const std::size_t before = block.before_bytes();
    device_.copy_in(reinterpret_cast<std::uint64_t>(origin() - before), from, before + block.behind_bytes());
    feed(block);
  };
  if (block.is_rounded()) {
    octavo_cuda_graph* const graph = graph_of(block, in, operations);
    send();
    device_.run(graph);
    return finish(flight);
  }
  Recorder taken_down = recorder(block, in);
  operations(taken_down, on_device(block, in), room_);
  flight.launches = std::move(taken_down.launches);
  send();
  if (in.T <= most_tokens_at_once) return finish(flight);
  flight.piece =
      std::max<std::size_t>(1, flight.launches.size() * layers_of_piece / static_cast<std::size_t>(shape_.layers + 1));
  for (std::size_t i = 0; i < pieces_ahead; ++i) give_piece(flight);
}

// Its own launch, not a graph's: most steps have none.
void CudaSteps::feed(const StepBlock& block) {
  Launches launches;
  add_feed(launches, {reinterpret_cast<const std::int32_t*>(results_.get()),
                      reinterpret_cast<std::int32_t*>(origin() - block.ids_bytes()),
                      reinterpret_cast<std::int32_t*>(upload_.get()),
                      reinterpret_cast<const gpu::Feed*>(origin() + block.places().feeds), block.feeds()});
  device_.run(launches);
}

void CudaSteps::give_piece(Flight& flight) {
  const std::size_t count = std::min(flight.piece, flight.launches.size() - flight.given);
  if (count == 0) return;
  device_.run(flight.launches.data() + flight.given, count);
  flight.given += count;
  if (flight.given == flight.launches.size()) return finish(flight);
  device_.record(piece_events_[flight.given / flight.piece % pieces_ahead].get());
}

// Gives the rest, if there is any, and what is behind all launches.
void CudaSteps::finish(Flight& flight) {
  if (flight.finished) return;
  device_.run(flight.launches.data() + flight.given, flight.launches.size() - flight.given);
  flight.given = flight.launches.size();
  if (flight.rows > 0)
    device_.copy_out(pinned_->get() + flight.results, reinterpret_cast<std::uint64_t>(results_.get()),
                     result_bytes(flight.size, flight.top));
  device_.record(events_[flight.event].get());
  flight.finished = true;
}

void CudaSteps::give_all(const std::atomic<bool>* interrupt) {
  while (!flights_.empty() && flights_.front().dropped) land_dropped();
  if (flights_.empty()) throw Error(Code::internal, "no step is on its way");
  Flight& flight = flights_.front();
  const auto look = [&] {
    if (interrupt != nullptr && interrupt->load(std::memory_order_acquire))
      throw Error(Code::interrupted, "the step was interrupted");
  };
  look();
  while (!flight.finished) {
    device_.wait(piece_events_[(flight.given / flight.piece + 1) % pieces_ahead].get());
    look();
    give_piece(flight);
  }
}

void CudaSteps::wait(SampleRow* rows, const std::atomic<bool>* interrupt) {
  give_all(interrupt);
  Flight& flight = flights_.front();
  device_.wait(events_[flight.event].get());
  const std::size_t count = static_cast<std::size_t>(flight.size.rows);
  const auto* const tokens = reinterpret_cast<const std::int32_t*>(pinned_->get() + flight.results);
  const SampleResults results{tokens,
                              reinterpret_cast<const float*>(tokens + count),
                              flight.top ? tokens + 2 * count : nullptr,
                              tokens + 3 * count,
                              reinterpret_cast<const float*>(tokens + (3 + flight.size.most_top) * count),
                              flight.size.most_top};
  for (int i = 0; i < flight.rows; ++i) results.put(i, rows[i]);
  land();
}

void CudaSteps::land() {
  flights_.pop_front();
  ring_.give_back_oldest();
}

void CudaSteps::land_dropped() {
  device_.wait(events_[flights_.front().event].get());
  land();
}

// Launches that were not given are forgotten; those that were have an event behind them.
void CudaSteps::drop() {
  for (Flight& flight : flights_) {
    flight.launches.clear(), flight.given = 0, flight.rows = 0;
    flight.dropped = true;
  }
  try {
    for (Flight& flight : flights_) finish(flight);
  } catch (const Error&) {
    unsettled_ = true;
    while (!flights_.empty()) land();
  }
}

}  // namespace octavo::cuda

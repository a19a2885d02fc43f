#include "step_replay.h"

#include <chrono>
#include <span>
#include <unordered_map>

#include "error.h"

namespace octavo {

namespace {

double clock_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Reader {
 public:
  explicit Reader(const std::vector<std::int32_t>& record) : record_(record) {}
  bool done() const { return at_ == record_.size(); }
  std::int32_t next() { return take(1)[0]; }
  std::span<const std::int32_t> take(std::int32_t count) {
    if (count < 0 || static_cast<std::size_t>(count) > record_.size() - at_)
      throw Error(Code::invalid_argument, "a step record ends in the middle of an operation",
                  {{"expected", std::to_string(count) + " numbers"}, {"found", std::to_string(record_.size() - at_)}});
    const std::span<const std::int32_t> taken(record_.data() + at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }

 private:
  const std::vector<std::int32_t>& record_;
  std::size_t at_ = 0;
};

class Replay {
 public:
  Replay(Engine& engine, const std::vector<SamplerParams>& samplers) : engine_(engine), samplers_(samplers) {}
  ~Replay() {
    for (const auto& [recorded, sequence] : sequences_) engine_.release(sequence);
  }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  ReplayTimes run(Reader reader) {
    const double start = clock_seconds();
    while (!reader.done()) operation(reader);
    times_.seconds = clock_seconds() - start;
    return times_;
  }

 private:
  int sequence(std::int32_t recorded) const {
    const auto found = sequences_.find(recorded);
    if (found == sequences_.end())
      throw Error(Code::invalid_argument, "a step record names a sequence that is not open",
                  {{"found", std::to_string(recorded)}});
    return found->second;
  }

  void open(std::int32_t recorded, int sequence) {
    if (sequences_.emplace(recorded, sequence).second) return;
    engine_.release(sequence);
    throw Error(Code::invalid_argument, "a step record opens a sequence that is open",
                {{"found", std::to_string(recorded)}});
  }

  const SamplerParams& sampler(std::int32_t index) const {
    if (index < 0 || static_cast<std::size_t>(index) >= samplers_.size())
      throw Error(Code::invalid_argument, "a step record names a sampler that is not there",
                  {{"expected", "less than " + std::to_string(samplers_.size())}, {"found", std::to_string(index)}});
    return samplers_[static_cast<std::size_t>(index)];
  }

  void operation(Reader& reader) {
    const std::int32_t code = reader.next();
    const std::int32_t id = code == static_cast<std::int32_t>(ReplayOp::step) ? -1 : reader.next();
    switch (static_cast<ReplayOp>(code)) {
      case ReplayOp::create:
        open(id, engine_.create(""));
        return;
      case ReplayOp::match: {
        const auto tokens = reader.take(reader.next());
        engine_.match(sequence(id), tokens.data(), static_cast<int>(tokens.size()));
        return;
      }
      case ReplayOp::reserve: {
        const std::int32_t count = reader.next();
        if (!engine_.kv().reserve(sequence(id), count))
          throw Error(Code::out_of_memory, "the KV pool is too small for the record",
                      {{"tokens", std::to_string(count)}});
        return;
      }
      case ReplayOp::truncate:
        engine_.truncate(sequence(id), reader.next());
        return;
      case ReplayOp::fork: {
        const std::int32_t copy = reader.next();
        open(copy, engine_.fork(sequence(id)));
        return;
      }
      case ReplayOp::free:
        engine_.release(sequence(id));
        sequences_.erase(id);
        return;
      case ReplayOp::sampler:
        engine_.set_sampler(sequence(id), sampler(reader.next()));
        return;
      case ReplayOp::step:
        step(reader);
        return;
      case ReplayOp::accept: {
        const auto tokens = reader.take(reader.next());
        engine_.accept(sequence(id), tokens.data(), static_cast<int>(tokens.size()));
        return;
      }
    }
    throw Error(Code::invalid_argument, "not an operation of a step record",
                {{"expected", "0..8"}, {"found", std::to_string(code)}});
  }

  void step(Reader& reader) {
    const std::int32_t n_segments = reader.next(), n_tokens = reader.next();
    Step step;
    for (std::int32_t i = 0; i < n_segments; ++i) {
      const auto s = reader.take(5);
      step.segments.push_back({sequence(s[0]), s[1], s[2], s[3] == 1, s[4]});
    }
    const auto tokens = reader.take(n_tokens);
    step.tokens.assign(tokens.begin(), tokens.end());
    const double start = clock_seconds();
    engine_.submit(std::move(step));
    if (!engine_.wait()) throw Error(Code::interrupted, "the replay was interrupted");
    times_.step_seconds += clock_seconds() - start;
    times_.steps += 1;
    times_.tokens += n_tokens;
  }

  Engine& engine_;
  const std::vector<SamplerParams>& samplers_;
  std::unordered_map<std::int32_t, int> sequences_;
  ReplayTimes times_{};
};

}  // namespace

ReplayTimes replay_steps(Engine& engine, const std::vector<std::int32_t>& record,
                         const std::vector<SamplerParams>& samplers) {
  return Replay(engine, samplers).run(Reader(record));
}

}  // namespace octavo

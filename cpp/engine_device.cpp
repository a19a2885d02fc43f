// Steps of an engine on a device of its own (device_steps.h): steps of a run one behind the other, or two that were
// submitted one after the other. What was given and is not wanted any more is dropped; it writes keys where nobody has
// committed any.
#include <algorithm>

#include "engine.h"
#include "error.h"

namespace octavo {

// Whether a step may be given to the device behind those on their way, before their draws are known.
bool Engine::may_queue() const {
  if (following_ || fed_ >= steps_->most_queued() || drafts_wanted()) return false;
  for (std::size_t i = 0; i < step_.segments.size(); ++i) {
    const Segment& s = step_.segments[i];
    if (s.score || s.count != 1 || s.rows != 1 || matchers_.contains(s.sequence)) return false;
    if (kv_.room(s.sequence) <= queued_ || draws_left_[i] <= queued_) return false;
  }
  return true;
}

// step_, or what follows those on their way. False: the device has no room.
bool Engine::give_device() {
  if (!model_->submit(*steps_, step_, {queued_, fed_, nullptr, nullptr}, step_samplers_, masks_, kv_, *store_,
                      scratch_))
    return false;
  ++queued_, ++fed_;
  return true;
}

// step_, to a device that has nothing to do.
void Engine::give_first() {
  make_copies();
  make_masks(step_, {});
  fed_ = 0;
  if (!give_device()) throw Error(Code::internal, "an idle device has no room for a step");
}

// A step that was just submitted, so that the device computes while its caller plans. Guesses are made first, by wait.
void Engine::begin() {
  if (!steps_ || drafts_wanted() || signals_->interrupt.load(std::memory_order_acquire)) return;
  try {
    give_first();
  } catch (...) {
    drop_queued();
    pending_ = false;
    throw;
  }
  began_ = std::chrono::steady_clock::now();
}

// Behind step_, all of which the device has. Where it has no room yet, it is given when it is waited for.
void Engine::give_following() {
  Following& f = *following_;
  if (f.given) return;
  const OnTheWay way{0, 0, &step_, f.drawn.empty() ? nullptr : f.drawn.data()};
  make_copies();
  for (std::size_t i = 0; i < f.step.segments.size(); ++i)
    check_room(i, f.step.segments[i], way.count(f.step.segments[i].sequence));
  make_masks(f.step, way);
  f.given = model_->submit(*steps_, f.step, way, f.samplers, masks_, kv_, *store_, scratch_);
}

// The step behind the one just computed is the next to be waited for. Its tokens are known now.
void Engine::take_following() {
  Following& f = *following_;
  tokenless_.clear();
  std::size_t at = 0;
  for (std::size_t i = 0; i < f.step.segments.size(); at += static_cast<std::size_t>(f.step.segments[i++].count)) {
    if (f.drawn.empty() || f.drawn[at] < 0) continue;
    const std::int32_t token = result_.rows[static_cast<std::size_t>(f.drawn[at])].token;
    f.step.tokens[at] = std::max(token, 0);
    if (token < 0) tokenless_.push_back(f.step.segments[i].sequence);
  }
  step_ = std::move(f.step), step_samplers_ = std::move(f.samplers);
  queued_ = fed_ = f.given ? 1 : 0;
  following_.reset();
  pending_ = true;
}

void Engine::drop_queued() {
  if (queued_ > 0 || (following_ && following_->given)) steps_->drop();
  queued_ = 0;
  following_.reset();
}

// How many steps of a run may be on their way, the one whose turn it is included: the run may end at any of them.
int Engine::most_on_their_way(const Run& run, int done, double since_first) const {
  if (run.steps - done < 2 || following_) return 1;
  const double left = run.seconds - since_first;
  double most = done == 0 ? 1 : 0;
  if (step_seconds_ > 0) most += left / step_seconds_;
  if (step_seconds_ == 0 && left > 0) most = 2;
  most = std::min(most, std::max(2.0, options_.queue_seconds / std::max(step_seconds_, 1e-9)));
  return static_cast<int>(std::clamp(most, 1.0, static_cast<double>(run.steps - done)));
}

// As compute, while up to `most` steps are on their way.
bool Engine::compute_on_device(int most) {
  std::atomic<bool>& interrupt = signals_->interrupt;
  try {
    if (interrupt.load(std::memory_order_acquire)) throw Error(Code::interrupted, "discarded by interrupt()");
    // A sequence may have been truncated or released since submit().
    for (std::size_t i = 0; i < step_.segments.size(); ++i) check_room(i, step_.segments[i]);
    if (queued_ == 0) give_first();
    while (queued_ < most && may_queue() && give_device()) {
    }
    if (following_) {
      steps_->give_all(&interrupt);
      give_following();
    }
    result_.rows.clear();
    result_.rows.resize(rows_of(step_));
    steps_->wait(result_.rows.data(), &interrupt);
    --queued_;
  } catch (const Error& e) {
    drop_queued();
    if (e.code() != Code::interrupted) throw;
    interrupt.store(false, std::memory_order_release);
    return false;
  } catch (...) {
    drop_queued();
    throw;
  }
  settle();
  return true;
}

}  // namespace octavo

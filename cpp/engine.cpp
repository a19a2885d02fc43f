#include "engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>

#include "error.h"

namespace octavo {

namespace {

// Signals of living engines by id. A function-local static: engines of several threads come and go until the process
// ends.
struct Registry {
  std::mutex mutex;
  std::unordered_map<std::uint32_t, std::shared_ptr<Signals>> signals;
  std::uint32_t next_id = 1;
};
Registry& registry() {
  static Registry* instance = new Registry;  // never destroyed: threads may still interrupt while the process exits
  return *instance;
}

std::uint32_t register_signals(const std::shared_ptr<Signals>& signals) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  r.signals[r.next_id] = signals;
  return r.next_id++;
}

void set_signal(std::uint32_t id, std::atomic<bool> Signals::*signal) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  const auto it = r.signals.find(id);
  if (it != r.signals.end()) ((*it->second).*signal).store(true, std::memory_order_release);
}

[[noreturn]] void bad_segment(std::size_t index, const std::string& what, const std::string& expected,
                              long long found) {
  throw Error(Code::invalid_argument, "segment " + std::to_string(index) + ": " + what,
              {{"expected", expected}, {"found", std::to_string(found)}});
}

std::shared_ptr<const Model> require_loaded(std::shared_ptr<const Model> model) {
  if (!model->loaded())
    throw Error(Code::invalid_argument, "the model is not loaded",
                {{"expected", "finishLoad() before an engine is made"}});
  return model;
}

// Tokens after the first row's are guesses until the draws are looked at.
int drafts(const Segment& s) { return s.score || s.rows == 0 ? 0 : s.rows - 1; }

}  // namespace

void interrupt_engine(std::uint32_t id) { set_signal(id, &Signals::interrupt); }
void nudge_engine(std::uint32_t id) { set_signal(id, &Signals::nudge); }

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options)
    : model_(require_loaded(std::move(model))),
      options_(options),
      signals_(std::make_shared<Signals>()),
      store_(model_->backend().kv_create({model_->desc().layers, options.kv_blocks, model_->desc().kv_heads,
                                          model_->desc().head_size, options.kv_dtype})),
      kv_(options.kv_blocks, options.prefix_cache, 0, [this](int blocks) { return store_->provide(blocks); }),
      scratch_(model_->desc(), options.max_step_tokens),
      id_(registered_and_tuned()) {}

std::uint32_t Engine::registered_and_tuned() const {
  if (options_.tune) model_->tune(options_.threads);
  return register_signals(signals_);
}

Engine::~Engine() {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  r.signals.erase(id_);
}

void Engine::set_sampler(int sequence, SamplerParams params) {
  kv_.length(sequence);  // throws for a bad handle
  check_sampler_params(params);
  for (const auto& [token, value] : params.bias) {
    if (token < 0 || token >= model_->desc().vocabulary)
      throw Error(
          Code::invalid_argument, "logit bias for a token outside the vocabulary",
          {{"expected", "0.." + std::to_string(model_->desc().vocabulary - 1)}, {"found", std::to_string(token)}});
    // sample_row would refuse it too, but then the whole step is lost.
    if (!(value < std::numeric_limits<float>::infinity()))
      throw Error(Code::invalid_argument, "a logit bias is not a number",
                  {{"expected", "a number or -infinity"}, {"found", std::to_string(value)}});
  }
  if (params.grammar) {
    grammar::Matcher matcher = grammars_.matcher(*params.grammar);
    if (params.vocabulary < 1 || params.vocabulary > grammars_.vocabulary())
      throw Error(Code::invalid_argument, "tokens that the grammar does not know",
                  {{"expected", "vocabulary in 1.." + std::to_string(grammars_.vocabulary())},
                   {"found", std::to_string(params.vocabulary)}});
    matchers_.insert_or_assign(sequence, std::move(matcher));
  } else {
    matchers_.erase(sequence);
  }
  samplers_.insert_or_assign(sequence, std::move(params));
}

void Engine::truncate(int sequence, int length) {
  kv_.truncate(sequence, length);
  const auto matcher = matchers_.find(sequence);
  if (matcher == matchers_.end()) return;
  matcher->second.truncate(static_cast<std::size_t>(std::max(0, length - samplers_.at(sequence).prompt_length)));
}

void Engine::release(int sequence) {
  kv_.release(sequence);
  samplers_.erase(sequence);
  matchers_.erase(sequence);
}

// What is reserved, not what the table happens to reach: the rest of a fork's last block may be another's.
void Engine::check_room(std::size_t index, const Segment& s) const {
  const int room = kv_.room(s.sequence);
  if (s.count > room) bad_segment(index, "no room reserved", "<= " + std::to_string(room) + " tokens", s.count);
}

void Engine::submit(Step step) {
  if (pending_) throw Error(Code::invalid_argument, "a step is pending: wait for it first", {});
  const int vocabulary = model_->desc().vocabulary;
  std::size_t total = 0;
  step_samplers_.clear();
  for (std::size_t i = 0; i < step.segments.size(); ++i) {
    const Segment& s = step.segments[i];
    if (s.count < 1) bad_segment(i, "no tokens", ">= 1", s.count);
    if (s.rows < 0 || s.rows > s.count)
      bad_segment(i, "more result rows than tokens", "0.." + std::to_string(s.count), s.rows);
    check_room(i, s);
    if (s.score && s.next >= vocabulary)
      bad_segment(i, "next token outside the vocabulary", "< " + std::to_string(vocabulary), s.next);
    for (std::size_t j = 0; j < i; ++j)
      if (step.segments[j].sequence == s.sequence)
        bad_segment(i, "a sequence twice in one step", "distinct sequences", s.sequence);
    const auto sampler = samplers_.find(s.sequence);
    if (!s.score && s.rows > 0 && sampler == samplers_.end())
      bad_segment(i, "no sampler set", "setSampler before", s.sequence);
    step_samplers_.push_back(sampler == samplers_.end() ? nullptr : &sampler->second);
    total += static_cast<std::size_t>(s.count);
  }
  if (total != step.tokens.size() || total < 1 || total > static_cast<std::size_t>(options_.max_step_tokens))
    throw Error(Code::invalid_argument, "wrong number of tokens in the step",
                {{"expected", "1.." + std::to_string(options_.max_step_tokens) + ", the sum of the segments"},
                 {"found", std::to_string(step.tokens.size())}});
  for (const std::int32_t token : step.tokens)
    if (token < 0 || token >= vocabulary)
      throw Error(Code::invalid_argument, "token outside the vocabulary",
                  {{"expected", "0.." + std::to_string(vocabulary - 1)}, {"found", std::to_string(token)}});
  step_ = std::move(step);
  pending_ = true;
}

void Engine::accept(int sequence, const std::int32_t* tokens, int count) {
  if (pending_) throw Error(Code::invalid_argument, "accept: a step is pending: wait for it first", {});
  kv_.commit(sequence, tokens, count);
}

void Engine::make_copies() {
  for (const KvCopy& copy : kv_.take_copies()) model_->backend().kv_copy(*store_, copy.destination, copy.source);
}

void Engine::kv_export(int sequence, int first, int count, std::uint8_t* out) const {
  const int full = kv_.length(sequence) / kv_block_tokens;
  if (first < 0 || count < 0 || count > full - first)
    throw Error(Code::invalid_argument, "blocks that are not computed",
                {{"expected", "up to block " + std::to_string(full)},
                 {"found", std::to_string(first) + " + " + std::to_string(count)}});
  const std::vector<std::int32_t>& table = kv_.table(sequence);
  for (int i = first; i < first + count; ++i, out += block_bytes())
    model_->backend().kv_export(out, *store_, table[static_cast<std::size_t>(i)]);
}

bool Engine::kv_import(int sequence, const std::int32_t* tokens, int count, const std::uint8_t* blocks) {
  const int start = kv_.length(sequence);
  if (pending_) throw Error(Code::invalid_argument, "a step is pending: wait for it first", {});
  if (count < 0 || count % kv_block_tokens != 0 || start % kv_block_tokens != 0)
    throw Error(Code::invalid_argument, "not whole blocks of tokens",
                {{"expected", "multiples of " + std::to_string(kv_block_tokens)},
                 {"found", std::to_string(start) + " + " + std::to_string(count)}});
  if (!kv_.reserve(sequence, count)) return false;
  make_copies();  // a block taken now may be part of a copy that was queued before
  const std::vector<std::int32_t>& table = kv_.table(sequence);
  for (int i = start / kv_block_tokens; i < (start + count) / kv_block_tokens; ++i, blocks += block_bytes())
    model_->backend().kv_import(*store_, table[static_cast<std::size_t>(i)], blocks);
  kv_.commit(sequence, tokens, count);
  return true;
}

std::size_t Engine::result_rows() const { return pending_ ? step_rows() : 0; }

std::size_t Engine::step_rows() const {
  std::size_t rows = 0;
  for (const Segment& s : step_.segments)
    rows += static_cast<std::size_t>(s.rows) - (s.score && s.rows > 0 && s.next < 0 ? 1 : 0);
  return rows;
}

// The tokens before every row are known, drafts included, so all masks are made before anything is computed: a device
// could compute meanwhile.
void Engine::make_masks() {
  masks_.clear();
  if (matchers_.empty()) return;
  std::size_t row = 0, token = 0;
  for (const Segment& segment : step_.segments) {
    const std::size_t first = token, rows = static_cast<std::size_t>(segment.rows);
    token += static_cast<std::size_t>(segment.count);
    const auto matcher = segment.score || segment.rows == 0 ? matchers_.end() : matchers_.find(segment.sequence);
    if (matcher == matchers_.end()) {
      row += rows - (segment.score && segment.rows > 0 && segment.next < 0 ? 1 : 0);
      continue;
    }
    const std::vector<std::int32_t>& computed = kv_.tokens(segment.sequence);
    const std::size_t prompt = static_cast<std::size_t>(std::max(0, samplers_.at(segment.sequence).prompt_length));
    grammar::Matcher& m = matcher->second;
    m.truncate(computed.size() - std::min(prompt, computed.size()));  // drafts that were wrong
    while (prompt + m.length() < computed.size()) m.push(computed[prompt + m.length()]);
    masks_.resize(step_rows());
    for (std::size_t i = first; i < token; ++i) {
      if (computed.size() + (i - first) >= prompt) m.push(step_.tokens[i]);
      if (token - i <= rows) masks_[row++] = m.mask(grammars_.masks());
    }
  }
}

// The stored step. False: discarded.
bool Engine::compute() {
  std::atomic<bool>& interrupt = signals_->interrupt;
  store_->touch_ahead(static_cast<int>(step_.tokens.size()));
  const auto turn = model_->backend().begin_step(options_.threads, &interrupt);
  make_copies();
  try {
    if (interrupt.load(std::memory_order_acquire)) throw Error(Code::interrupted, "discarded by interrupt()");
    // A sequence may have been truncated or released since submit().
    for (std::size_t i = 0; i < step_.segments.size(); ++i) check_room(i, step_.segments[i]);
    make_masks();
    model_->forward(step_, step_samplers_, masks_, kv_, *store_, scratch_, result_);
  } catch (const Error& e) {
    if (e.code() != Code::interrupted) throw;
    interrupt.store(false, std::memory_order_release);
    return false;
  }
  const std::int32_t* tokens = step_.tokens.data();
  for (const Segment& segment : step_.segments) {
    kv_.commit(segment.sequence, tokens, segment.count - drafts(segment));
    tokens += segment.count;
  }
  return true;
}

// Whether the draws of the step just computed may be followed by another step.
bool Engine::goes_on() const {
  if (signals_->nudge.load(std::memory_order_acquire)) return false;
  for (std::size_t i = 0; i < step_.segments.size(); ++i) {
    const Segment& s = step_.segments[i];
    if (s.score || s.count != 1 || s.rows != 1) return false;
    const std::int32_t token = result_.rows[i].token;
    if (token < 0 || end_tokens_.contains(token) || kv_.room(s.sequence) < 1) return false;
  }
  return true;
}

bool Engine::wait(const Run& run) {
  using Clock = std::chrono::steady_clock;
  if (!pending_) throw Error(Code::invalid_argument, "no step is pending: submit one first", {});
  pending_ = false;
  const Clock::time_point started = Clock::now();
  if (!compute()) return false;
  const Clock::time_point first = Clock::now();
  Clock::time_point last = first;
  Clock::duration took = first - started;
  std::vector<SampleRow> rows;  // of a run's steps, if there is more than one
  const auto keep = [&] {
    for (SampleRow& row : result_.rows) rows.push_back(std::move(row));
  };
  for (int steps = 1; steps < run.steps && goes_on(); ++steps) {
    if (std::chrono::duration<double>(last - first + took).count() > run.seconds) break;
    for (std::size_t i = 0; i < step_.tokens.size(); ++i) step_.tokens[i] = result_.rows[i].token;
    keep();
    if (!compute()) {
      result_.rows.clear();
      break;
    }
    const Clock::time_point now = Clock::now();
    took = now - last;
    last = now;
  }
  if (!rows.empty()) {
    keep();
    result_.rows = std::move(rows);
  }
  signals_->nudge.store(false, std::memory_order_release);
  result_.seconds = std::chrono::duration<double>(last - started).count();
  return true;
}

}  // namespace octavo

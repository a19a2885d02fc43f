#include "engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>

#include "draft_model.h"
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

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options, std::shared_ptr<Signals> signals)
    : model_(require_loaded(std::move(model))),
      options_(options),
      serves_(signals != nullptr),
      signals_(signals ? std::move(signals) : std::make_shared<Signals>()),
      store_(model_->backend().kv_create({model_->desc().layers, options.kv_blocks, model_->desc().kv_heads,
                                          model_->desc().head_size, options.kv_dtype})),
      kv_(options.kv_blocks, options.prefix_cache, 0, [this](int blocks) { return store_->provide(blocks); }),
      scratch_(model_->desc(), options.max_step_tokens),
      steps_(model_->make_steps(options.max_step_tokens, *store_)),
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

void Engine::set_draft_model(std::shared_ptr<const Model> model, const EngineOptions& options) {
  draft_model_ = std::make_unique<DraftModel>(std::move(model), options, signals_, model_->desc().vocabulary);
}

std::size_t Engine::draft_bytes() const { return draft_model_ ? draft_model_->bytes() : 0; }

int Engine::create(const std::string& salt) {
  const int sequence = kv_.create(salt);
  drafters_.open(sequence, salt);
  return sequence;
}

int Engine::fork(int sequence) {
  const int copy = kv_.fork(sequence);
  drafters_.open(copy, drafters_.salt(sequence));
  return copy;
}

int Engine::match(int sequence, const std::int32_t* tokens, int count) {
  const int known = kv_.match(sequence, tokens, count);
  drafters_.set_known(sequence, known);
  return known;
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
  drafters_.close(sequence, kv_.tokens(sequence));
  if (draft_model_) draft_model_->release(sequence);
  kv_.release(sequence);
  samplers_.erase(sequence);
  matchers_.erase(sequence);
}

// What is reserved, not what the table happens to reach: the rest of a fork's last block may be another's. taken: by a
// step before.
void Engine::check_room(std::size_t index, const Segment& s, int taken) const {
  const int room = kv_.room(s.sequence) - taken;
  if (s.count > room) bad_segment(index, "no room reserved", "<= " + std::to_string(room) + " tokens", s.count);
}

// Behind step_ only what is known, or drawn by it, can come.
void Engine::check_follows(std::size_t index, const Segment& s) const {
  const OnTheWay way{0, 0, &step_, nullptr};
  check_room(index, s, way.count(s.sequence));
  if (s.drafting.on) bad_segment(index, "guesses behind a step that is not computed", "wait() before", s.sequence);
  for (const Segment& before : step_.segments)
    if (before.sequence == s.sequence && drafts(before) > 0)
      bad_segment(index, "tokens behind guesses", "wait() before", s.sequence);
}

void Engine::check_segments(const Step& step, std::vector<const SamplerParams*>& samplers) const {
  const int vocabulary = model_->desc().vocabulary;
  std::size_t total = 0;
  samplers.clear();
  for (std::size_t i = 0; i < step.segments.size(); ++i) {
    const Segment& s = step.segments[i];
    if (s.count < 1) bad_segment(i, "no tokens", ">= 1", s.count);
    if (s.rows < 0 || s.rows > s.count)
      bad_segment(i, "more result rows than tokens", "0.." + std::to_string(s.count), s.rows);
    if (pending_)
      check_follows(i, s);
    else
      check_room(i, s);
    if (s.drafting.on && (s.score || s.count != 1 || s.rows != 1))
      bad_segment(i, "guesses for more than a token that is drawn after", "count 1, rows 1", s.count);
    if (s.score && s.next >= vocabulary)
      bad_segment(i, "next token outside the vocabulary", "< " + std::to_string(vocabulary), s.next);
    for (std::size_t j = 0; j < i; ++j)
      if (step.segments[j].sequence == s.sequence)
        bad_segment(i, "a sequence twice in one step", "distinct sequences", s.sequence);
    const auto sampler = samplers_.find(s.sequence);
    if (!s.score && s.rows > 0 && sampler == samplers_.end())
      bad_segment(i, "no sampler set", "setSampler before", s.sequence);
    samplers.push_back(sampler == samplers_.end() ? nullptr : &sampler->second);
    total += static_cast<std::size_t>(s.count);
  }
  if (total != step.tokens.size() || total < 1 || total > static_cast<std::size_t>(options_.max_step_tokens))
    throw Error(Code::invalid_argument, "wrong number of tokens in the step",
                {{"expected", "1.." + std::to_string(options_.max_step_tokens) + ", the sum of the segments"},
                 {"found", std::to_string(step.tokens.size())}});
  for (const std::int32_t token : step.tokens)
    if ((token < 0 && !pending_) || token >= vocabulary)
      throw Error(Code::invalid_argument, "token outside the vocabulary",
                  {{"expected", "0.." + std::to_string(vocabulary - 1)}, {"found", std::to_string(token)}});
}

// The row of step_ that draws a segment's token, which says so by a number below 0.
std::int32_t Engine::row_drawn(std::size_t index, const Segment& s, std::int32_t token) const {
  const std::int32_t wanted = -1 - token;
  if (s.count != 1 || s.score) bad_segment(index, "a drawn token beside others", "count 1, to draw after", s.count);
  if (matchers_.contains(s.sequence))
    bad_segment(index, "a drawn token of a sequence with a grammar", "wait() before", s.sequence);
  std::int32_t row = 0;
  for (const Segment& before : step_.segments) {
    const std::int32_t rows = static_cast<std::int32_t>(rows_of(before));
    if (before.sequence == s.sequence && !before.score && rows == 1 && row == wanted) return row;
    row += rows;
  }
  bad_segment(index, "no row of the step before draws its token", "the row of the same sequence", wanted);
}

void Engine::take_drawn(Following& f) const {
  std::size_t at = 0;
  for (std::size_t i = 0; i < f.step.segments.size(); at += static_cast<std::size_t>(f.step.segments[i++].count)) {
    const Segment& s = f.step.segments[i];
    for (std::size_t t = at; t < at + static_cast<std::size_t>(s.count); ++t) {
      if (f.step.tokens[t] >= 0) continue;
      f.drawn.resize(f.step.tokens.size(), -1);
      f.drawn[t] = row_drawn(i, s, f.step.tokens[t]);
      f.step.tokens[t] = 0;
    }
  }
}

void Engine::submit(Step step) {
  if (pending_ && (!steps_ || following_ || drafts_wanted()))
    throw Error(Code::invalid_argument, "a step is pending: wait for it first", {});
  Following made{std::move(step), {}, {}};
  check_segments(made.step, made.samplers);
  if (pending_) {
    take_drawn(made);
    following_ = std::move(made);
    return;
  }
  step_ = std::move(made.step), step_samplers_ = std::move(made.samplers);
  tokenless_.clear();
  pending_ = true;
  begin();
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

std::size_t Engine::result_rows() const {
  if (!pending_) return 0;
  std::size_t rows = rows_of(step_);
  for (const Segment& s : step_.segments) rows += static_cast<std::size_t>(s.drafting.most());
  return rows;
}

// The tokens before every row are known, drafts included, so all masks are made before anything is computed: a device
// could compute meanwhile.
void Engine::make_masks(const Step& step, const OnTheWay& way) {
  masks_.clear();
  if (matchers_.empty()) return;
  std::size_t row = 0, token = 0;
  for (const Segment& segment : step.segments) {
    const std::size_t first = token, rows = static_cast<std::size_t>(segment.rows);
    token += static_cast<std::size_t>(segment.count);
    const auto matcher = segment.score || segment.rows == 0 ? matchers_.end() : matchers_.find(segment.sequence);
    if (matcher == matchers_.end()) {
      row += rows_of(segment);
      continue;
    }
    const std::vector<std::int32_t>& computed = kv_.tokens(segment.sequence);
    const std::size_t prompt = static_cast<std::size_t>(std::max(0, samplers_.at(segment.sequence).prompt_length));
    grammar::Matcher& m = matcher->second;
    m.truncate(computed.size() - std::min(prompt, computed.size()));  // drafts that were wrong
    while (prompt + m.length() < computed.size()) m.push(computed[prompt + m.length()]);
    std::size_t at = computed.size();
    for (const std::int32_t before : way.tokens(segment.sequence))
      if (at++ >= prompt) m.push(before);
    masks_.resize(rows_of(step));
    for (std::size_t i = first; i < token; ++i) {
      if (at + (i - first) >= prompt) m.push(step.tokens[i]);
      if (token - i <= rows) masks_[row++] = m.mask(grammars_.masks());
    }
  }
}

bool Engine::drafts_wanted() const {
  for (const Segment& s : step_.segments)
    if (s.drafting.on) return true;
  return false;
}

// Adds guesses to the segments that want some, as far as there is room in the cache and in the step. first: of a run.
// False: interrupted.
bool Engine::guess(bool first) {
  reports_.assign(step_.segments.size(), {});
  const auto looks = [first](const Segment& s) { return s.drafting.on && (first || !s.drafting.once); };
  if (std::none_of(step_.segments.begin(), step_.segments.end(), looks)) return true;
  guesses_.resize(step_.segments.size() * max_drafts);
  std::vector<DraftModel::Ask> asks;
  int room = options_.max_step_tokens - static_cast<int>(step_.tokens.size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < step_.segments.size(); at += static_cast<std::size_t>(step_.segments[i++].count)) {
    const Segment& s = step_.segments[i];
    if (!looks(s)) continue;
    std::int32_t* const out = guesses_.data() + i * max_drafts;
    const int most = std::clamp(std::min({room, kv_.room(s.sequence) - 1, draws_left_[i] - 1}), 0, max_drafts);
    const std::vector<std::int32_t>& tokens = kv_.tokens(s.sequence);
    drafters_.propose(s.sequence, tokens, step_.tokens[at], s.drafting, most, out, reports_[i]);
    const int wanted = std::min(s.drafting.model, most);
    if (reports_[i].proposed == 0 && draft_model_ && wanted > 0) {
      const std::string& salt = drafters_.salt(s.sequence);
      asks.push_back({s.sequence, &salt, &tokens, step_.tokens[at], step_samplers_[i], wanted, out, &reports_[i]});
      room -= wanted;
    }
    room -= reports_[i].proposed;
  }
  if (!asks.empty() && !draft_model_->propose(asks)) return false;
  guessed_.clear();
  at = 0;
  for (std::size_t i = 0; i < step_.segments.size(); ++i) {
    Segment& s = step_.segments[i];
    const auto from = step_.tokens.begin() + static_cast<std::ptrdiff_t>(at);
    guessed_.insert(guessed_.end(), from, from + s.count);
    at += static_cast<std::size_t>(s.count);
    const auto guesses = guesses_.begin() + static_cast<std::ptrdiff_t>(i * max_drafts);
    guessed_.insert(guessed_.end(), guesses, guesses + reports_[i].proposed);
    s.count += reports_[i].proposed, s.rows += reports_[i].proposed;
  }
  step_.tokens.swap(guessed_);
  return true;
}

// Commits what was computed. Of the engine's own guesses those that the draws confirm, up to an end token; rows after
// the first draw that differs are nobody's.
void Engine::settle() {
  const std::int32_t* tokens = step_.tokens.data();
  std::size_t row = 0, kept = 0;
  for (std::size_t i = 0; i < step_.segments.size(); ++i) {
    const Segment& s = step_.segments[i];
    const bool tokenless = std::find(tokenless_.begin(), tokenless_.end(), s.sequence) != tokenless_.end();
    if (!tokenless) kv_.commit(s.sequence, tokens, s.count - drafts(s));
    const std::size_t rows = rows_of(s);
    std::size_t stand = rows;
    if (s.drafting.on) {
      const std::int32_t* const guesses = tokens + s.count - drafts(s);
      const int proposed = drafts(s);
      int right = 0;
      const auto confirmed = [&](int j) {
        const std::int32_t token = result_.rows[row + static_cast<std::size_t>(j)].token;
        return token == guesses[j] && !end_tokens_.contains(token);
      };
      while (right < proposed && confirmed(right)) ++right;
      kv_.commit(s.sequence, guesses, right);
      stand = static_cast<std::size_t>(right) + 1;
      reports_[i].draws = right + 1;
      reports_[i].foreseen =
          reports_[i].source != DraftSource::none && result_.rows[row].token == guesses_[i * max_drafts];
    } else if (!reports_.empty()) {
      reports_[i].draws = static_cast<std::int32_t>(rows);
    }
    draws_left_[i] -= static_cast<int>(stand);
    for (std::size_t j = 0; j < stand; ++j, ++kept)
      if (kept != row + j) result_.rows[kept] = std::move(result_.rows[row + j]);
    row += rows;
    tokens += s.count;
  }
  result_.rows.resize(kept);
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
    make_masks(step_, {});
    model_->forward(step_, step_samplers_, masks_, kv_, *store_, scratch_, result_);
  } catch (const Error& e) {
    if (e.code() != Code::interrupted) throw;
    interrupt.store(false, std::memory_order_release);
    return false;
  }
  settle();
  return true;
}

// Whether the draws of the step just computed may be followed by another step.
bool Engine::goes_on() const {
  if (signals_->nudge.load(std::memory_order_acquire)) return false;
  std::size_t row = 0;
  for (std::size_t i = 0; i < step_.segments.size(); ++i) {
    const Segment& s = step_.segments[i];
    const int draws = reports_.empty() ? s.rows : reports_[i].draws;
    const int guesses = reports_.empty() ? 0 : reports_[i].proposed;
    if (s.score || s.count != 1 + guesses || s.rows != 1 + guesses) return false;
    if (kv_.room(s.sequence) < 1 || draws_left_[i] < 1) return false;
    for (int j = 0; j < draws; ++j, ++row)
      if (result_.rows[row].token < 0 || end_tokens_.contains(result_.rows[row].token)) return false;
  }
  return true;
}

// The step after the one just computed: every segment's last draw.
void Engine::follow_draws() {
  step_.tokens.resize(step_.segments.size());
  std::size_t row = 0;
  for (std::size_t i = 0; i < step_.segments.size(); ++i) {
    row += static_cast<std::size_t>(reports_.empty() ? 1 : reports_[i].draws);
    step_.tokens[i] = result_.rows[row - 1].token;
    step_.segments[i].count = step_.segments[i].rows = 1;
  }
}

bool Engine::wait(const Run& run) {
  using Clock = std::chrono::steady_clock;
  if (!pending_) throw Error(Code::invalid_argument, "no step is pending: submit one first", {});
  pending_ = false;
  const bool drafting = drafts_wanted();
  draws_left_.assign(step_.segments.size(), drafting ? std::numeric_limits<int>::max() : run.draws);
  std::vector<SampleRow> rows;  // of the steps before the last
  std::vector<DraftReport> reports;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  const auto step = [&](int done, double since_first) {
    reports_.clear();
    const Clock::time_point began = Clock::now();
    if (drafting && !guess(done == 0)) return false;
    const Clock::time_point guessed = Clock::now();
    if (!(steps_ ? compute_on_device(most_on_their_way(run, done, since_first)) : compute())) return false;
    const auto nanoseconds = [&](Clock::duration d) {
      return static_cast<std::int32_t>(std::min(1e9 * seconds(d), 2e9));
    };
    const std::int32_t guess_took = nanoseconds(guessed - began), step_took = nanoseconds(Clock::now() - guessed);
    for (DraftReport& report : reports_) report.guess_nanoseconds = guess_took, report.nanoseconds = step_took;
    reports.insert(reports.end(), reports_.begin(), reports_.end());
    return true;
  };
  const Clock::time_point started = queued_ > 0 ? began_ : Clock::now();
  if (!step(0, 0)) return false;
  for (int& left : draws_left_)
    if (drafting) left = run.draws - (std::numeric_limits<int>::max() - left);
  const Clock::time_point first = Clock::now();
  Clock::time_point last = first;
  Clock::duration took = first - started;
  const auto keep = [&] {
    for (SampleRow& row : result_.rows) rows.push_back(std::move(row));
  };
  for (int steps = 1; steps < run.steps && !following_ && goes_on(); ++steps) {
    if (queued_ == 0 && seconds(last - first + took) > run.seconds) break;
    follow_draws();
    keep();
    if (!step(steps, seconds(last - first))) {
      result_.rows.clear();
      break;
    }
    const Clock::time_point now = Clock::now();
    took = now - last;
    last = now;
    step_seconds_ = seconds(took);
  }
  if (following_) {
    take_following();
    began_ = last;
  } else {
    drop_queued();
  }
  if (!rows.empty()) {
    keep();
    result_.rows = std::move(rows);
  }
  if (!serves_) signals_->nudge.store(false, std::memory_order_release);
  result_.drafts = std::move(reports);
  result_.seconds = seconds(last - started);
  return true;
}

}  // namespace octavo

// See step_block.h.
#include "cuda/steps/step_block.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace octavo::cuda {

namespace {

constexpr std::size_t alignment = 256;
std::size_t rounded(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }
template <class T>
std::size_t bytes_of(int count) {
  return static_cast<std::size_t>(count) * sizeof(T);
}

// Biases that a row of a rounded step has room for, on average: steps with more are not rounded.
constexpr int biases_of_row = 8;
// Numbers of log-probabilities that results are rounded up to.
constexpr int tops[] = {1, 5, 20, most_top_tokens};

int power_of_two(int count) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(1, count)))); }

// A row that draws nothing, and asks for nothing.
gpu::SampleRow no_row() {
  gpu::SampleRow row{};
  row.logprobs = row.target = row.mask = row.counts = -1;
  return row;
}
constexpr gpu::AttentionTile no_tile{0, 0, 0, 0, 0, -1, 0};
constexpr gpu::AttentionItem no_item{-1, 0, 0, -1};

template <class T>
void copy(std::uint8_t* out, const T* values, std::size_t count) {
  if (count > 0) std::memcpy(out, values, count * sizeof(T));
}
// Values, then copies of `rest` up to `all` of them.
template <class T>
void fill(std::uint8_t* out, const T* values, int count, int all, const T& rest) {
  copy(out, values, static_cast<std::size_t>(count));
  for (int i = count; i < all; ++i) std::memcpy(out + bytes_of<T>(i), &rest, sizeof(T));
}

}  // namespace

StepBlock::StepBlock(const Fixed& fixed, const StepInputs& in, int fed)
    : in_(in),
      fed_(fed),
      rope_dims_(fixed.rope_dims),
      segments_(in.plan),
      attention_(plan_attention(fixed.attention, segments_.segments, fixed.multiprocessors, most_partials)) {
  decodes_ = in.R == in.T;
  for (const Segment& s : segments_.segments) decodes_ = decodes_ && s.count == 1;
  samples_.fed = fed, samples_.counts = most_logit_rows;
  for (int i = 0; i < in.R; ++i) decodes_ = decodes_ && in.rows[i].target < 0;
  samples_.room = decodes_ ? most_queued_steps : 0;
  for (int i = 0; i < in.R; ++i) samples_.add(in.rows[i], fixed.vocabulary);
  for (const gpu::SampleRow& row : samples_.rows) wants_top_ = wants_top_ || row.logprobs > 0;
  size_ = {in.T,
           in.R,
           static_cast<int>(attention_.tiles.size()),
           static_cast<int>(attention_.items.size()),
           static_cast<int>(samples_.bias_tokens.size()),
           samples_.most_top,
           false};
  if (in.drawn != nullptr) feed();
  if (decodes_ && in.T <= fixed.most_rows) round_up(fixed);
  place();
}

// A token that the step before draws is the last of its segment, so it ends the history of the row that it has.
void StepBlock::feed() {
  int row = 0;
  for (int token = 0; token < in_.T; ++token) {
    while (row < in_.R && in_.wanted[row] < token) ++row;
    if (in_.drawn[token] < 0) continue;
    gpu::Feed feed{in_.drawn[token], token, -1};
    if (row < in_.R && in_.wanted[row] == token) {
      const gpu::SampleRow& r = samples_.rows[static_cast<std::size_t>(row)];
      if (r.counts >= 0) feed.history = r.history + r.history_length - 1;
    }
    feeds_.push_back(feed);
  }
}

void StepBlock::round_up(const Fixed& fixed) {
  const int rows = std::min(power_of_two(in_.T), fixed.most_rows);
  if (size_.biases > biases_of_row * rows) return;
  const int tiles_of_row = size_.tiles / in_.T;
  size_.tokens = size_.rows = rows, size_.tiles = rows * tiles_of_row;
  size_.items = std::max(size_.tiles, power_of_two(size_.items));
  size_.biases = biases_of_row * rows;
  size_.most_top = *std::lower_bound(std::begin(tops), std::end(tops), size_.most_top);
  TileClass& only = attention_.classes.front();
  size_.merges = only.has_partials;
  only.tiles = size_.tiles, only.items = size_.items;
  rounded_ = true;
}

void StepBlock::place() {
  std::size_t at = 0;
  const auto next = [&](std::size_t bytes) {
    const std::size_t begin = at;
    at += rounded(bytes);
    return begin;
  };
  places_.rows = next(bytes_of<gpu::SampleRow>(size_.rows));
  places_.tiles = next(bytes_of<gpu::AttentionTile>(size_.tiles));
  places_.items = next(bytes_of<gpu::AttentionItem>(size_.items));
  places_.slots = next(bytes_of<std::int32_t>(size_.tokens));
  places_.wanted = next(bytes_of<std::int32_t>(size_.rows));
  places_.turns = next(bytes_of<float>(size_.tokens * rope_dims_));
  places_.bias_tokens = next(bytes_of<std::int32_t>(size_.biases));
  places_.bias_values = next(bytes_of<float>(size_.biases));
  places_.words = next((segments_.tables.size() + samples_.masks.size()) * sizeof(std::int32_t));
  places_.feeds = next(feeds_.size() * sizeof(gpu::Feed));
  places_.end = at;
}

std::size_t StepBlock::history_bytes() const { return rounded(samples_.history_words * sizeof(std::int32_t)); }
std::size_t StepBlock::ids_bytes() const { return rounded(bytes_of<std::int32_t>(size_.tokens)); }

void StepBlock::write(std::uint8_t* out, std::size_t before) const {
  const int first_history = static_cast<int>((before - history_bytes() - ids_bytes()) / sizeof(std::int32_t));
  const int first_mask = static_cast<int>(segments_.tables.size());
  std::vector<gpu::SampleRow> rows = samples_.rows;
  for (gpu::SampleRow& row : rows) {
    row.history += first_history;
    if (row.mask >= 0) row.mask += first_mask;
  }
  if (fed_ == 0) {
    copy(out, samples_.history.data(), samples_.history.size());
    fill(out + history_bytes(), in_.ids, in_.T, size_.tokens, 0);
  }
  out += before_bytes();
  fill(out + places_.rows, rows.data(), in_.R, size_.rows, no_row());
  fill(out + places_.tiles, attention_.tiles.data(), static_cast<int>(attention_.tiles.size()), size_.tiles, no_tile);
  fill(out + places_.items, attention_.items.data(), static_cast<int>(attention_.items.size()), size_.items, no_item);
  fill(out + places_.slots, in_.slots, in_.T, size_.tokens, -1);
  fill(out + places_.wanted, in_.wanted, in_.R, size_.rows, 0);
  fill(out + places_.turns, in_.cos_sin, in_.T * rope_dims_, size_.tokens * rope_dims_, 0.0f);
  copy(out + places_.bias_tokens, samples_.bias_tokens.data(), samples_.bias_tokens.size());
  copy(out + places_.bias_values, samples_.bias_values.data(), samples_.bias_values.size());
  copy(out + places_.words, segments_.tables.data(), segments_.tables.size());
  copy(out + places_.words + segments_.tables.size() * sizeof(std::int32_t), samples_.masks.data(),
       samples_.masks.size());
  std::vector<gpu::Feed> feeds = feeds_;
  for (gpu::Feed& feed : feeds)
    if (feed.history >= 0) feed.history += first_history;
  copy(out + places_.feeds, feeds.data(), feeds.size());
}

}  // namespace octavo::cuda

#include "model/model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "error.h"
#include "kv/kv_cache.h"
#include "model/rope.h"
#include "sampling/sampler.h"
#include "model/shared_weights.h"

namespace octavo {

namespace {

constexpr std::int64_t piece_bytes = 1 << 20;      // of a tensor, loaded by one thread: a call-off is seen between two
constexpr int max_logit_rows = 64;  // a full decode step of 64 sequences samples from one pass over the head

[[noreturn]] void invalid(const std::string& what, Error::Details details) {
  throw Error(Code::model_invalid, what, std::move(details));
}

std::string shape_text(std::int64_t rows, std::int64_t width) {
  return std::to_string(rows) + " x " + std::to_string(width);
}

// Everything the kernels take for granted about sizes. Widths are whole blocks of the weights' formats, too: find().
void check_sizes(const ModelDesc& d) {
  struct Rule {
    const char* name;
    std::int64_t value, multiple, most = 1 << 28;
  };
  const Rule rules[] = {{"layers", d.layers, 1},         {"width", d.width, 16},
                        {"heads", d.heads, 1},           {"kvHeads", d.kv_heads, 1},
                        {"headSize", d.head_size, 16, max_head_size},
                        {"feedForward", d.feed_forward, 16},
                        {"vocabulary", d.vocabulary, 1}, {"heads * headSize", std::int64_t{d.heads} * d.head_size, 16},
                        {"ropeDims", d.rope_dims, 2}};
  for (const Rule& r : rules) {
    if (r.value < 1 || r.value > r.most || r.value % r.multiple != 0)
      throw Error(Code::model_unsupported,
                  std::string("cannot run a model whose ") + r.name + " is " + std::to_string(r.value),
                  {{"expected", "1 to " + std::to_string(r.most) + ", a multiple of " + std::to_string(r.multiple)},
                   {"found", std::to_string(r.value)}});
  }
  if (static_cast<std::size_t>(d.layers) > d.tensors.size())  // before anything is allocated for them
    invalid("fewer tensors than layers",
            {{"expected", std::to_string(d.layers)}, {"found", std::to_string(d.tensors.size())}});
  if (d.heads % d.kv_heads != 0)
    throw Error(Code::model_unsupported, "heads is not a multiple of kvHeads",
                {{"heads", std::to_string(d.heads)}, {"kvHeads", std::to_string(d.kv_heads)}});
  if (d.rope_dims > d.head_size || d.rope_frequencies.size() * 2 != static_cast<std::size_t>(d.rope_dims))
    throw Error(Code::model_unsupported, "RoPE dimensions do not fit the head size",
                {{"ropeDims", std::to_string(d.rope_dims)}, {"headSize", std::to_string(d.head_size)}});
}

int qkv_width(const ModelDesc& d) { return (d.heads + 2 * d.kv_heads) * d.head_size; }

}  // namespace

// ---- scratch --------------------------------------------------------------------------------------------------------

namespace {

// Sizes of the buffers of a step in floats, in the order of arrange(); each is rounded up to whole cache lines.
std::array<std::size_t, 8> scratch_layout(const ModelDesc& d, int tokens) {
  const std::size_t T = static_cast<std::size_t>(tokens);
  const std::size_t attended = static_cast<std::size_t>(d.heads) * d.head_size;
  std::array<std::size_t, 8> sizes = {T * d.width,
                                      T * d.width,
                                      T * qkv_width(d),
                                      T * attended,
                                      T * 2 * d.feed_forward,
                                      T * d.rope_dims,
                                      T * std::max<std::size_t>(d.width, attended),
                                      static_cast<std::size_t>(std::min(tokens, max_logit_rows)) * d.vocabulary};
  for (std::size_t& s : sizes) s = (s + 15) / 16 * 16;
  return sizes;
}

}  // namespace

std::size_t Scratch::predict_bytes(const ModelDesc& desc, int max_tokens) {
  std::size_t floats = 0;
  for (std::size_t s : scratch_layout(desc, max_tokens)) floats += s;
  return floats * sizeof(float);
}

Scratch::Scratch(const ModelDesc& desc, int max_tokens)
    : max_tokens(max_tokens), memory_(predict_bytes(desc, max_tokens)) {
  room.logit_rows = std::min(max_tokens, max_logit_rows);
  arrange(desc, 1);
}

void Scratch::arrange(const ModelDesc& desc, int tokens) {
  const std::size_t needed = predict_bytes(desc, tokens);
  if (needed > touched_) {
    const std::size_t pages = (needed + os::huge_page - 1) / os::huge_page * os::huge_page;
    const std::size_t end = std::min(pages, memory_.bytes());
    memory_.touch(touched_, end - touched_);
    touched_ = end;
  }
  float* next = static_cast<float*>(memory_.data());
  float** pointers[] = {&room.x,       &room.hidden, &room.qkv,    &room.attended,
                        &room.gate_up, &cos_sin,     &room.picked, &room.logits};
  const auto sizes = scratch_layout(desc, tokens);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    *pointers[i] = next;
    next += sizes[i];
  }
}

// ---- loading --------------------------------------------------------------------------------------------------------

ModelFiles open_files(const ModelDesc& desc) {
  ModelFiles files;
  for (const std::string& path : desc.files) files.push_back(std::make_unique<os::File>(path));
  return files;
}

Model::Model(ModelDesc desc, std::unique_ptr<Backend> backend) : Model(desc, std::move(backend), open_files(desc)) {}

Model::Model(ModelDesc desc, std::unique_ptr<Backend> backend, ModelFiles files, std::shared_ptr<SharedWeights> shared)
    : desc_(std::move(desc)), backend_(std::move(backend)), files_(std::move(files)), shared_(std::move(shared)) {
  check_sizes(desc_);
  const ModelDesc& d = desc_;
  const int attended = d.heads * d.head_size, kv = d.kv_heads * d.head_size;

  const TensorSource* embed = find("embed", d.vocabulary, d.width, true);
  embed_ = backend_->weight_create(embed->format, d.vocabulary, d.width);
  add_task(embed, embed_.get(), 0, nullptr);
  layers_.resize(static_cast<std::size_t>(d.layers));
  for (int i = 0; i < d.layers; ++i) {
    Layer& layer = layers_[static_cast<std::size_t>(i)];
    const std::string prefix = "layer." + std::to_string(i) + ".";
    add_vector(layer.attn_norm, prefix + "attnNorm", d.width, true);
    add_vector(layer.attn_sinks, prefix + "attnSinks", d.heads, false);
    add_projection(layer.qkv, prefix, {{"q", attended}, {"k", kv}, {"v", kv}}, d.width);
    add_vector(layer.q_norm, prefix + "qNorm", d.head_size, false);
    add_vector(layer.k_norm, prefix + "kNorm", d.head_size, false);
    add_projection(layer.attn_out, prefix, {{"attnOut", d.width}}, attended);
    add_vector(layer.ffn_norm, prefix + "ffnNorm", d.width, true);
    add_projection(layer.gate_up, prefix, {{"gate", d.feed_forward}, {"up", d.feed_forward}}, d.width);
    if (layer.gate_up.parts.size() == 1) layer.gate_up.parts[0].weight->pair_halves();
    add_projection(layer.down, prefix, {{"down", d.width}}, d.feed_forward);
  }
  add_vector(output_norm_, "outputNorm", d.width, true);
  if (const TensorSource* output = find("output", d.vocabulary, d.width, false)) {
    output_ = backend_->weight_create(output->format, d.vocabulary, d.width);
    add_task(output, output_.get(), 0, nullptr);
  }
  // As they lie in the files, so that reading runs ahead of repacking.
  std::stable_sort(tasks_.begin(), tasks_.end(), [](const Task& a, const Task& b) {
    return std::tie(a.source->file, a.source->offset, a.first) < std::tie(b.source->file, b.source->offset, b.first);
  });
  if (shared_) adopt_or_prepare();
}

Model::~Model() { stop_helpers(); }

const TensorSource* Model::find(const std::string& role, std::int64_t rows, std::int64_t width, bool required) const {
  const auto it = desc_.tensors.find(role);
  if (it == desc_.tensors.end()) {
    if (required) invalid("tensor " + role + " is missing", {{"tensor", role}, {"expected", shape_text(rows, width)}});
    return nullptr;
  }
  const TensorSource& s = it->second;
  if (s.rows != rows || s.width != width)
    invalid("tensor " + role + " has the wrong shape",
            {{"tensor", role}, {"expected", shape_text(rows, width)}, {"found", shape_text(s.rows, s.width)}});
  if (s.width % traits(s.format).group != 0)
    invalid("tensor " + role + " is not a whole number of groups wide",
            {{"tensor", role}, {"found", shape_text(rows, width)}});
  const std::uint64_t bytes = row_bytes(s.format, static_cast<std::size_t>(width)) * static_cast<std::uint64_t>(rows);
  if (s.file >= static_cast<int>(files_.size()) || (s.file >= 0 && s.bytes != bytes))
    invalid("tensor " + role + " has the wrong size in bytes",
            {{"tensor", role}, {"expected", std::to_string(bytes)}, {"found", std::to_string(s.bytes)}});
  return &s;
}

void Model::add_task(const TensorSource* source, Weight* weight, std::int64_t row, float* vector) {
  // A synthetic source keeps its tensor number where a file keeps the offset.
  const std::uint32_t number = static_cast<std::uint32_t>(source->offset);
  const std::int64_t stride =
      static_cast<std::int64_t>(row_bytes(source->format, static_cast<std::size_t>(source->width)));
  const std::int64_t piece = std::max<std::int64_t>(1, piece_bytes / stride / repacked_rows) * repacked_rows;
  for (std::int64_t first = 0; first < source->rows; first += piece)
    tasks_.push_back({source, weight, first, std::min(piece, source->rows - first), row + first, vector, number,
                      Progress::untouched});
}

void Model::add_vector(std::vector<float>& out, const std::string& role, std::int64_t width, bool required) {
  const TensorSource* source = find(role, 1, width, required);
  if (!source) return;
  out.resize(static_cast<std::size_t>(width));
  add_task(source, nullptr, 0, out.data());
}

// Concatenates the outputs of `roles`. Neighbours of one format whose borders fall on tiles share one weight, so that a
// step quantises its input once and streams one matrix.
void Model::add_projection(Projection& out, const std::string& prefix,
                           const std::vector<std::pair<std::string, int>>& roles, int k) {
  std::vector<const TensorSource*> sources;
  bool mergeable = true, any_bias = false;
  for (const auto& [role, n] : roles) {
    sources.push_back(find(prefix + role, n, k, true));
    mergeable = mergeable && sources.back()->format == sources.front()->format && out.n % repacked_rows == 0;
    any_bias = any_bias || desc_.tensors.count(prefix + role + "Bias") != 0;
    out.n += n;
  }
  if (any_bias) out.bias.assign(static_cast<std::size_t>(out.n), 0.0f);
  int column = 0;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const auto& [role, n] = roles[i];
    if (i == 0 || !mergeable)
      out.parts.push_back({backend_->weight_create(sources[i]->format, mergeable ? out.n : n, k), column});
    add_task(sources[i], out.parts.back().weight.get(), column - out.parts.back().column, nullptr);
    if (const TensorSource* bias = find(prefix + role + "Bias", 1, n, false))
      add_task(bias, nullptr, 0, out.bias.data() + column);
    column += n;
  }
}

std::size_t Model::resident_bytes() const {
  std::size_t bytes = embed_->resident_bytes() + (output_ ? output_->resident_bytes() : 0) + output_norm_.size() * 4;
  for (const Layer& layer : layers_) {
    for (const Projection* p : {&layer.qkv, &layer.attn_out, &layer.gate_up, &layer.down}) {
      for (const Projection::Part& part : p->parts) bytes += part.weight->resident_bytes();
      bytes += p->bias.size() * 4;
    }
    bytes += (layer.attn_norm.size() + layer.ffn_norm.size() + layer.q_norm.size() + layer.k_norm.size() +
              layer.attn_sinks.size()) *
             4;
  }
  return bytes;
}

void Model::tune(int threads) const {
  std::vector<const Weight*> weights;
  for (const Layer& layer : layers_)
    for (const Projection* p : {&layer.qkv, &layer.attn_out, &layer.gate_up, &layer.down})
      for (const Projection::Part& part : p->parts) weights.push_back(part.weight.get());
  const auto turn = backend_->begin_step(threads, nullptr);
  backend_->tune(weights);
}

// ---- forward --------------------------------------------------------------------------------------------------------

// A step's operations are listed here and nowhere else; `to` is the backend itself, or what takes them down for its
// device.
void Model::project(Backend& to, float* out, const Projection& p, const LinearInput& in, int T,
                    Epilogue epilogue) const {
  const float* bias = p.bias.empty() ? nullptr : p.bias.data();
  for (const Projection::Part& part : p.parts)
    to.linear(out + part.column, p.n, in, *part.weight, bias ? bias + part.column : nullptr, T, epilogue);
}

void Model::queries_and_keys(Backend& to, const Layer& layer, const Activations& s, int T) const {
  const ModelDesc& d = desc_;
  const int ld = qkv_width(d), attended = d.heads * d.head_size;
  float *q = s.qkv, *k = s.qkv + attended;
  project(to, s.qkv, layer.qkv, LinearInput::normed(s.x, layer.attn_norm.data(), d.norm_eps), T, Epilogue::store);
  if (!layer.q_norm.empty()) to.norm(q, ld, q, ld, layer.q_norm.data(), d.norm_eps, T, d.heads, d.head_size);
  if (!layer.k_norm.empty()) to.norm(k, ld, k, ld, layer.k_norm.data(), d.norm_eps, T, d.kv_heads, d.head_size);
}

void Model::feed_forward(Backend& to, const Layer& layer, const Activations& s, int T) const {
  const LinearInput in = LinearInput::normed(s.x, layer.ffn_norm.data(), desc_.norm_eps);
  if (layer.gate_up.parts.size() == 1) {
    const auto bias = [](const Projection& p) { return p.bias.empty() ? nullptr : p.bias.data(); };
    const FeedForward w{*layer.gate_up.parts[0].weight, bias(layer.gate_up), *layer.down.parts[0].weight,
                        bias(layer.down), desc_.activation};
    return to.feed_forward(s.x, in, w, s.gate_up, T);
  }
  project(to, s.gate_up, layer.gate_up, in, T, Epilogue::store);
  project(to, s.x, layer.down, LinearInput::gated(s.gate_up, desc_.activation), T, Epilogue::add);
}

AttentionParams Model::attention_params() const {
  const ModelDesc& d = desc_;
  return {d.heads,
          1.0f / std::sqrt(static_cast<float>(d.head_size)),
          d.sliding_window,
          d.attention_sinks,
          d.attention_soft_cap,
          nullptr};
}

// False: no row has results, and the last layer was left after its keys and values.
bool Model::layers_forward(Backend& to, const StepInputs& in, Activations& s, KvStore& store) const {
  const ModelDesc& d = desc_;
  const int ld = qkv_width(d), attended = d.heads * d.head_size, T = in.T;
  AttentionParams params = attention_params();
  float* const keys = s.qkv + attended;
  const NewRows made{s.qkv, keys, keys + d.kv_heads * d.head_size, ld, in.slots, in.cos_sin, d.rope_dims, d.rope_style};
  int rows = T;
  for (int i = 0; i < d.layers; ++i) {
    const Layer& layer = layers_[static_cast<std::size_t>(i)];
    const bool last = i + 1 == d.layers;
    queries_and_keys(to, layer, s, T);
    if (last && in.R == 0) {  // a prefill chunk without results needs only its keys and values
      to.rope(made.k, ld, d.kv_heads, d.head_size, in.cos_sin, d.rope_dims, d.rope_style, T);
      if (traits(store.shape.dtype).rounds_by_queries)
        to.rope(made.q, ld, d.heads, d.head_size, in.cos_sin, d.rope_dims, d.rope_style, T);
      to.kv_write(store, i, made.q, d.heads, made.k, made.v, ld, made.slots, T);
      return false;
    }
    params.sink_logits = layer.attn_sinks.empty() ? nullptr : layer.attn_sinks.data();
    to.attend(s.attended, made, store, i, in.plan, params);
    if (last && in.R < T) {  // from here on only rows with results matter
      to.gather(s.picked, s.attended, in.wanted, in.R, attended);
      std::swap(s.picked, s.attended);
      to.gather(s.hidden, s.x, in.wanted, in.R, d.width);
      std::swap(s.hidden, s.x);
      rows = in.R;
    }
    project(to, s.x, layer.attn_out, s.attended, rows, Epilogue::add);
    feed_forward(to, layer, s, rows);
  }
  return true;
}

// Final norm, head and sampling for s.x[R], at most logit_rows at a time.
void Model::results(Backend& to, const StepInputs& in, const Activations& s) const {
  const ModelDesc& d = desc_;
  for (int from = 0; from < in.R; from += s.logit_rows) {
    const int count = std::min(s.logit_rows, in.R - from);
    const float* x = s.x + static_cast<std::size_t>(from) * d.width;
    to.linear(s.logits, d.vocabulary, LinearInput::normed(x, output_norm_.data(), d.norm_eps), head(), nullptr, count,
              Epilogue::store);
    to.sample(s.logits, d.vocabulary, in.rows + from, count);
  }
}

void Model::operations(Backend& to, const StepInputs& in, Activations room, KvStore& store) const {
  to.embed(room.x, *embed_, in.ids, in.T);
  if (layers_forward(to, in, room, store)) results(to, in, room);
}

std::span<const std::int32_t> OnTheWay::tokens(int sequence) const {
  if (other == nullptr) return {};
  const std::int32_t* at = other->tokens.data();
  for (const Segment& segment : other->segments) {
    if (segment.sequence == sequence) return {at, static_cast<std::size_t>(segment.count)};
    at += segment.count;
  }
  return {};
}

// Positions, KV slots, attention segments and the rows whose results are wanted.
void Model::place(const Step& step, const OnTheWay& way, const KvCache& kv, Scratch& s) const {
  s.positions.clear(), s.slots.clear(), s.segments.clear(), s.wanted.clear();
  int row = 0;
  for (const Segment& segment : step.segments) {
    const int start = kv.length(segment.sequence) + way.count(segment.sequence);
    const std::vector<std::int32_t>& table = kv.table(segment.sequence);
    s.segments.push_back({row, segment.count, start, table.data()});
    for (int i = 0; i < segment.count; ++i) {
      const int position = start + i;
      s.positions.push_back(position);
      s.slots.push_back(table[static_cast<std::size_t>(position / kv_block_tokens)] * kv_block_tokens +
                        position % kv_block_tokens);
    }
    // The last row of a scored text has nothing to score.
    const int unscored = segment.score && segment.next < 0 ? 1 : 0;
    for (int i = segment.count - segment.rows; i < segment.count - unscored; ++i) s.wanted.push_back(row + i);
    row += segment.count;
  }
}

// One row of results for each row that is wanted. Of steps that are fed no history is known here.
void Model::want(const Step& step, const OnTheWay& way, const std::vector<const SamplerParams*>& samplers,
                 const std::vector<RowMask>& masks, const KvCache& kv, Scratch& s, std::vector<SampleRow>& rows) const {
  rows.clear();
  rows.resize(s.wanted.size());
  // Histories first: pointers into s.history are set once it has stopped growing.
  std::vector<std::ptrdiff_t> history_at(rows.size(), -1);
  s.history.clear();
  std::size_t row = 0, token = 0;
  for (std::size_t g = 0; g < step.segments.size(); ++g) {
    const Segment& segment = step.segments[g];
    const std::span<const std::int32_t> before = way.tokens(segment.sequence);
    const int start = kv.length(segment.sequence) + way.ahead + static_cast<int>(before.size());
    const int first = segment.count - segment.rows, end = segment.count - (segment.score && segment.next < 0 ? 1 : 0);
    const std::ptrdiff_t base = static_cast<std::ptrdiff_t>(s.history.size());
    const bool history = way.fed == 0 && !segment.score && segment.rows > 0 && has_penalties(*samplers[g]);
    if (history) {
      const std::vector<std::int32_t>& computed = kv.tokens(segment.sequence);
      s.history.insert(s.history.end(), computed.begin(), computed.end());
      s.history.insert(s.history.end(), before.begin(), before.end());
      s.history.insert(s.history.end(), step.tokens.begin() + static_cast<std::ptrdiff_t>(token),
                       step.tokens.begin() + static_cast<std::ptrdiff_t>(token) + segment.count);
    }
    for (int i = first; i < end; ++i, ++row) {
      SampleRow& r = rows[row];
      r.params = segment.score ? nullptr : samplers[g];
      r.history_length = start + i + 1;
      r.mask = masks.empty() || masks[row] == nullptr ? nullptr : masks[row]->data();
      r.target = !segment.score          ? -1
                 : i + 1 < segment.count ? step.tokens[token + static_cast<std::size_t>(i) + 1]
                                         : segment.next;
      if (history) history_at[row] = base;
    }
    token += static_cast<std::size_t>(segment.count);
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i].history = history_at[i] < 0 ? nullptr : s.history.data() + history_at[i];
}

StepInputs Model::prepare(const Step& step, const OnTheWay& way, const std::vector<const SamplerParams*>& samplers,
                          const std::vector<RowMask>& masks, const KvCache& kv, Scratch& s,
                          std::vector<SampleRow>& rows) const {
  place(step, way, kv, s);
  want(step, way, samplers, masks, kv, s, rows);
  const int T = static_cast<int>(step.tokens.size());
  return {T,
          step.tokens.data(),
          way.drawn,
          s.slots.data(),
          nullptr,
          s.wanted.data(),
          static_cast<int>(s.wanted.size()),
          {s.segments.data(), static_cast<int>(s.segments.size()), T},
          rows.data()};
}

void Model::forward(const Step& step, const std::vector<const SamplerParams*>& samplers,
                    const std::vector<RowMask>& masks, KvCache& kv, KvStore& store, Scratch& s,
                    StepResult& result) const {
  StepInputs in = prepare(step, {}, samplers, masks, kv, s, result.rows);
  s.arrange(desc_, in.T);
  rope_table(desc_.rope_frequencies, desc_.rope_magnitude, s.positions.data(), in.T, s.cos_sin);
  in.cos_sin = s.cos_sin;
  operations(*backend_, in, s.room, store);
}

void Model::check_device(KvDtype dtype) const {
  auto* const device = dynamic_cast<ComputesSteps*>(backend_.get());
  if (device == nullptr) return;
  const ModelDesc& d = desc_;
  std::set<Format> formats;
  for (const auto& [role, tensor] : d.tensors)
    if (tensor.rows > 1) formats.insert(tensor.format);
  device->check_itself({formats, attention_params(), !layers_.front().attn_sinks.empty(), d.kv_heads, d.head_size,
                        d.rope_dims, d.rope_style, d.norm_eps, dtype});
}

std::unique_ptr<DeviceSteps> Model::make_steps(int max_tokens, KvStore& store) const {
  auto* const device = dynamic_cast<ComputesSteps*>(backend_.get());
  if (device == nullptr) return nullptr;
  const ModelDesc& d = desc_;
  std::size_t constants = output_norm_.size();
  for (const Layer& layer : layers_) {
    for (const Projection* p : {&layer.qkv, &layer.attn_out, &layer.gate_up, &layer.down}) constants += p->bias.size();
    for (const auto* v : {&layer.attn_norm, &layer.ffn_norm, &layer.q_norm, &layer.k_norm, &layer.attn_sinks})
      constants += v->size();
  }
  return device->make_steps(
      {d.layers, d.width, d.feed_forward, d.vocabulary, d.rope_dims, attention_params(), constants, max_tokens}, store);
}

bool Model::submit(DeviceSteps& to, const Step& step, const OnTheWay& way,
                   const std::vector<const SamplerParams*>& samplers, const std::vector<RowMask>& masks, KvCache& kv,
                   KvStore& store, Scratch& s) const {
  std::vector<SampleRow> rows;
  StepInputs in = prepare(step, way, samplers, masks, kv, s, rows);
  s.turns.resize(static_cast<std::size_t>(in.T) * static_cast<std::size_t>(desc_.rope_dims));
  s.rope_rows.table(desc_.rope_frequencies, desc_.rope_magnitude, s.positions.data(), in.T, s.turns.data());
  in.cos_sin = s.turns.data();
  return to.submit(in, way.fed, [&](Backend& recorder, const StepInputs& given, const Activations& room) {
    operations(recorder, given, room, store);
  });
}

}  // namespace octavo

#include "descriptions.h"

#include "model/rope.h"

#include <algorithm>

namespace octavo::addon {

namespace {

RopeScaling rope_scaling(const Napi::Object& o) {
  RopeScaling s;
  const std::string kind = text(o.Get("kind"), "rope.scaling.kind");
  const auto value = [&](const char* name) { return number(o.Get(name), std::string("rope.scaling.") + name); };
  if (kind == "none") return s;
  if (kind == "factors") {
    s.kind = RopeScaling::Kind::factors;
    const Napi::Object list = object(o.Get("factors"), "rope.scaling.factors");
    const std::uint32_t n = list.IsArray() ? list.As<Napi::Array>().Length() : 0;
    for (std::uint32_t i = 0; i < n; ++i) s.factors.push_back(number(list.Get(i), "rope.scaling.factors"));
    s.magnitude = value("magnitude");
    return s;
  }
  s.factor = value("factor");
  if (kind == "linear") {
    s.kind = RopeScaling::Kind::linear;
  } else if (kind == "llama3") {
    s.kind = RopeScaling::Kind::llama3;
    s.original_context = value("originalContext");
    s.low_freq_factor = value("lowFreqFactor");
    s.high_freq_factor = value("highFreqFactor");
  } else if (kind == "yarn") {
    s.kind = RopeScaling::Kind::yarn;
    s.original_context = value("originalContext");
    s.beta_fast = value("betaFast");
    s.beta_slow = value("betaSlow");
    s.extrapolation_factor = value("extrapolationFactor");
    s.attention_factor = value("attentionFactor");
  } else {
    bad_argument("rope.scaling.kind", "none, linear, llama3, yarn or factors");
  }
  return s;
}

TensorSource tensor_source(const Napi::Object& o, const std::string& name) {
  return {small(o.Get("file"), name + ".file"),
          static_cast<std::uint64_t>(integer(o.Get("offset"), name + ".offset")),
          static_cast<std::uint64_t>(integer(o.Get("bytes"), name + ".bytes")),
          format(o.Get("format"), name + ".format"),
          integer(o.Get("rows"), name + ".rows"),
          integer(o.Get("width"), name + ".width")};
}

}  // namespace

Segment segment_of(const std::int32_t* s) {
  switch (s[3]) {  // segmentMode
    case 0:
      return {s[0], s[1], s[2], false, -1};
    case 1:
      return {s[0], s[1], s[2], true, s[4]};
    case 2: {
      if (s[4] < 0 || s[4] >= 1 << 29) bad_argument("segments", "seven numbers of guesses of four bits each, and one bit");
      return {s[0], s[1], s[2], false, -1, Drafting::unpack(s[4])};
    }
    default:
      bad_argument("segments", "a mode from 0 to 2");
  }
}

KvDtype kv_dtype(const Napi::Value& value) {
  const std::string name = text(value, "kvDtype");
  for (std::size_t i = 0; i < std::size(kv_table); ++i)
    if (name == kv_table[i].name) return static_cast<KvDtype>(i);
  bad_argument("kvDtype", "f16, bf16, fp8 or int8");
}

ModelDesc model_desc(const Napi::Object& o) {
  ModelDesc d;
  d.architecture = text(o.Get("architecture"), "architecture");
  const Napi::Object files = object(o.Get("files"), "files");
  for (std::uint32_t i = 0; i < files.As<Napi::Array>().Length(); ++i) d.files.push_back(text(files.Get(i), "files"));
  d.layers = small(o.Get("layers"), "layers");
  d.width = small(o.Get("width"), "width");
  d.heads = small(o.Get("heads"), "heads");
  d.kv_heads = small(o.Get("kvHeads"), "kvHeads");
  d.head_size = small(o.Get("headSize"), "headSize");
  d.feed_forward = small(o.Get("feedForward"), "feedForward");
  d.vocabulary = small(o.Get("vocabulary"), "vocabulary");
  d.norm_eps = static_cast<float>(number(o.Get("normEps"), "normEps"));
  if (text(o.Get("activation"), "activation") != "silu") bad_argument("activation", "silu");
  d.activation = Activation::silu;
  d.sliding_window = small(o.Get("slidingWindow"), "slidingWindow");
  d.attention_sinks = o.Has("attentionSinks") ? small(o.Get("attentionSinks"), "attentionSinks") : 0;
  d.attention_soft_cap =
      o.Has("attentionSoftCap") ? static_cast<float>(number(o.Get("attentionSoftCap"), "attentionSoftCap")) : 0.0f;
  d.seed = static_cast<std::uint64_t>(integer(o.Get("seed"), "seed"));
  const Napi::Object rope = object(o.Get("rope"), "rope");
  const std::string style = text(rope.Get("style"), "rope.style");
  if (style != "interleaved" && style != "half") bad_argument("rope.style", "interleaved or half");
  d.rope_style = style == "half" ? RopeStyle::half : RopeStyle::interleaved;
  d.rope_dims = small(rope.Get("dims"), "rope.dims");
  const RopeScaling scaling = rope_scaling(object(rope.Get("scaling"), "rope.scaling"));
  d.rope_frequencies = rope_frequencies(d.rope_dims, number(rope.Get("base"), "rope.base"), scaling);
  d.rope_magnitude = rope_magnitude(scaling);
  const Napi::Object tensors = object(o.Get("tensors"), "tensors");
  const Napi::Array roles = tensors.GetPropertyNames();
  for (std::uint32_t i = 0; i < roles.Length(); ++i) {
    const std::string role = text(roles.Get(i), "tensors");
    d.tensors.emplace(role, tensor_source(object(tensors.Get(role), "tensors." + role), "tensors." + role));
  }
  return d;
}

std::shared_ptr<const grammar::TokenTrie> token_trie(const Napi::Object& o) {
  const Napi::Value all = o.Get("bytes"), starts = o.Get("offsets"), ends = o.Get("endTokens");
  const auto bytes = typed<Napi::Uint8Array>(all, napi_uint8_array, "bytes", "a Uint8Array");
  const auto offsets = typed<Napi::Uint32Array>(starts, napi_uint32_array, "offsets", "a Uint32Array");
  return grammar::TokenTrie::of({bytes.Data(), bytes.Data() + bytes.ElementLength()},
                                {offsets.Data(), offsets.Data() + offsets.ElementLength()}, copied(ends, "endTokens"));
}

std::shared_ptr<const grammar::Source> grammar_source(const Napi::Object& o) {
  auto source = std::make_shared<grammar::Source>();
  source->key = text(o.Get("key"), "grammar.key");
  source->drop_space = o.Get("dropSpace").ToBoolean();
  source->program = copied(o.Get("program"), "grammar.program");
  if (!o.Has("marks") || o.Get("marks").IsUndefined()) return source;
  source->reasoning = o.Get("reasoning").ToBoolean();
  if (!o.Get("marks").IsArray()) bad_argument("grammar.marks", "an array");
  const Napi::Array marks = o.Get("marks").As<Napi::Array>();
  for (std::uint32_t i = 0; i < marks.Length(); ++i) {
    const Napi::Object mark = object(marks.Get(i), "grammar.marks");
    const std::string kind = text(mark.Get("kind"), "grammar.marks.kind");
    const auto bytes =
        typed<Napi::Uint8Array>(mark.Get("bytes"), napi_uint8_array, "grammar.marks.bytes", "a Uint8Array");
    if (kind != "begin" && kind != "open" && kind != "close")
      bad_argument("grammar.marks.kind", "begin, open or close");
    source->marks.push_back({kind == "begin"  ? grammar::MarkKind::begin
                             : kind == "open" ? grammar::MarkKind::open
                                              : grammar::MarkKind::close,
                             {bytes.Data(), bytes.Data() + bytes.ElementLength()}});
  }
  return source;
}

SamplerParams sampler_params(const Napi::Object& o) {
  SamplerParams p;
  p.temperature = static_cast<float>(number(o.Get("temperature"), "temperature"));
  p.top_k = small(o.Get("topK"), "topK");
  p.top_p = static_cast<float>(number(o.Get("topP"), "topP"));
  p.min_p = static_cast<float>(number(o.Get("minP"), "minP"));
  p.repetition_penalty = static_cast<float>(number(o.Get("repetitionPenalty"), "repetitionPenalty"));
  p.presence_penalty = static_cast<float>(number(o.Get("presencePenalty"), "presencePenalty"));
  p.frequency_penalty = static_cast<float>(number(o.Get("frequencyPenalty"), "frequencyPenalty"));
  p.seed = static_cast<std::uint64_t>(integer(o.Get("seed"), "seed"));
  p.logprobs = small(o.Get("logprobs"), "logprobs");
  p.vocabulary = small(o.Get("vocabulary"), "vocabulary");
  p.prompt_length = small(o.Get("promptLength"), "promptLength");
  // Both properties before either array: reading one may run JavaScript, which could take the other one's memory away.
  const Napi::Value bias_tokens = o.Get("biasTokens"), bias_values = o.Get("biasValues");
  if (o.Has("grammar") && !o.Get("grammar").IsUndefined())
    p.grammar = grammar_source(object(o.Get("grammar"), "grammar"));
  const Napi::Int32Array tokens = ints(bias_tokens, "biasTokens");
  const Napi::Float32Array values = floats(bias_values, "biasValues");
  if (tokens.ElementLength() != values.ElementLength()) bad_argument("biasValues", "as many values as biasTokens");
  for (std::size_t i = 0; i < tokens.ElementLength(); ++i) p.bias.emplace_back(tokens[i], values[i]);
  return p;
}

}  // namespace octavo::addon

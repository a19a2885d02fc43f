// The native surface that lib/base/native.ts declares: unwrap arguments, call, wrap results, translate exceptions. This
// folder is the only place that knows Node. Context-aware: no state of its own.
#include <napi.h>

#include <cstdio>
#include <limits>
#include <optional>

#include "cpu/attention/kv_store.h"
#include "cpu/limits.h"
#include "cuda_functions.h"
#include "descriptions.h"
#include "draft_model.h"
#include "engine.h"
#include "gguf_functions.h"
#include "grammar_class.h"
#include "native_bench.h"
#include "model/shared_models.h"
#include "step_replay.h"
#include "values.h"
#include "vocabulary_functions.h"

namespace octavo::addon {

namespace {

// A property of wrapped objects of class T. Node checks what `this` is for methods, but not for accessors, and any
// wrapped object would be taken for a T.
template <typename T, Napi::Value (T::*get)(const Napi::CallbackInfo&)>
Napi::Value checked_get(const Napi::CallbackInfo& info) {
  T* const self = guarded(info.Env(), [&] {
    const Napi::Object object = info.This().As<Napi::Object>();
    if (!object.CheckTypeTag(&T::tag)) bad_argument("this", "an object of the accessor's class");
    return T::Unwrap(object);
  });
  return (self->*get)(info);
}
template <typename T, Napi::Value (T::*get)(const Napi::CallbackInfo&)>
Napi::ClassPropertyDescriptor<T> accessor(const char* name) {
  const napi_property_descriptor descriptor = Napi::PropertyDescriptor::Accessor<&checked_get<T, get>>(name);
  return Napi::ClassPropertyDescriptor<T>(descriptor);
}

// ---- model ----------------------------------------------------------------------------------------------------------

class JsModel : public Napi::ObjectWrap<JsModel> {
 public:
  // What an object wraps, whatever its prototype says: random numbers.
  static constexpr napi_type_tag tag{0x4d6b2a8fd09c4e17, 0xa3f15c7702be8d64};

  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Model",
        {accessor<JsModel, &JsModel::tensor_count>("tensorCount"),
         accessor<JsModel, &JsModel::resident_bytes>("residentBytes"),
         accessor<JsModel, &JsModel::device_memory_free>("deviceMemoryFree"),
         accessor<JsModel, &JsModel::shared>("shared"), accessor<JsModel, &JsModel::isa>("isa"),
         accessor<JsModel, &JsModel::content_hash>("contentHash"), accessor<JsModel, &JsModel::origin>("origin"),
         accessor<JsModel, &JsModel::sharing_failure>("sharingFailure"), InstanceMethod<&JsModel::claim>("claim"),
         InstanceMethod<&JsModel::load_tensor>("loadTensor"), InstanceMethod<&JsModel::finish_load>("finishLoad"),
         InstanceMethod<&JsModel::tune>("tune"), InstanceMethod<&JsModel::check_device>("checkDevice"),
         InstanceMethod<&JsModel::close>("close")});
  }

  explicit JsModel(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsModel>(info) {
    guarded(info.Env(), [&] {
      const std::string backend = text(info[1], "backend");
      const std::string isa = info[2].IsString() ? text(info[2], "isa") : "";
      if (backend != "cpu" && backend != "reference" && !backend.starts_with("cuda:")) bad_argument("backend", "cpu, reference or cuda:N");
      const std::string sharing_folder = info[3].IsString() ? text(info[3], "sharingFolder") : "";
      request_ = {model_desc(object(info[0], "desc")), backend, isa, sharing_folder};
      model_ = find_model(*request_);
      shared_ = model_ != nullptr;
      info.This().As<Napi::Object>().TypeTag(&tag);
    });
  }

  // Weights are allocated when they are first asked for.
  std::shared_ptr<Model> get() {
    if (!request_) throw Error(Code::invalid_argument, "the model was closed");
    if (!model_) model_ = share_model(*request_, &shared_);  // alone, when claim() gave none
    return model_;
  }

 private:
  template <typename Body>
  Napi::Value property(const Napi::CallbackInfo& info, Body body) {
    return guarded(info.Env(), [&]() -> Napi::Value { return Napi::Value::From(info.Env(), body()); });
  }
  void tune(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get()->tune(small(info[0], "threads")); });
  }
  void check_device(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get()->check_device(kv_dtype(info[0])); });
  }
  Napi::Value shared(const Napi::CallbackInfo& info) {
    return property(info, [&] { return shared_; });
  }
  Napi::Value origin(const Napi::CallbackInfo& info) {
    return property(info, [&] {
      switch (get()->origin()) {
        case Model::Origin::offered: return "offered";
        case Model::Origin::adopted: return "adopted";
        default: return "own";
      }
    });
  }
  Napi::Value sharing_failure(const Napi::CallbackInfo& info) {
    return property(info, [&] { return sharing_failure_; });
  }
  Napi::Value claim(const Napi::CallbackInfo& info) {
    return property(info, [&] {
      if (!request_) throw Error(Code::invalid_argument, "the model was closed");
      if (!model_) model_ = try_share_model(*request_, &shared_, &sharing_failure_);
      return model_ != nullptr;
    });
  }
  Napi::Value isa(const Napi::CallbackInfo& info) {
    return property(info, [&] { return get()->backend().isa(); });
  }
  Napi::Value content_hash(const Napi::CallbackInfo& info) {
    return property(info, [&] {
      char digits[17];
      std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(get()->content_hash()));
      return std::string(digits);
    });
  }
  Napi::Value tensor_count(const Napi::CallbackInfo& info) {
    return property(info, [&] { return get()->tensor_count(); });
  }
  Napi::Value resident_bytes(const Napi::CallbackInfo& info) {
    return property(info, [&] { return static_cast<double>(get()->resident_bytes()); });
  }
  // Asked of the device: -1 where weights and cache are in the host's memory.
  Napi::Value device_memory_free(const Napi::CallbackInfo& info) {
    return property(info, [&] {
      const auto bytes = get()->backend().device_memory_free();
      return bytes ? static_cast<double>(*bytes) : -1.0;
    });
  }
  Napi::Value load_tensor(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      return Napi::Number::New(info.Env(), static_cast<double>(get()->load_tensor(small(info[0], "index"))));
    });
  }
  void finish_load(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get()->finish_load(); });
  }
  void close(const Napi::CallbackInfo&) {
    model_.reset();
    request_.reset();
  }

  std::optional<ModelRequest> request_;
  bool shared_ = false;  // somebody else had made the weights
  std::string sharing_failure_;
  std::shared_ptr<Model> model_;
};

// ---- engine ---------------------------------------------------------------------------------------------------------

EngineOptions engine_options(const Napi::Object& o) {
  EngineOptions options{small(o.Get("threads"), "threads"), small(o.Get("kvBlocks"), "kvBlocks"),
                        small(o.Get("maxStepTokens"), "maxStepTokens"), o.Get("prefixCache").ToBoolean().Value()};
  options.tune = o.Has("tune") && o.Get("tune").ToBoolean();
  if (o.Has("kvDtype")) options.kv_dtype = kv_dtype(o.Get("kvDtype"));
  if (options.threads < 1 || options.threads > 1024) bad_argument("threads", "1..1024");
  // A slot of the pool (block * 16 + offset) is an int32.
  if (options.kv_blocks < 1 || options.kv_blocks >= 1 << 27) bad_argument("kvBlocks", "1..134217727");
  if (options.max_step_tokens < 1) bad_argument("maxStepTokens", ">= 1");
  return options;
}

class JsEngine : public Napi::ObjectWrap<JsEngine> {
 public:
  static constexpr napi_type_tag tag{0x91e07d35b8264fca, 0x5bc84e1f6a93d720};

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {accessor<JsEngine, &JsEngine::id>("id"),
                        accessor<JsEngine, &JsEngine::kv_bytes>("kvBytes"),
                        accessor<JsEngine, &JsEngine::kv_touched_bytes>("kvTouchedBytes"),
                        accessor<JsEngine, &JsEngine::block_bytes>("kvBlockBytes"),
                        accessor<JsEngine, &JsEngine::tuning>("tuning"),
                        accessor<JsEngine, &JsEngine::scratch_bytes>("scratchBytes"),
                        accessor<JsEngine, &JsEngine::step_seconds>("stepSeconds"),
                        accessor<JsEngine, &JsEngine::draft_bytes>("draftBytes"),
                        accessor<JsEngine, &JsEngine::steps_ahead>("stepsAhead"),
                        InstanceMethod<&JsEngine::set_draft_model>("setDraftModel"),
                        InstanceMethod<&JsEngine::plant_drafts>("plantDrafts"),
                        InstanceMethod<&JsEngine::sequence_create>("sequenceCreate"),
                        InstanceMethod<&JsEngine::sequence_match>("sequenceMatch"),
                        InstanceMethod<&JsEngine::sequence_reserve>("sequenceReserve"),
                        InstanceMethod<&JsEngine::sequence_length>("sequenceLength"),
                        InstanceMethod<&JsEngine::sequence_truncate>("sequenceTruncate"),
                        InstanceMethod<&JsEngine::sequence_fork>("sequenceFork"),
                        InstanceMethod<&JsEngine::sequence_accept>("sequenceAccept"),
                        InstanceMethod<&JsEngine::sequence_free>("sequenceFree"),
                        InstanceMethod<&JsEngine::held_blocks>("heldBlocks"),
                        InstanceMethod<&JsEngine::kv_export>("kvExport"),
                        InstanceMethod<&JsEngine::kv_import>("kvImport"),
                        InstanceMethod<&JsEngine::set_sampler>("setSampler"),
                        InstanceMethod<&JsEngine::set_end_tokens>("setEndTokens"),
                        InstanceMethod<&JsEngine::set_vocabulary>("setVocabulary"),
                        InstanceMethod<&JsEngine::submit>("submit"),
                        InstanceMethod<&JsEngine::wait>("wait"),
                        InstanceMethod<&JsEngine::top_logprobs>("topLogprobs"),
                        InstanceMethod<&JsEngine::stats>("stats"),
                        InstanceMethod<&JsEngine::check>("check"),
                        InstanceMethod<&JsEngine::clear_prefix_cache>("clearPrefixCache"),
                        InstanceMethod<&JsEngine::close>("close")});
  }

  explicit JsEngine(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsEngine>(info) {
    guarded(info.Env(), [&] {
      const Napi::Object model = object(info[0], "model");
      if (!model.CheckTypeTag(&JsModel::tag)) bad_argument("model", "a Model");
      const EngineOptions options = engine_options(object(info[1], "options"));
      engine_ = std::make_unique<Engine>(Napi::ObjectWrap<JsModel>::Unwrap(model)->get(), options);
      info.This().As<Napi::Object>().TypeTag(&tag);
    });
  }

  Engine& get() const {
    if (!engine_) throw Error(Code::invalid_argument, "the engine was closed");
    return *engine_;
  }

 private:
  template <typename Body>
  Napi::Value number_of(const Napi::CallbackInfo& info, Body body) {
    return guarded(info.Env(),
                   [&]() -> Napi::Value { return Napi::Number::New(info.Env(), static_cast<double>(body())); });
  }

  Napi::Value id(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().id(); });
  }
  Napi::Value kv_bytes(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().kv_bytes(); });
  }
  Napi::Value kv_touched_bytes(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().kv_touched_bytes(); });
  }
  Napi::Value block_bytes(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().block_bytes(); });
  }
  Napi::Value tuning(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const Tuning tuning = get().model().backend().tuning();
      const Napi::Object o = Napi::Object::New(info.Env());
      const auto from = [](int tokens) {
        return tokens == std::numeric_limits<int>::max() ? std::numeric_limits<double>::infinity() : tokens;
      };
      o.Set("prefetchFromTokens", from(tuning.prefetch_from_tokens));
      o.Set("matrixFromTokens", from(tuning.matrix_from_tokens));
      o.Set("seconds", tuning.seconds);
      return o;
    });
  }
  Napi::Value scratch_bytes(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().scratch_bytes(); });
  }
  void set_draft_model(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      const Napi::Object model = object(info[0], "model");
      if (!model.CheckTypeTag(&JsModel::tag)) bad_argument("model", "a Model");
      const EngineOptions options = engine_options(object(info[1], "options"));
      get().set_draft_model(Napi::ObjectWrap<JsModel>::Unwrap(model)->get(), options);
    });
  }
  Napi::Value steps_ahead(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().steps_ahead(); });
  }
  Napi::Value draft_bytes(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().draft_bytes(); });
  }
  void plant_drafts(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      const Napi::Int32Array draws = ints(info[1], "draws");
      if (get().draft_model() == nullptr) bad_argument("draws", "a draft model that makes them");
      get().draft_model()->plant(small(info[0], "sequence"), {draws.Data(), draws.Data() + draws.ElementLength()});
    });
  }
  Napi::Value step_seconds(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().result().seconds; });
  }
  Napi::Value sequence_create(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().create(text(info[0], "salt")); });
  }
  Napi::Value sequence_match(const Napi::CallbackInfo& info) {
    return number_of(info, [&] {
      const Napi::Int32Array tokens = ints(info[1], "tokens");
      return get().match(small(info[0], "sequence"), tokens.Data(), static_cast<int>(tokens.ElementLength()));
    });
  }
  Napi::Value sequence_reserve(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      return Napi::Boolean::New(info.Env(), get().kv().reserve(small(info[0], "sequence"), small(info[1], "count")));
    });
  }
  Napi::Value sequence_length(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().kv().length(small(info[0], "sequence")); });
  }
  void sequence_truncate(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get().truncate(small(info[0], "sequence"), small(info[1], "length")); });
  }
  void sequence_accept(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      const Napi::Int32Array tokens = ints(info[1], "tokens");
      const int from = small(info[2], "from"), count = small(info[3], "count");
      if (from < 0 || count < 0 ||
          static_cast<std::size_t>(from) + static_cast<std::size_t>(count) > tokens.ElementLength())
        bad_argument("from, count", "a part of tokens");
      get().accept(small(info[0], "sequence"), tokens.Data() + from, count);
    });
  }
  Napi::Value sequence_fork(const Napi::CallbackInfo& info) {
    return number_of(info, [&] { return get().fork(small(info[0], "sequence")); });
  }
  void sequence_free(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get().release(small(info[0], "sequence")); });
  }
  Napi::Value held_blocks(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const Napi::Int32Array sequences = ints(info[0], "sequences");
      const int count = static_cast<int>(sequences.ElementLength());
      return Napi::Number::New(info.Env(), get().kv().held(sequences.Data(), count));
    });
  }
  void set_sampler(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      SamplerParams params = sampler_params(object(info[1], "params"));  // may run JavaScript: before get()
      get().set_sampler(small(info[0], "sequence"), std::move(params));
    });
  }

  void set_vocabulary(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get().set_vocabulary(token_trie(object(info[0], "vocabulary"))); });
  }

  void set_end_tokens(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get().set_end_tokens(copied(info[0], "tokens")); });
  }

  void submit(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      const Napi::Int32Array segments = ints(info[0], "segments"), tokens = ints(info[2], "tokens");
      const int n = small(info[1], "nSegments"), n_tokens = small(info[3], "nTokens");
      constexpr int stride = 5;  // segmentStride in lib/base/native.ts
      if (n < 1 || static_cast<std::size_t>(n) * stride > segments.ElementLength())
        bad_argument("nSegments", "what the array holds");
      if (n_tokens < 1 || static_cast<std::size_t>(n_tokens) > tokens.ElementLength())
        bad_argument("nTokens", "what the array holds");
      Step step;
      step.segments.reserve(static_cast<std::size_t>(n));
      const std::int32_t* s = segments.Data();
      for (int i = 0; i < n; ++i, s += stride) step.segments.push_back(segment_of(s));
      step.tokens.assign(tokens.Data(), tokens.Data() + n_tokens);
      get().submit(std::move(step));
    });
  }

  Napi::Value wait(const Napi::CallbackInfo& info) {
    return number_of(info, [&]() -> int {
      Napi::Int32Array tokens = ints(info[0], "tokens");
      Napi::Float32Array logprobs = floats(info[1], "logprobs");
      Run run{info[2].IsUndefined() ? 1 : small(info[2], "steps"),
              info[3].IsUndefined() ? 0 : number(info[3], "seconds")};
      if (!info[5].IsUndefined()) run.draws = small(info[5], "draws");
      if (run.steps < 1) bad_argument("steps", "at least 1");
      if (run.draws < 1) bad_argument("draws", "at least 1");
      // Before the step: afterwards its tokens would be committed and its results lost.
      const std::size_t expected = get().result_rows() * static_cast<std::size_t>(run.steps);
      if (expected > tokens.ElementLength() || expected > logprobs.ElementLength())
        bad_argument("tokens, logprobs", "room for every result row");
      constexpr std::size_t fields = 8;  // draftStride in lib/base/native.ts
      Napi::Int32Array drafts = info[4].IsUndefined() ? Napi::Int32Array::New(info.Env(), 0) : ints(info[4], "drafts");
      if (get().drafting() &&
          get().segments() * static_cast<std::size_t>(run.steps) * fields > drafts.ElementLength())
        bad_argument("drafts", "room for every segment of every step");
      if (!get().wait(run)) return -1;
      std::int32_t* report = drafts.Data();
      for (const DraftReport& r : get().result().drafts)
        for (const std::int32_t value : {r.draws, r.proposed, static_cast<std::int32_t>(r.source), r.confidence,
                                         static_cast<std::int32_t>(r.foreseen), r.behind, r.nanoseconds,
                                         r.guess_nanoseconds})
          *report++ = value;
      const auto& rows = get().result().rows;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        tokens.Data()[i] = rows[i].token;
        logprobs.Data()[i] = rows[i].logprob;
      }
      return static_cast<int>(rows.size());
    });
  }

  Napi::Value top_logprobs(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const auto& rows = get().result().rows;
      const int row = small(info[0], "row");
      if (row < 0 || static_cast<std::size_t>(row) >= rows.size()) bad_argument("row", "a row of the last step");
      const auto& top = rows[static_cast<std::size_t>(row)].top;
      Napi::Int32Array tokens = Napi::Int32Array::New(info.Env(), top.size());
      Napi::Float32Array logprobs = Napi::Float32Array::New(info.Env(), top.size());
      for (std::size_t i = 0; i < top.size(); ++i) {
        tokens[i] = top[i].token;
        logprobs[i] = top[i].logprob;
      }
      Napi::Object out = Napi::Object::New(info.Env());
      out.Set("tokens", tokens);
      out.Set("logprobs", logprobs);
      return out;
    });
  }

  void kv_export(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      auto out = typed<Napi::Uint8Array>(info[2], napi_uint8_array, "out", "a Uint8Array");
      const std::size_t block = get().block_bytes(), count = out.ElementLength() / block;
      if (count * block != out.ElementLength() || count > 1u << 27) bad_argument("out", "room for whole blocks");
      get().kv_export(small(info[0], "sequence"), small(info[1], "first"), static_cast<int>(count), out.Data());
    });
  }
  Napi::Value kv_import(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const Napi::Int32Array tokens = ints(info[1], "tokens");
      const auto blocks = typed<Napi::Uint8Array>(info[2], napi_uint8_array, "blocks", "a Uint8Array");
      const std::size_t count = tokens.ElementLength() / kv_block_tokens;
      if (count > 1u << 27 || blocks.ElementLength() != count * get().block_bytes())
        bad_argument("blocks", "the blocks of the tokens");
      return Napi::Boolean::New(info.Env(), get().kv_import(small(info[0], "sequence"), tokens.Data(),
                                                            static_cast<int>(tokens.ElementLength()), blocks.Data()));
    });
  }
  void stats(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] {
      Napi::Int32Array out = ints(info[0], "out");
      const KvStats s = get().kv().stats();
      const int values[] = {s.total, s.free, s.cached, s.owned, get().kv().sequences()};
      for (std::size_t i = 0; i < std::size(values) && i < out.ElementLength(); ++i) out[i] = values[i];
    });
  }
  Napi::Value check(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), get().kv().check()); });
  }
  void clear_prefix_cache(const Napi::CallbackInfo& info) {
    guarded(info.Env(), [&] { get().kv().clear_index(); });
  }
  void close(const Napi::CallbackInfo&) { engine_.reset(); }

  std::unique_ptr<Engine> engine_;
};

// ---- the machine and measurements -----------------------------------------------------------------------------------

Napi::Value cpu_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Napi::Object out = Napi::Object::New(env);
    Napi::Array isas = Napi::Array::New(env);
    std::uint32_t n = 0;
    for (const char* const* isa = cpu_isas(); *isa; ++isa) isas.Set(n++, Napi::String::New(env, *isa));
    out.Set("model", os::cpu_model());
    out.Set("isa", isas.Get(0u));
    out.Set("isas", isas);
    out.Set("cpus", os::cpus_available());
    out.Set("memoryAvailable", static_cast<double>(os::memory_available()));
    return out;
  });
}

Napi::Value machine_limits(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const MachineLimits limits = measure_limits(small(info[0], "threads"));
    Napi::Object out = Napi::Object::New(env);
    out.Set("readBytesPerSecond", limits.read_bytes_per_second);
    out.Set("int8OpsPerSecond", limits.int8_ops_per_second);
    out.Set("matrixOpsPerSecond", limits.matrix_ops_per_second);
    out.Set("fmaOpsPerSecond", limits.fma_ops_per_second);
    out.Set("barrierSeconds", limits.barrier_seconds);
    return out;
  });
}

Napi::Value kv_bytes_at_load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object o = object(info[0], "shape");
    const auto at_least_one = [&](const char* name) {
      const int number = small(o.Get(name), name);
      if (number < 1) bad_argument(name, "1 or more");
      return number;
    };
    const KvShape shape{at_least_one("layers"), at_least_one("blocks"), at_least_one("kvHeads"),
                        at_least_one("headSize"), kv_dtype(o.Get("kvDtype"))};
    return Napi::Number::New(env, static_cast<double>(cpu::kv_bytes_at_load(shape)));
  });
}

Napi::Value bench_decode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object engine = object(info[0], "engine");
    if (!engine.CheckTypeTag(&JsEngine::tag)) bad_argument("engine", "an Engine");
    // May run JavaScript: before all that it could change.
    SamplerParams params = sampler_params(object(info[3], "params"));
    const BenchTimes times = bench_decode(Napi::ObjectWrap<JsEngine>::Unwrap(engine)->get(), copied(info[1], "prompt"),
                                          small(info[2], "tokens"), std::move(params));
    Napi::Object out = Napi::Object::New(env);
    out.Set("prefillSeconds", times.prefill_seconds);
    out.Set("decodeSeconds", times.decode_seconds);
    return out;
  });
}

Napi::Value replay(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object engine = object(info[0], "engine");
    if (!engine.CheckTypeTag(&JsEngine::tag)) bad_argument("engine", "an Engine");
    if (!info[2].IsArray()) bad_argument("samplers", "an array");
    const Napi::Array list = info[2].As<Napi::Array>();
    std::vector<SamplerParams> samplers;
    for (std::uint32_t i = 0; i < list.Length(); ++i)
      samplers.push_back(sampler_params(object(list.Get(i), "samplers")));
    const ReplayTimes times =
        replay_steps(Napi::ObjectWrap<JsEngine>::Unwrap(engine)->get(), copied(info[1], "record"), samplers);
    Napi::Object out = Napi::Object::New(env);
    out.Set("seconds", times.seconds);
    out.Set("stepSeconds", times.step_seconds);
    out.Set("steps", static_cast<double>(times.steps));
    out.Set("tokens", static_cast<double>(times.tokens));
    return out;
  });
}

Napi::Value dequantise(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Format f = format(info[0], "format");
    const auto bytes = typed<Napi::Uint8Array>(info[1], napi_uint8_array, "bytes", "a Uint8Array");
    const std::int64_t width = integer(info[2], "width");
    if (width < 1 || width % traits(f).group != 0) bad_argument("width", "a positive multiple of the format's group");
    const std::size_t stride = row_bytes(f, static_cast<std::size_t>(width)), rows = bytes.ElementLength() / stride;
    if (rows * stride != bytes.ElementLength()) bad_argument("bytes", "whole rows");
    Napi::Float32Array out = Napi::Float32Array::New(env, rows * static_cast<std::size_t>(width));
    for (std::size_t r = 0; r < rows; ++r)
      dequantise_row(f, bytes.Data() + r * stride, static_cast<std::size_t>(width),
                     out.Data() + r * static_cast<std::size_t>(width));
    return out;
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Model", JsModel::define(env));
  exports.Set("Engine", JsEngine::define(env));
  exports.Set("Grammar", define_grammar(env));
  exports.Set("BytePairs", define_byte_pairs(env));
  exports.Set("cpu", Napi::Function::New<cpu_info>(env));
  exports.Set("cudaPlugin", Napi::Function::New<cuda_plugin>(env));
  exports.Set("cuda", Napi::Function::New<cuda_info>(env));
  exports.Set("cudaNeeds", Napi::Function::New<cuda_needs>(env));
  exports.Set("hugePageBytes", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return guarded(info.Env(), [&]() -> Napi::Value {
                  return Napi::Number::New(info.Env(), static_cast<double>(os::huge_page_bytes()));
                });
              }));
  exports.Set("limits", Napi::Function::New<machine_limits>(env));
  exports.Set("kvBytesAtLoad", Napi::Function::New<kv_bytes_at_load>(env));
  exports.Set("ggufRead", Napi::Function::New<gguf_read>(env));
  exports.Set("ggufSynthesize", Napi::Function::New<gguf_synthesize>(env));
  exports.Set("benchDecode", Napi::Function::New<bench_decode>(env));
  exports.Set("replaySteps", Napi::Function::New<replay>(env));
  exports.Set("spellTokens", Napi::Function::New<spell_tokens>(env));
  exports.Set("tokenTypes", Napi::Function::New<token_types>(env));
  exports.Set("usableTokens", Napi::Function::New<usable_tokens>(env));
  exports.Set("textsAmong", Napi::Function::New<texts_among>(env));
  exports.Set("dequantise", Napi::Function::New<dequantise>(env));
  exports.Set("interrupt", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                guarded(info.Env(), [&] { interrupt_engine(static_cast<std::uint32_t>(small(info[0], "id"))); });
              }));
  exports.Set("nudge", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                guarded(info.Env(), [&] { nudge_engine(static_cast<std::uint32_t>(small(info[0], "id"))); });
              }));
  return exports;
}

}  // namespace

NODE_API_MODULE(octavo, init)

}  // namespace octavo::addon

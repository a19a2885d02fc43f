#include "vocabulary_functions.h"

#include <optional>

#include "text/byte_pairs.h"
#include "text/spelling.h"
#include "text/tokens.h"
#include "values.h"

namespace octavo::addon {

namespace {

text::Texts texts(const Napi::Value& value, const std::string& name) {
  const Napi::Object packed = object(value, name);
  const auto bytes = typed<Napi::Uint8Array>(packed.Get("bytes"), napi_uint8_array, name + ".bytes", "a Uint8Array");
  const auto offsets =
      typed<Napi::Uint32Array>(packed.Get("offsets"), napi_uint32_array, name + ".offsets", "a Uint32Array");
  return {{reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()},
          {offsets.Data(), offsets.ElementLength()}};
}

class JsBytePairs : public Napi::ObjectWrap<JsBytePairs> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "BytePairs",
                       {InstanceMethod<&JsBytePairs::find>("find"), InstanceMethod<&JsBytePairs::encode>("encode")});
  }

  // (tokens, usable, merges); fault, strange and firstStrange are plain properties.
  explicit JsBytePairs(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsBytePairs>(info) {
    guarded(info.Env(), [&] {
      const auto usable = typed<Napi::Uint8Array>(info[1], napi_uint8_array, "usable", "a Uint8Array");
      pairs_.emplace(texts(info[0], "tokens"), std::span<const std::uint8_t>{usable.Data(), usable.ElementLength()},
                     texts(info[2], "merges"));
      Napi::Object self = info.This().As<Napi::Object>();
      self.Set("fault", static_cast<double>(pairs_->fault()));
      self.Set("strange", static_cast<double>(pairs_->strange()));
      self.Set("firstStrange", static_cast<double>(pairs_->first_strange()));
    });
  }

 private:
  Napi::Value find(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      return Napi::Number::New(info.Env(), pairs_->find(addon::text(info[0], "text")));
    });
  }

  // (words with a space between them, whole) -> ids
  Napi::Value encode(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const std::string words = addon::text(info[0], "words");
      const bool whole = info[1].ToBoolean();
      std::vector<std::int32_t> ids;
      for (std::size_t at = 0; at < words.size();) {
        const std::size_t end = std::min(words.find(' ', at), words.size());
        pairs_->encode(std::string_view(words).substr(at, end - at), whole, ids);
        at = end + 1;
      }
      Napi::Int32Array out = Napi::Int32Array::New(info.Env(), ids.size());
      std::copy(ids.begin(), ids.end(), out.Data());
      return out;
    });
  }

  std::optional<text::BytePairs> pairs_;
};

}  // namespace

Napi::Function define_byte_pairs(Napi::Env env) { return JsBytePairs::define(env); }

Napi::Value spell_tokens(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const text::Texts tokens = texts(info[0], "tokens");
    const auto types = typed<Napi::Uint8Array>(info[1], napi_uint8_array, "types", "a Uint8Array");
    const auto spelling = text(info[2], "spelling") == "bytes" ? text::Spelling::bytes : text::Spelling::spaces;
    tokens.check("tokens");
    std::vector<std::uint8_t> bytes(tokens.bytes.size());
    Napi::Uint32Array offsets = Napi::Uint32Array::New(env, tokens.offsets.size());
    text::spell(tokens, {types.Data(), types.ElementLength()}, spelling, bytes.data(), offsets.Data());
    Napi::Uint8Array all = Napi::Uint8Array::New(env, offsets[tokens.size()]);
    std::copy_n(bytes.data(), all.ElementLength(), all.Data());
    Napi::Object out = Napi::Object::New(env);
    out.Set("bytes", all);
    out.Set("offsets", offsets);
    out.Set("longest", text::longest({offsets.Data(), offsets.ElementLength()}));
    return out;
  });
}

Napi::Value token_types(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto given = typed<Napi::Float64Array>(info[0], napi_float64_array, "given", "a Float64Array");
    auto types = typed<Napi::Uint8Array>(info[1], napi_uint8_array, "types", "a Uint8Array");
    if (types.ElementLength() != given.ElementLength()) bad_argument("types", "room for each number");
    return Napi::Number::New(
        env, static_cast<double>(text::read_types({given.Data(), given.ElementLength()}, types.Data())));
  });
}

Napi::Value usable_tokens(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto types = typed<Napi::Uint8Array>(info[1], napi_uint8_array, "types", "a Uint8Array");
    Napi::Uint8Array usable = Napi::Uint8Array::New(env, types.ElementLength());
    text::usable_tokens(texts(info[0], "tokens"), {types.Data(), types.ElementLength()}, usable.Data());
    return usable;
  });
}

Napi::Value texts_among(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object list = object(info[1], "names");
    std::vector<std::string> names;
    for (std::uint32_t i = 0; i < list.As<Napi::Array>().Length(); ++i) names.push_back(text(list.Get(i), "names"));
    const std::vector<std::int32_t> found = text::among(texts(info[0], "texts"), names);
    Napi::Int32Array out = Napi::Int32Array::New(env, found.size());
    std::copy(found.begin(), found.end(), out.Data());
    return out;
  });
}

}  // namespace octavo::addon

#include "gguf_functions.h"

#include <algorithm>

#include "files/gguf.h"
#include "files/synthetic.h"
#include "text/tokens.h"
#include "values.h"

namespace octavo::addon {

namespace {

// ---- GGUF values ----------------------------------------------------------------------------------------------------

constexpr std::int64_t largest_exact_integer = 9007199254740992;  // 2^53: beyond it a JavaScript number loses digits

Napi::Value integer_value(Napi::Env env, std::int64_t v) {
  if (v > largest_exact_integer || v < -largest_exact_integer) return Napi::BigInt::New(env, v);
  return Napi::Number::New(env, static_cast<double>(v));
}

// Arrays that are longer have something for each token, not for each layer.
constexpr std::size_t most_layers = 4096;

// How arrays that belong to a vocabulary arrive.
enum class Long : std::uint8_t { plain, packed, empty };

// {bytes, offsets, beginCharacters}: text i is bytes[offsets[i] .. offsets[i + 1]].
Napi::Value packed_texts(Napi::Env env, const GgufTexts& texts) {
  Napi::Uint32Array offsets = Napi::Uint32Array::New(env, texts.size() + 1);
  offsets[0] = 0;
  std::copy(texts.ends().begin(), texts.ends().end(), offsets.Data() + 1);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, texts.bytes().size());
  std::copy(texts.bytes().begin(), texts.bytes().end(), bytes.Data());
  Napi::Object out = Napi::Object::New(env);
  out.Set("bytes", bytes);
  out.Set("offsets", offsets);
  out.Set("beginCharacters", text::begin_characters({texts.bytes(), {offsets.Data(), offsets.ElementLength()}}));
  return out;
}

template <typename Numbers>
Napi::Value packed_numbers(Napi::Env env, const Numbers& numbers) {
  Napi::Float64Array out = Napi::Float64Array::New(env, numbers.size());
  std::transform(numbers.begin(), numbers.end(), out.Data(), [](auto v) { return static_cast<double>(v); });
  return out;
}

Napi::Value gguf_array(Napi::Env env, const GgufArray& a, Long mode) {
  using Kind = GgufArray::Kind;
  const std::size_t n = a.kind == Kind::strings   ? a.strings.size()
                        : a.kind == Kind::numbers ? a.numbers.size()
                                                  : a.integers.size();
  if (mode == Long::packed && a.kind == Kind::strings) return packed_texts(env, a.strings);
  if (mode == Long::packed && n > most_layers && a.kind == Kind::numbers) return packed_numbers(env, a.numbers);
  if (mode == Long::packed && n > most_layers && a.kind == Kind::integers) return packed_numbers(env, a.integers);
  Napi::Array out = Napi::Array::New(env, n);
  if (mode == Long::empty && (a.kind == Kind::strings || n > most_layers)) return out;
  for (std::size_t i = 0; i < n; ++i) {
    const Napi::HandleScope scope(env);  // a vocabulary has 150,000 strings
    Napi::Value value;
    switch (a.kind) {
      case Kind::strings: {
        const std::string_view text = a.strings[i];
        value = Napi::String::New(env, text.data(), text.size());
        break;
      }
      case Kind::numbers: value = Napi::Number::New(env, a.numbers[i]); break;
      case Kind::integers: value = integer_value(env, a.integers[i]); break;
      case Kind::bools: value = Napi::Boolean::New(env, a.integers[i] != 0); break;
    }
    out.Set(static_cast<std::uint32_t>(i), value);
  }
  return out;
}

struct GgufValueToJs {
  Napi::Env env;
  Long mode;
  Napi::Value operator()(bool v) const { return Napi::Boolean::New(env, v); }
  Napi::Value operator()(std::uint64_t v) const {
    if (v > static_cast<std::uint64_t>(largest_exact_integer)) return Napi::BigInt::New(env, v);
    return Napi::Number::New(env, static_cast<double>(v));
  }
  Napi::Value operator()(std::int64_t v) const { return integer_value(env, v); }
  Napi::Value operator()(double v) const { return Napi::Number::New(env, v); }
  Napi::Value operator()(const std::string& v) const { return Napi::String::New(env, v); }
  Napi::Value operator()(const GgufArray& v) const { return gguf_array(env, v, mode); }
};

}  // namespace

Napi::Value gguf_read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const os::File file(text(info[0], "path"));
    const bool texts = !info[1].IsBoolean() || info[1].ToBoolean();
    const Long mode = info[1].IsString() ? Long::packed : texts ? Long::plain : Long::empty;
    const GgufFile gguf = octavo::gguf_read(file, mode != Long::empty);
    Napi::Object out = Napi::Object::New(env);
    out.Set("version", Napi::Number::New(env, gguf.version));
    out.Set("alignment", Napi::Number::New(env, static_cast<double>(gguf.alignment)));
    out.Set("fileBytes", Napi::Number::New(env, static_cast<double>(gguf.file_bytes)));
    Napi::Object metadata = Napi::Object::New(env);
    // Defined, not set: a key called __proto__ is data like any other.
    constexpr auto plain = static_cast<napi_property_attributes>(napi_writable | napi_enumerable | napi_configurable);
    for (const auto& [key, value] : gguf.metadata)
      metadata.DefineProperty(Napi::PropertyDescriptor::Value(Napi::String::New(env, key),
                                                              std::visit(GgufValueToJs{env, mode}, value), plain));
    out.Set("metadata", metadata);
    Napi::Array tensors = Napi::Array::New(env, gguf.tensors.size());
    for (std::size_t i = 0; i < gguf.tensors.size(); ++i) {
      const GgufTensor& t = gguf.tensors[i];
      Napi::Object row = Napi::Object::New(env);
      row.Set("name", t.name);
      row.Set("type", Napi::Number::New(env, t.type));
      const char* name = ggml_type_name(t.type);
      row.Set("typeName", name ? Napi::Value(Napi::String::New(env, name)) : env.Null());
      Napi::Array shape = Napi::Array::New(env, t.shape.size());
      for (std::size_t d = 0; d < t.shape.size(); ++d)
        shape.Set(static_cast<std::uint32_t>(d), Napi::Number::New(env, static_cast<double>(t.shape[d])));
      row.Set("shape", shape);
      row.Set("offset", Napi::Number::New(env, static_cast<double>(t.offset)));
      row.Set("bytes", Napi::Number::New(env, static_cast<double>(t.bytes)));
      tensors.Set(static_cast<std::uint32_t>(i), row);
    }
    out.Set("tensors", tensors);
    return out;
  });
}

namespace {

bool is_integer(double d) { return d == std::floor(d) && std::fabs(d) <= static_cast<double>(largest_exact_integer); }

GgufArray gguf_array_from(const Napi::Array& array, const std::string& key) {
  GgufArray out;
  using Kind = GgufArray::Kind;
  const std::uint32_t n = array.Length();
  bool integral = true;
  for (std::uint32_t i = 0; i < n; ++i) {
    const Napi::HandleScope scope(array.Env());
    const Napi::Value v = array.Get(i);
    if (i == 0) out.kind = v.IsString() ? Kind::strings : v.IsBoolean() ? Kind::bools : Kind::numbers;
    if (out.kind == Kind::strings) {
      out.strings.push(text(v, key));
    } else if (out.kind == Kind::bools) {
      if (!v.IsBoolean()) bad_argument(key, "an array of one kind");
      out.integers.push_back(v.As<Napi::Boolean>().Value() ? 1 : 0);
    } else {
      out.numbers.push_back(number(v, key));
      integral = integral && is_integer(out.numbers.back());
    }
  }
  if (out.kind == Kind::numbers && integral &&
      key.find("scores") == std::string::npos) {  // scores are f32 even when whole
    out.kind = Kind::integers;
    out.integers.assign(out.numbers.begin(), out.numbers.end());
    out.numbers.clear();
  }
  return out;
}

// JavaScript has one kind of number: keys whose values the format wants as f32 are told by name.
bool is_float_key(const std::string& key) {
  for (const char* part : {"epsilon", "rope.freq_base", "scaling.factor", "attn_factor", "scale"})
    if (key.find(part) != std::string::npos) return true;
  return false;
}

GgufValue gguf_value_from(const Napi::Value& v, const std::string& key) {
  if (v.IsString()) return text(v, key);
  if (v.IsBoolean()) return v.As<Napi::Boolean>().Value();
  if (v.IsArray()) return gguf_array_from(v.As<Napi::Array>(), key);
  if (v.IsBigInt()) {
    bool lossless = false;
    const std::uint64_t natural = v.As<Napi::BigInt>().Uint64Value(&lossless);
    if (lossless) return natural;
    const std::int64_t integer = v.As<Napi::BigInt>().Int64Value(&lossless);
    if (!lossless) bad_argument(key, "an integer of 64 bits");
    return integer;
  }
  const double d = number(v, key);
  if (!is_integer(d) || is_float_key(key)) return d;
  if (d < 0) return static_cast<std::int64_t>(d);
  return static_cast<std::uint64_t>(d);
}

}  // namespace

Napi::Value gguf_synthesize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object metadata_object = object(info[1], "metadata");
    std::vector<std::pair<std::string, GgufValue>> metadata;
    const Napi::Array keys = metadata_object.GetPropertyNames();
    for (std::uint32_t i = 0; i < keys.Length(); ++i) {
      const std::string key = text(keys.Get(i), "metadata");
      metadata.emplace_back(key, gguf_value_from(metadata_object.Get(key), key));
    }
    std::vector<GgufTensorSpec> specs;
    std::vector<Format> formats;
    const Napi::Object list = object(info[2], "tensors");
    for (std::uint32_t i = 0; i < list.As<Napi::Array>().Length(); ++i) {
      const Napi::Object t = object(list.Get(i), "tensors");
      formats.push_back(format(t.Get("format"), "tensors.format"));
      GgufTensorSpec spec{text(t.Get("name"), "tensors.name"), traits(formats.back()).ggml_type, {}};
      const Napi::Object shape = object(t.Get("shape"), "tensors.shape");
      for (std::uint32_t d = 0; d < shape.As<Napi::Array>().Length(); ++d)
        spec.shape.push_back(static_cast<std::uint64_t>(integer(shape.Get(d), "tensors.shape")));
      specs.push_back(std::move(spec));
    }
    const std::uint64_t seed = static_cast<std::uint64_t>(integer(info[3], "seed"));
    GgufWriter writer(text(info[0], "path"), metadata, specs);
    std::vector<std::uint8_t> buffer;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (info[4].IsFunction()) info[4].As<Napi::Function>().Call({Napi::Number::New(env, static_cast<double>(i))});
      const std::int64_t k = static_cast<std::int64_t>(specs[i].shape.at(0));
      std::int64_t rows = 1;
      for (std::size_t d = 1; d < specs[i].shape.size(); ++d) rows *= static_cast<std::int64_t>(specs[i].shape[d]);
      const std::size_t stride = row_bytes(formats[i], static_cast<std::size_t>(k));
      constexpr std::int64_t rows_at_once = 256;
      for (std::int64_t row = 0; row < rows; row += rows_at_once) {
        const std::int64_t count = std::min(rows_at_once, rows - row);
        buffer.resize(stride * static_cast<std::size_t>(count));
        synthetic_rows(formats[i], seed, static_cast<std::uint32_t>(i), row, count, k, buffer.data());
        writer.write(buffer.data(), buffer.size());
      }
    }
    writer.finish();
    return env.Undefined();
  });
}

}  // namespace octavo::addon

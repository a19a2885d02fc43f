// Between JavaScript and C++: exceptions out, checked values in. Shared by the files of the addon.
#pragma once
#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "files/quant.h"

namespace octavo::addon {

// ---- errors ---------------------------------------------------------------------------------------------------------

// Runs body; an Error (or anything else thrown) becomes a JavaScript error with `code` and `details`.
template <typename Body>
auto guarded(Napi::Env env, Body body) -> decltype(body()) {
  Error caught(Code::internal, "unknown exception");
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& e) {
    caught = e;
  } catch (const std::bad_alloc&) {
    caught = Error(Code::out_of_memory, "the system refused memory");
  } catch (const std::exception& e) {
    caught = Error(Code::internal, e.what());
  }
  Napi::Error error = Napi::Error::New(env, caught.what());
  error.Value().Set("code", code_name(caught.code()));
  Napi::Object details = Napi::Object::New(env);
  for (const auto& [name, value] : caught.details()) details.Set(name, value);
  error.Value().Set("details", details);
  throw error;
}

[[noreturn]] inline void bad_argument(const std::string& name, const char* expected) {
  throw Error(Code::invalid_argument, name + ": expected " + expected, {{"expected", expected}});
}

// ---- reading JavaScript values --------------------------------------------------------------------------------------

inline double number(const Napi::Value& v, const std::string& name) {
  if (!v.IsNumber()) bad_argument(name, "a number");
  return v.As<Napi::Number>().DoubleValue();
}

inline std::int64_t integer(const Napi::Value& v, const std::string& name) {
  const double d = number(v, name);
  if (d != std::floor(d) || std::fabs(d) > 9007199254740992.0) bad_argument(name, "an integer");
  return static_cast<std::int64_t>(d);
}

inline int small(const Napi::Value& v, const std::string& name) {
  const std::int64_t i = integer(v, name);
  if (i < -2147483647 || i > 2147483647) bad_argument(name, "a 32-bit integer");
  return static_cast<int>(i);
}

inline std::string text(const Napi::Value& v, const std::string& name) {
  if (!v.IsString()) bad_argument(name, "a string");
  return v.As<Napi::String>().Utf8Value();
}

inline Napi::Object object(const Napi::Value& v, const std::string& name) {
  if (!v.IsObject()) bad_argument(name, "an object");
  return v.As<Napi::Object>();
}

template <typename Array>
Array typed(const Napi::Value& v, napi_typedarray_type type, const std::string& name, const char* expected) {
  if (!v.IsTypedArray() || v.As<Napi::TypedArray>().TypedArrayType() != type) bad_argument(name, expected);
  return v.As<Array>();
}
inline Napi::Int32Array ints(const Napi::Value& v, const std::string& name) {
  return typed<Napi::Int32Array>(v, napi_int32_array, name, "an Int32Array");
}
inline std::vector<std::int32_t> copied(const Napi::Value& v, const std::string& name) {
  const Napi::Int32Array array = ints(v, name);
  return {array.Data(), array.Data() + array.ElementLength()};
}
inline Napi::Float32Array floats(const Napi::Value& v, const std::string& name) {
  return typed<Napi::Float32Array>(v, napi_float32_array, name, "a Float32Array");
}

inline Format format(const Napi::Value& v, const std::string& name) {
  const std::string wanted = text(v, name);
  for (std::size_t i = 0; i < format_count; ++i)
    if (wanted == format_table[i].name) return static_cast<Format>(i);
  std::string known;
  for (const FormatTraits& f : format_table) known += (known.empty() ? "" : ", ") + std::string(f.name);
  bad_argument(name, ("a weight format (" + known + ")").c_str());
}

}  // namespace octavo::addon

#include "grammar_class.h"

#include <chrono>
#include <memory>

#include "descriptions.h"
#include "grammar/matcher.h"
#include "values.h"

namespace octavo::addon {

namespace {

class JsGrammar : public Napi::ObjectWrap<JsGrammar> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Grammar",
                       {InstanceMethod<&JsGrammar::match>("match"), InstanceMethod<&JsGrammar::mask>("mask"),
                        InstanceMethod<&JsGrammar::time>("time"), InstanceMethod<&JsGrammar::size>("size")});
  }

  explicit JsGrammar(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsGrammar>(info) {
    guarded(info.Env(), [&] {
      const Napi::Object grammar = object(info[0], "grammar"), vocabulary = object(info[1], "vocabulary");
      source_ = grammar_source(grammar);
      auto program = std::make_shared<const grammar::Program>(source_->program.data(), source_->program.size());
      automaton_ = std::make_shared<grammar::Automaton>(std::move(program), token_trie(vocabulary));
    });
  }

 private:
  // 2: a text of the grammar, 1: the beginning of one, 0: neither.
  Napi::Value match(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const auto bytes = typed<Napi::Uint8Array>(info[0], napi_uint8_array, "bytes", "a Uint8Array");
      int found = 0;
      for (int tries = 0; tries < 2; ++tries) {
        try {
          int state = automaton_->start(source_->drop_space);
          for (std::size_t i = 0; i < bytes.ElementLength() && state != grammar::Automaton::dead; ++i)
            state = automaton_->next(state, bytes[i]);
          found = automaton_->accepting(state) ? 2 : state != grammar::Automaton::dead ? 1 : 0;
          break;
        } catch (const grammar::Overflow&) {
          if (tries == 1) throw Error(Code::out_of_memory, "the grammar is too large");
          automaton_->reset();
        }
      }
      return Napi::Number::New(info.Env(), found);
    });
  }

  // The mask after these tokens; null when they are no beginning of a text.
  Napi::Value mask(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      grammar::Matcher matcher(automaton_, *source_);
      for (const std::int32_t token : copied(info[0], "tokens")) matcher.push(token);
      if (!matcher.alive()) return info.Env().Null();
      const grammar::Mask mask = matcher.mask(masks_);
      const std::size_t words = static_cast<std::size_t>(automaton_->tokens().words());
      Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), words);
      if (mask)
        std::copy(mask->begin(), mask->end(), out.Data());
      else
        std::fill_n(out.Data(), words, ~0u);
      return out;
    });
  }

  // Seconds that the mask before each token took, and those that the token took: [2 * tokens].
  Napi::Value time(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      using Clock = std::chrono::steady_clock;
      const std::vector<std::int32_t> tokens = copied(info[0], "tokens");
      Napi::Float64Array out = Napi::Float64Array::New(info.Env(), 2 * tokens.size());
      grammar::Matcher matcher(automaton_, *source_);
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const auto start = Clock::now();
        const grammar::Mask mask = matcher.mask(masks_);
        const auto masked = Clock::now();
        matcher.push(tokens[i]);
        if (!matcher.alive()) bad_argument("tokens", "the beginning of a text of the grammar");
        const auto pushed = Clock::now();
        out[2 * i] = std::chrono::duration<double>(masked - start).count();
        out[2 * i + 1] = std::chrono::duration<double>(pushed - masked).count();
      }
      return out;
    });
  }

  Napi::Value size(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      Napi::Object out = Napi::Object::New(info.Env());
      out.Set("states", automaton_->states());
      out.Set("bytes", static_cast<double>(automaton_->bytes()));
      out.Set("maskBytes", static_cast<double>(masks_.bytes()));
      return out;
    });
  }

  std::shared_ptr<const grammar::Source> source_;
  std::shared_ptr<grammar::Automaton> automaton_;
  grammar::MaskCache masks_{std::size_t{32} << 20};
};

}  // namespace

Napi::Function define_grammar(Napi::Env env) { return JsGrammar::define(env); }

}  // namespace octavo::addon

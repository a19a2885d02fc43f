// What scripts/quality/float-distance.mjs needs of llama.cpp's C API: weights in other formats, and log-probabilities.
//
//   float-distance quantise IN.gguf OUT.gguf TYPE NARROWER   matrices in TYPE; NARROWER where rows are no whole blocks
//   float-distance float IN.gguf OUT.gguf                    every tensor in float32
//   float-distance score MODEL.gguf LIBRARIES THREADS CACHE  reads lines of tokens, writes log-probabilities of each but
//                                                            the first; CACHE: the type of keys and values
// Types are ggml's names. Quantisers get the same importance for all weights.
#include <ggml-backend.h>
#include <ggml.h>
#include <gguf.h>
#include <llama.h>
#include <strings.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "float-distance: %s\n", what.c_str());
  std::exit(1);
}

ggml_type type_of(const std::string& name) {
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const char* const known = ggml_type_name(static_cast<ggml_type>(i));
    if (known != nullptr && strcasecmp(name.c_str(), known) == 0) return static_cast<ggml_type>(i);
  }
  fail("no type " + name);
}

std::vector<float> floats_of(const ggml_tensor* tensor) {
  std::vector<float> out(static_cast<std::size_t>(ggml_nelements(tensor)));
  if (tensor->type == GGML_TYPE_F32)
    std::memcpy(out.data(), tensor->data, out.size() * sizeof(float));
  else
    ggml_get_type_traits(tensor->type)->to_float(tensor->data, out.data(), ggml_nelements(tensor));
  return out;
}

std::vector<std::uint8_t> stored_as(ggml_type type, const std::vector<float>& values, std::int64_t width) {
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / width;
  std::vector<std::uint8_t> out(ggml_row_size(type, width) * static_cast<std::size_t>(rows));
  if (type == GGML_TYPE_F32) {
    std::memcpy(out.data(), values.data(), out.size());
    return out;
  }
  const std::vector<float> importance(static_cast<std::size_t>(width), 1.0f);
  ggml_quantize_chunk(type, values.data(), out.data(), 0, rows, width, importance.data());
  return out;
}

// llama.cpp takes no embedding table with more rows than there are tokens.
void cut_to_vocabulary(const gguf_context* file, ggml_tensor* tensor) {
  const std::int64_t key = gguf_find_key(file, "tokenizer.ggml.tokens");
  if (key < 0 || std::strcmp(tensor->name, "token_embd.weight") != 0) return;
  tensor->ne[1] = std::min(tensor->ne[1], static_cast<std::int64_t>(gguf_get_arr_n(file, key)));
}

// The file IN again, each matrix in the type that choose(width) names.
template <class Choose>
void rewrite(const char* in, const char* out, Choose&& choose) {
  ggml_context* tensors = nullptr;
  gguf_context* const from = gguf_init_from_file(in, {.no_alloc = false, .ctx = &tensors});
  if (from == nullptr) fail(std::string("cannot read ") + in);
  gguf_context* const to = gguf_init_empty();
  gguf_set_kv(to, from);
  std::vector<std::vector<std::uint8_t>> data;
  const std::int64_t count = gguf_get_n_tensors(from);
  data.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const char* const name = gguf_get_tensor_name(from, i);
    ggml_tensor* const tensor = ggml_get_tensor(tensors, name);
    cut_to_vocabulary(from, tensor);
    const ggml_type type = ggml_n_dims(tensor) < 2 ? GGML_TYPE_F32 : choose(tensor->ne[0]);
    data.push_back(stored_as(type, floats_of(tensor), tensor->ne[0]));
    gguf_add_tensor(to, tensor);
    gguf_set_tensor_type(to, name, type);
    gguf_set_tensor_data(to, name, data.back().data());
  }
  if (!gguf_write_to_file(to, out, false)) fail(std::string("cannot write ") + out);
  gguf_free(to);
  gguf_free(from);
  ggml_free(tensors);
}

double log_probability(const float* logits, int vocabulary, llama_token token) {
  double largest = logits[0], sum = 0;
  for (int i = 1; i < vocabulary; ++i) largest = logits[i] > largest ? logits[i] : largest;
  for (int i = 0; i < vocabulary; ++i) sum += std::exp(logits[i] - largest);
  return logits[token] - largest - std::log(sum);
}

void score(const char* path, const char* libraries, int threads, ggml_type cache) {
  ggml_backend_load_all_from_path(libraries);
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  llama_model* const model = llama_model_load_from_file(path, model_params);
  if (model == nullptr) fail(std::string("cannot load ") + path);
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = 1024;
  params.n_threads = params.n_threads_batch = threads;
  params.type_k = params.type_v = cache;
  llama_context* const context = llama_init_from_model(model, params);
  if (context == nullptr) fail("no context");
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<llama_token> tokens;
    std::istringstream words(line);
    for (llama_token token; words >> token;) tokens.push_back(token);
    if (tokens.size() > params.n_ctx) fail("a text is too long");
    llama_memory_clear(llama_get_memory(context), true);
    llama_batch batch = llama_batch_init(static_cast<int>(tokens.size()), 0, 1);
    for (const llama_token token : tokens) {
      const int at = batch.n_tokens++;
      batch.token[at] = token, batch.pos[at] = at, batch.logits[at] = 1;
      batch.n_seq_id[at] = 1, batch.seq_id[at][0] = 0;
    }
    if (llama_decode(context, batch) != 0) fail("a text was not computed");
    for (int i = 0; i + 1 < batch.n_tokens; ++i) {
      const llama_token next = tokens[static_cast<std::size_t>(i) + 1];
      std::printf("%.9g ", log_probability(llama_get_logits_ith(context, i), vocabulary, next));
    }
    std::printf("\n");
    llama_batch_free(batch);
  }
  llama_free(context);
  llama_model_free(model);
}

}  // namespace

int main(int argc, char** argv) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "quantise" && argc == 6) {
    const ggml_type type = type_of(argv[4]), narrower = type_of(argv[5]);
    rewrite(argv[2], argv[3], [&](std::int64_t width) { return width % ggml_blck_size(type) == 0 ? type : narrower; });
  } else if (what == "float" && argc == 4) {
    rewrite(argv[2], argv[3], [](std::int64_t) { return GGML_TYPE_F32; });
  } else if (what == "score" && argc == 6) {
    score(argv[2], argv[3], std::atoi(argv[4]), type_of(argv[5]));
  } else {
    fail("expected quantise, float or score and what they need (see the top of the source)");
  }
  return 0;
}

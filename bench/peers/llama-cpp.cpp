// The workload of workload.mjs against llama.cpp's C API, with nothing of JavaScript in between. Sequences decode together, one
// token of each in every batch; tokens are drawn greedily. Headers and libraries are the ones that node-llama-cpp ships
// (llama-cpp.mjs); each measurement has a context that is just large enough.
//
//   llama-cpp MODEL THREADS LIBRARIES NAME:SEQUENCES:PROMPT:TOKENS:TIMES...
//
// Prints {"load", NAME..., "rss"}: the median of tokens per second (of the prompts if TOKENS is 1, else of those after the first), but load is in
// seconds and rss in MiB.
#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "llama.cpp: %s\n", what);
  std::exit(1);
}

int resident_mib() {
  long total = 0, resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%ld %ld", &total, &resident) != 2) fail("cannot read its memory");
  std::fclose(file);
  return static_cast<int>(resident / 256);  // pages of 4 KiB
}

// As promptIds of workload.mjs.
std::vector<llama_token> prompt_ids(int count, std::uint32_t state) {
  std::vector<llama_token> ids;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    ids.push_back(300 + static_cast<int>(state / 4294967296.0 * 29700));
  }
  return ids;
}

class Sequences {
 public:
  Sequences(llama_model* model, int threads, int count, int tokens)
      : n_(count), vocabulary_(llama_vocab_n_tokens(llama_model_get_vocab(model))), batch_(llama_batch_init(batch_tokens, 0, 1)) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<std::uint32_t>(count * ((tokens + 255) / 256 * 256));
    params.n_batch = params.n_ubatch = batch_tokens;
    params.n_seq_max = static_cast<std::uint32_t>(count);
    params.n_threads = params.n_threads_batch = threads;
    context_ = llama_init_from_model(model, params);
    if (context_ == nullptr) fail("no context");
  }
  ~Sequences() {
    llama_batch_free(batch_);
    llama_free(context_);
  }
  Sequences(const Sequences&) = delete;
  Sequences& operator=(const Sequences&) = delete;

  // Draws the first token of every sequence.
  void prefill(int tokens, std::uint32_t seed) {
    last_.clear();
    position_ = tokens;
    for (int s = 0; s < n_; ++s) {
      const std::vector<llama_token> ids = prompt_ids(tokens, seed + static_cast<std::uint32_t>(s));
      for (int i = 0; i < tokens; ++i) {
        add(ids[static_cast<std::size_t>(i)], i, s, i == tokens - 1);
        if (batch_.n_tokens == batch_tokens || i == tokens - 1) run();
      }
      last_.push_back(drawn_.back());
    }
  }

  void decode(int steps) {
    for (int i = 0; i < steps; ++i, ++position_) {
      for (int s = 0; s < n_; ++s) add(last_[static_cast<std::size_t>(s)], position_, s, true);
      run();
      last_ = drawn_;
    }
  }

 private:
  static constexpr int batch_tokens = 512;

  void add(llama_token token, int position, int sequence, bool output) {
    const int at = batch_.n_tokens++;
    batch_.token[at] = token, batch_.pos[at] = position, batch_.logits[at] = output;
    batch_.n_seq_id[at] = 1, batch_.seq_id[at][0] = sequence;
  }

  void run() {
    if (llama_decode(context_, batch_) != 0) fail("a batch was not computed");
    drawn_.clear();
    for (int at = 0; at < batch_.n_tokens; ++at) {
      if (!batch_.logits[at]) continue;
      const float* const logits = llama_get_logits_ith(context_, at);
      drawn_.push_back(static_cast<llama_token>(std::max_element(logits, logits + vocabulary_) - logits));
    }
    llama_synchronize(context_);
    batch_.n_tokens = 0;
  }

  int n_, vocabulary_, position_ = 0;
  llama_batch batch_;
  llama_context* context_ = nullptr;
  std::vector<llama_token> last_, drawn_;
};

double measure(llama_model* model, int threads, int sequences, int prompt, int tokens) {
  Sequences all(model, threads, sequences, prompt + tokens);
  const double started = now();
  all.prefill(prompt, 1);
  const double first = now();
  all.decode(tokens - 1);
  return tokens == 1 ? sequences * prompt / (first - started) : sequences * (tokens - 1) / (now() - first);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) fail("usage: MODEL THREADS LIBRARIES NAME:SEQUENCES:PROMPT:TOKENS:TIMES...");
  const int threads = std::atoi(argv[2]);
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  const double started = now();
  ggml_backend_load_all_from_path(argv[3]);
  llama_backend_init();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  llama_model* const model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) fail("cannot load the model");
  std::printf("{\"load\":%.4f", now() - started);
  for (int i = 4; i < argc; ++i) {
    char name[32];
    int sequences = 0, prompt = 0, tokens = 0, times = 0;
    if (std::sscanf(argv[i], "%31[^:]:%d:%d:%d:%d", name, &sequences, &prompt, &tokens, &times) != 5)
      fail("a measurement is not understood");
    measure(model, threads, sequences, 16, 8);  // warms up
    std::vector<double> speeds;
    while (static_cast<int>(speeds.size()) < times) speeds.push_back(measure(model, threads, sequences, prompt, tokens));
    std::sort(speeds.begin(), speeds.end());
    std::printf(",\"%s\":%.3f", name, speeds[speeds.size() / 2]);
  }
  std::printf(",\"rss\":%d}\n", resident_mib());
  llama_model_free(model);
  llama_backend_free();
  return 0;
}

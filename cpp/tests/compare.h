// What the equality tests share: buffers that show a write outside of their rows, a comparison of bits with a readable
// first difference, and the backends that are compared.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "files/quant.h"
#include "tests/random_data.h"

namespace octavo::testing {

inline constexpr Format all_formats[] = {Format::f32,  Format::f16,  Format::bf16,
                                         Format::q8_0, Format::q4_0, Format::q4_1, Format::q5_0, Format::q5_1,
                                         Format::q4_k, Format::q5_k, Format::q6_k, Format::iq4_nl, Format::mxfp4,
                                         Format::q2_k, Format::q3_k, Format::iq4_xs, Format::iq1_s, Format::iq1_m,
                                         Format::iq2_xxs, Format::iq2_xs, Format::iq2_s, Format::iq3_xxs,
                                         Format::iq3_s, Format::nvfp4};

inline constexpr KvDtype kv_dtypes[] = {KvDtype::f16, KvDtype::bf16, KvDtype::fp8, KvDtype::int8};

// Tokens of a step: one, primes, tails of every panel.
inline const std::vector<int> table_M = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 31, 33, 64, 130};

// k, or the next width that is whole blocks of the format.
inline int fitting(Format format, int k) {
  const int group = static_cast<int>(traits(format).group);
  return (k + group - 1) / group * group;
}

// Every case instead of a seeded sample of them.
inline bool deep() {
  const char* value = std::getenv("OCTAVO_DEEP");
  return value != nullptr && std::strcmp(value, "1") == 0;
}

inline std::unique_ptr<Weight> make_weight(Backend& backend, Format format, std::int64_t n, std::int64_t k,
                                           const std::vector<std::uint8_t>& rows) {
  std::unique_ptr<Weight> w = backend.weight_create(format, n, k);
  backend.weight_load(*w, 0, n, rows.data());
  return w;
}

// rows x ld floats, of which `width` of each row belong to the operation. The rest, and a few floats before and after,
// is a NaN with a payload of its own, so that any write there shows. Exactly sized on the heap, and not aligned to more
// than a float.
class Rows {
 public:
  // Nothing but that NaN, for whoever writes all rows.
  static Rows blank(int rows, int ld, int width, Rng& rng) {
    return Rows(rows, ld, width, static_cast<std::size_t>(rng.below(4)));
  }
  Rows(int rows, int ld, int width, Rng& rng) : Rows(blank(rows, ld, width, rng)) {
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < width; ++i) data()[static_cast<std::size_t>(r) * ld + i] = rng.normal();
  }
  float* data() { return all_.data() + lead_; }
  const float* data() const { return all_.data() + lead_; }
  int ld() const { return ld_; }

  // Empty when both hold the same bits everywhere, else where and what the first difference is.
  std::string difference(const Rows& found) const {
    if (std::memcmp(all_.data(), found.all_.data(), all_.size() * sizeof(float)) == 0) return "";
    std::size_t i = 0;
    while (std::memcmp(&all_[i], &found.all_[i], sizeof(float)) == 0) ++i;
    char text[256];
    if (i < lead_) {
      std::snprintf(text, sizeof text, "%zu floats before the first row were overwritten with %a", lead_ - i,
                    found.all_[i]);
      return text;
    }
    const int row = static_cast<int>((i - lead_) / ld_), column = static_cast<int>((i - lead_) % ld_);
    const float a = all_[i], b = found.all_[i];
    std::snprintf(text, sizeof text, "row %d of %d, column %d of %d%s: expected %.9g (0x%08x), found %.9g (0x%08x)",
                  row, rows_, column, width_, column >= width_ ? " (padding)" : "", static_cast<double>(a),
                  std::bit_cast<std::uint32_t>(a), static_cast<double>(b), std::bit_cast<std::uint32_t>(b));
    return text;
  }

 private:
  Rows(int rows, int ld, int width, std::size_t lead)
      : rows_(rows), ld_(ld), width_(width), lead_(lead), all_(lead + size(), canary()) {}
  static float canary() { return std::bit_cast<float>(0x7FC0BEEFu); }
  std::size_t size() const { return static_cast<std::size_t>(rows_ - 1) * ld_ + width_; }
  int rows_, ld_, width_;
  std::size_t lead_;
  std::vector<float> all_;
};

// Values at a pointer that is aligned to a float and no more, with nothing readable after them under a sanitizer.
class Input {
 public:
  Input(const std::vector<float>& values, Rng& rng) : lead_(static_cast<std::size_t>(rng.below(4))), all_(lead_) {
    all_.insert(all_.end(), values.begin(), values.end());
    all_.shrink_to_fit();
  }
  operator const float*() const { return all_.data() + lead_; }

 private:
  std::size_t lead_;
  std::vector<float> all_;
};

inline Backend& reference() {
  static const std::unique_ptr<Backend> backend = make_reference_backend();
  return *backend;
}

// The instruction sets of this machine; without the plain matrix registers, which are slow, where there are real ones.
inline std::vector<const char*> tested_isas() {
  std::vector<const char*> isas;
  const bool has_matrix = std::string(cpu_isas()[0]) == "avx512amx";
  for (const char* const* isa = cpu_isas(); *isa != nullptr; ++isa)
    if (deep() || !has_matrix || std::string(*isa) != "plain_tiles") isas.push_back(*isa);
  return isas;
}

using Backends = std::vector<std::unique_ptr<Backend>>;

inline const Backends& cpus() {
  static const Backends all = [] {
    Backends list;
    for (const char* const isa : tested_isas()) list.push_back(make_cpu_backend(isa));
    return list;
  }();
  return all;
}

// Those that differ in more than linear: matrix registers are used for nothing else.
inline const Backends& vector_cpus() {
  static const Backends all = [] {
    Backends list;
    for (const char* const isa : tested_isas())
      if (const std::string name = isa; name != "avx512amx" && name != "plain_tiles")
        list.push_back(make_cpu_backend(isa));
    return list;
  }();
  return all;
}

// 1 to 3 threads, or a seeded one of these where a case is one of many.
inline std::vector<int> thread_counts(Rng& rng) {
  return deep() ? std::vector<int>{1, 2, 3} : std::vector<int>{rng.between(1, 3)};
}

// Calls check(backend, "avx2, 3 threads") for every instruction set and 1 to 3 threads; with `sample` see above.
template <typename Check>
void on_every_cpu(Check check, Rng* sample = nullptr, const Backends& backends = cpus()) {
  for (const std::unique_ptr<Backend>& backend : backends) {
    for (const int threads : sample == nullptr ? std::vector<int>{1, 2, 3} : thread_counts(*sample)) {
      backend->set_threads(threads);
      check(*backend,
            std::string(backend->isa()) + ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"));
    }
  }
}

}  // namespace octavo::testing

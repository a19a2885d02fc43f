// What a guess costs that needs no computation: nanoseconds a proposal, allocations and bytes of the index a token, while
// a text of so many tokens is written, a part of it copied, beside a tenant's full store of texts. Prints one JSON line.
//
//   octavo_drafts [--tokens N] [--vocabulary V]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "drafts/drafters.h"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

using namespace octavo;

std::uint64_t state = 1;
int below(int n) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<int>((state >> 33) % static_cast<std::uint64_t>(n));
}

// Small numbers are frequent, as words are; a third of it was said before.
std::vector<std::int32_t> text_of(int count, int vocabulary) {
  std::vector<std::int32_t> text;
  while (static_cast<int>(text.size()) < count) {
    const int size = static_cast<int>(text.size());
    if (size > 100 && below(40) == 0) {
      const int from = below(size - 50);
      for (int i = 0; i < 20; ++i) text.push_back(text[static_cast<std::size_t>(from + i)]);
    } else {
      text.push_back(below(1 + below(1 + below(vocabulary))));
    }
  }
  text.resize(static_cast<std::size_t>(count));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 8192, vocabulary = 49152;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--tokens") == 0) count = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--vocabulary") == 0) vocabulary = std::atoi(argv[i + 1]);
  }
  const std::vector<std::int32_t> text = text_of(count, vocabulary);
  Drafters drafters;
  Drafting drafting{true, {15, 15, 15, 15}, {15, 15}, 0};
  std::int32_t out[max_drafts];
  for (int i = 0; i < 20; ++i) {
    const std::vector<std::int32_t> said = text_of(3200, vocabulary);
    DraftReport report;
    drafters.open(i, "tenant");
    drafters.propose(i, said, 1, drafting, max_drafts, out, report);
    drafters.close(i, said);
  }
  drafters.open(100, "tenant");
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  std::vector<double> took;
  took.reserve(text.size());
  std::size_t found = 0;
  const std::size_t before = allocations;
  for (const std::int32_t token : text) {
    DraftReport report;
    const auto began = std::chrono::steady_clock::now();
    drafters.propose(100, tokens, token, drafting, max_drafts, out, report);
    took.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count());
    tokens.push_back(token);
    found += report.proposed > 0;
  }
  const std::size_t made = allocations - before;
  NgramIndex index;
  index.follow(text.data(), count);
  double sum = 0;
  for (const double ns : took) sum += ns;
  std::sort(took.begin(), took.end());
  const auto at = [&](double share) { return took[static_cast<std::size_t>(share * (static_cast<double>(took.size()) - 1))]; };
  std::printf(
      "{\"tokens\":%d,\"found\":%.3f,\"meanNs\":%.0f,\"p50Ns\":%.0f,\"p99Ns\":%.0f,\"maxNs\":%.0f,\"allocations\":%zu,"
      "\"allocationsPerToken\":%.5f,\"bytesPerToken\":%.2f}\n",
      count, static_cast<double>(found) / count, sum / count, at(0.5), at(0.99), at(1), made,
      static_cast<double>(made) / count, static_cast<double>(index.bytes()) / count);
}

// Whether this GPU does what its manual says, in the forms that octavo uses: kernels of probe.cu here and on the emulator must
// write the same words, the products of matrices must be those of plain loops, and 10^8 random dots must be the same whole
// numbers as products of bytes and as products of halves.
#include <cstring>
#include <map>

#include "emulator/device_array.h"
#include "card.h"
#include "commands.h"
#include "kernels/linear/fragments.h"
#include "params_probe.h"
#include "report.h"
#include "splitmix.h"

namespace octavo::bench {

namespace {

using Words = std::vector<unsigned>;

struct Shape {
  const char* kernel;
  unsigned grid, block;
  long long count;
  std::size_t out_words;
};

cuda::Launch launch(const Shape& shape, unsigned* out, const unsigned* in, unsigned seed) {
  return cuda::make_launch(shape.kernel, {shape.grid}, {shape.block}, 0, ProbeParams{out, in, shape.count, seed});
}

Words on_device(Card& card, const Shape& shape, const Words& in, unsigned seed) {
  const CUdeviceptr out = card.allocate(4 * shape.out_words),
                    given = card.allocate(4 * std::max<std::size_t>(in.size(), 1));
  card.upload(given, in.data(), 4 * in.size());
  card.run(launch(shape, reinterpret_cast<unsigned*>(out), reinterpret_cast<const unsigned*>(given), seed));
  Words words(shape.out_words);
  card.download(words.data(), out, 4 * words.size());
  return words;
}
Words on_emulator(const Shape& shape, const Words& in, unsigned seed) {
  const shim::DeviceArray<unsigned> out(shape.out_words, "out"), given(in.empty() ? Words{0} : in, "in");
  shim::run(launch(shape, out.get(), given.get(), seed));
  if (!shim::findings().empty()) fail(std::string(shape.kernel) + " on the emulator: " + shim::findings()[0].text);
  return out.download();
}

void same(Card& card, const Shape& shape, const Words& in, unsigned seed) {
  const Words expected = on_emulator(shape, in, seed), found = on_device(card, shape, in, seed);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == found[i]) continue;
    char text[160];
    std::snprintf(text, sizeof text, "%s differs: word %zu of %zu is 0x%08x, expected 0x%08x", shape.kernel, i,
                  expected.size(), found[i], expected[i]);
    fail(text);
  }
  say("equal: " + std::string(shape.kernel) + ", " + std::to_string(expected.size()) + " words");
}

// Random words, and among them zeros, ones, subnormals, infinities, NaN and the ends of ranges.
Words some_words(std::size_t count, unsigned seed) {
  static constexpr unsigned special[] = {0,           0x80000000u, 1,           0x7F800000u, 0xFF800000u,
                                         0x7FC00000u, 0x00800000u, 0x007FFFFFu, 0x3F800000u, 0x7F7FFFFFu,
                                         0xFFFFFFFFu, 0x7FFFFFFFu, 0x38800000u, 0x477FF000u};
  Words words(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = splitmix_finalise((std::uint64_t{seed} << 40) + (i + 1) * splitmix_step);
    words[i] = bits % 16 == 0 ? special[(bits >> 8) % std::size(special)] : static_cast<unsigned>(bits >> 32);
  }
  return words;
}

// Operands as fragments.h says lanes hold them, multiplied by loops.
void check_layout(Card& card) {
  const Shape shape{"octavo_probe_tile", options.tiny ? 4u : 64u, 32, 1, (options.tiny ? 4u : 64u) * 320};
  const Words words = on_device(card, shape, {}, 5);
  for (unsigned tile = 0; tile < shape.grid; ++tile) {
    const auto word = [&](int reg, int lane) {
      return words[tile * 320 + 32u * static_cast<unsigned>(reg) + static_cast<unsigned>(lane)];
    };
    const auto byte = [&](gpu::FragmentPlace place, int first) {
      return static_cast<int>(static_cast<signed char>(word(first + place.reg, place.lane) >> (8 * place.byte) & 0xFF));
    };
    for (int row = 0; row < 16; ++row) {
      for (int token = 0; token < 8; ++token) {
        int dot = 0;
        for (int k = 0; k < 32; ++k) dot += byte(gpu::weight_place(row, k), 0) * byte(gpu::token_place(token, k), 4);
        const int lane = row % 8 * 4 + token / 2, i = row / 8 * 2 + token % 2;
        if (static_cast<int>(word(6 + i, lane)) != dot)
          fail("mma m16n8k32 of tile " + std::to_string(tile) + ", row " + std::to_string(row) + ", token " +
               std::to_string(token) + " is " + std::to_string(static_cast<int>(word(6 + i, lane))) + ", expected " +
               std::to_string(dot));
      }
    }
  }
  say("equal: products of matrices of bytes and plain loops, " + std::to_string(shape.grid * 128) + " dots");
}

void check_many_products(Card& card) {
  const unsigned blocks = options.tiny ? 2 : 1024;
  const Shape shape{"octavo_probe_products", blocks, 256, options.tiny ? 2 : 96, std::size_t{blocks} * 512};
  for (unsigned seed = 0; seed < (options.tiny ? 1u : 2u); ++seed) {
    const Words words = on_device(card, shape, {}, 1000 + seed);
    for (std::size_t thread = 0; thread < words.size() / 2; ++thread)
      if (words[2 * thread] != 0)
        fail(std::to_string(words[2 * thread]) + " products of halves differ from those of bytes in thread " +
             std::to_string(thread) + ": use the s8 form on this device");
  }
  const double dots = static_cast<double>(blocks) * 8 * static_cast<double>(shape.count) * 128;
  figure("conformance.dots", dots * (options.tiny ? 1 : 2), "equal as bytes and as halves");
}

}  // namespace

int run_conformance() {
  Card card(0);
  const long long many = options.tiny ? 512 : 1 << 18;
  const auto blocks = [](long long count) { return static_cast<unsigned>((count + 255) / 256); };
  check_layout(card);
  same(card, {"octavo_probe_products", 2, 256, 3, 1024}, {}, 3);
  same(card, {"octavo_probe_copies", 1, 32, 1, 256}, some_words(256, 1), 0);
  same(card, {"octavo_probe_turns", 1, 128, options.tiny ? 5 : 200, 32}, {}, 9);
  same(card, {"octavo_probe_warps", 4, 256, 1, 4096}, some_words(1024, 2), 0);
  same(card, {"octavo_probe_bits", blocks(many), 256, many, static_cast<std::size_t>(8 * many)},
       some_words(static_cast<std::size_t>(3 * many), 3), 0);
  same(card, {"octavo_probe_rounding", blocks(many), 256, many, static_cast<std::size_t>(12 * many)},
       some_words(static_cast<std::size_t>(3 * many), 4), 0);
  check_many_products(card);
  return 0;
}

}  // namespace octavo::bench

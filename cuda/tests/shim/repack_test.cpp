// Repacking: pieces laid down one behind the other, and the kernels that do it on the device, give the bytes of a whole
// weight packed on the host.
#include <doctest.h>

#include <algorithm>
#include <cstring>

#include "emulator/device_array.h"
#include "ops/repack.h"
#include "schedules.h"
#include "tests/compare.h"

namespace {

using namespace octavo;
using namespace octavo::cuda;
using namespace octavo::testing;
using shim::DeviceArray;
using Bytes = std::vector<unsigned char>;

struct Scene {
  Format format;
  int n, k, piece;  // rows at a time, a multiple of 32
  Bytes rows, whole;
  Scene(Format f, int rows_wanted, int width, int piece_rows, Rng& rng)
      : format(f), n(rows_wanted), k(fitting(f, width)), piece(piece_rows), whole(device_weight_bytes(f, n, k)) {
    rows = random_rows(f, n, k, rng);
    pack_rows(f, n, k, 0, n, rows.data(), whole.data());
  }
  std::size_t stride() const { return row_bytes(format, static_cast<std::size_t>(k)); }
  // Calls act(first, count) for each piece, the last one first.
  template <class F>
  void each_piece(F act) const {
    for (int first = (n - 1) / piece * piece; first >= 0; first -= piece) act(first, std::min(piece, n - first));
  }
};

template <class F>
void each_scene(F act) {
  Rng rng(410);
  for (const Format format : all_formats) {
    CAPTURE(std::string(traits(format).name));
    for (const int k : {32, 96, 576}) {
      for (const int n : {1, 41, 96}) act(Scene(format, n, k, 32 + 32 * rng.below(2), rng));
    }
  }
}

}  // namespace

TEST_CASE("repack: pieces of rows, each packed alone, are a whole weight") {
  each_scene([](const Scene& scene) {
    Bytes found(scene.whole.size());
    scene.each_piece([&](int first, int count) {
      Bytes piece(device_weight_bytes(scene.format, count, scene.k));
      pack_rows(scene.format, count, scene.k, 0, count,
                scene.rows.data() + static_cast<std::size_t>(first) * scene.stride(), piece.data());
      for (const PiecePart& part : piece_parts(scene.format, scene.n, scene.k, first, count))
        std::copy_n(piece.begin() + static_cast<std::ptrdiff_t>(part.from), part.bytes,
                    found.begin() + static_cast<std::ptrdiff_t>(part.to));
    });
    CHECK(found == scene.whole);
  });
}

TEST_CASE("device: repack gives the host's bytes, every format, in pieces") {
  each_scene([](const Scene& scene) {
    const DeviceArray<unsigned char> weight(Bytes(scene.whole.size()), "weight");
    scene.each_piece([&](int first, int count) {
      const auto from =
          scene.rows.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(first) * scene.stride());
      const DeviceArray<unsigned char> rows(
          Bytes(from, from + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(count) * scene.stride())), "rows");
      Launches launches;
      add_repack(launches, scene.format, scene.n, scene.k, first, count, rows.get(), weight.get());
      for (const Launch& launch : launches) shim::run(launch);
    });
    CHECK(weight.download() == scene.whole);
    CHECK(shim::findings().empty());
  });
}

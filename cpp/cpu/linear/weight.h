// A weight in the CPU backend's layout (cpp/cpu/isa/kernels.h, packed.h), made from rows in the file's layout and read back
// row by row.
#pragma once
#include <cstdint>

#include "backend.h"
#include "cpu/isa/kernels.h"
#include "os/os.h"

namespace octavo::cpu {

// Bytes of one K group of a 32-row tile, its share of a header included.
std::size_t block_bytes(Format format);

class CpuWeight final : public Weight {
 public:
  CpuWeight(Format format, std::int64_t n, std::int64_t k, os::Arena& arena);
  std::size_t resident_bytes() const override { return bytes_; }

  void pair_halves() override { paired_ = is_quantised(format) && n % (2 * tile_rows) == 0; }
  // Whether the tiles of both halves take turns in memory.
  bool paired() const { return paired_; }

  std::int64_t tiles() const { return (n + tile_rows - 1) / tile_rows; }
  std::size_t tile_bytes() const { return tile_bytes_; }
  // Places are tiles in the order of memory: the tile at one, and the other way round.
  std::int64_t tile_at(std::int64_t place) const { return paired_ ? place % 2 * (tiles() / 2) + place / 2 : place; }
  std::int64_t place_of(std::int64_t tile) const {
    const std::int64_t half = tiles() / 2;
    return !paired_ ? tile : tile < half ? 2 * tile : 2 * (tile - half) + 1;
  }
  std::uint8_t* placed(std::int64_t place) const {
    return memory_.get() + static_cast<std::size_t>(place) * tile_bytes();
  }
  std::uint8_t* tile(std::int64_t i) const { return placed(place_of(i)); }

  // Backend::weight_load.
  void load(std::int64_t row, std::int64_t count, const std::uint8_t* rows);
  // One row as f32, as docs/numerics.md ("embed") says.
  void read_row(std::int64_t row, float* out) const;

 private:
  // The rows of one tile: of a float format, and of one of cpp/cpu/linear/packed.h.
  void load_float(std::uint8_t* to, int lanes, const std::uint8_t* rows);
  void load_packed(std::uint8_t* to, std::int64_t first_row, int lanes, const std::uint8_t* rows);

  const std::size_t bytes_, tile_bytes_;
  bool paired_ = false;
  std::shared_ptr<std::uint8_t> memory_;
};

}  // namespace octavo::cpu

// What an engine drew, bit for bit.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

#include "engine.h"

namespace octavo::testing {

struct Draw {
  std::int32_t token;
  std::uint32_t logprob_bits;
  std::vector<std::int32_t> top;
  bool operator==(const Draw&) const = default;
};

inline Draw draw_of(const SampleRow& row) {
  Draw draw{row.token, std::bit_cast<std::uint32_t>(row.logprob), {}};
  for (const TokenLogprob& t : row.top) draw.top.push_back(t.token);
  return draw;
}

// Of all rows of the step.
inline std::vector<Draw> draws_of(const Engine& engine) {
  std::vector<Draw> draws;
  for (const SampleRow& row : engine.result().rows) draws.push_back(draw_of(row));
  return draws;
}

}  // namespace octavo::testing

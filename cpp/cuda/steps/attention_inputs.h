// The segments of a step as the device is given them: offsets into one array of block tables.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "../../../cuda/ops/attention.h"
#include "backend.h"

namespace octavo::cuda {

struct AttentionInputs {
  std::vector<Segment> segments;
  std::vector<std::int32_t> tables;
  int rows = 0;  // up to the last row that belongs to one

  explicit AttentionInputs(const octavo::AttentionPlan& plan) {
    for (int i = 0; i < plan.n_segments; ++i) {
      const AttentionSegment& s = plan.segments[i];
      segments.push_back({s.row, s.count, s.position, static_cast<int>(tables.size())});
      tables.insert(tables.end(), s.table, s.table + (s.position + s.count + kv_block_tokens - 1) / kv_block_tokens);
      rows = std::max(rows, s.row + s.count);
    }
  }
};

}  // namespace octavo::cuda

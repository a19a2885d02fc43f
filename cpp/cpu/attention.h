// attention over threads. The query rows of one kv head (its heads x the tokens of a segment) are cut into groups that
// share every load of keys and values. Many groups: a thread takes a group through all its chunks. Few groups and long
// contexts (decoding): chunks are computed apart, by any thread, and merged in order afterwards; the results are the
// same bits.
#pragma once
#include <vector>

#include "cpu/kernels.h"
#include "cpu/kv_store.h"
#include "cpu/team.h"

namespace octavo::cpu {

struct AttentionCall {
  float* out;  // [T, H * D]
  const float* q;
  int q_ld;
  const CpuKvStore& kv;
  int layer;
  const AttentionPlan& plan;
  const AttentionParams& params;
};

// Reused between calls.
struct AttentionScratch {
  struct Group {
    const AttentionSegment* segment;
    int kv_head, row, rows;             // of segment.count * (heads / kv heads) query rows, token-major
    int first_chunk, end_chunk, slot;   // slot: of the first chunk's partial
  };
  std::vector<Group> groups;
  std::vector<int> slot_group;  // group of each partial
  Scratch states;
};

void attention(const Kernels& kernels, const Team& team, AttentionScratch& scratch, const AttentionCall& call);

}  // namespace octavo::cpu

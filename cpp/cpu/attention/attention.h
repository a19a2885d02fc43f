// attention over threads. The query rows of one kv head (its heads x the tokens of a segment) are cut into groups that
// share every load of keys and values. Many groups: a thread takes a group through all its chunks. Few groups and long
// contexts (decoding): chunks are computed apart, by any thread, and merged in order afterwards; the results are the
// same bits. New rows of decoding sequences are turned and stored by the thread that attends to them next, those of
// others in a pass before.
#pragma once
#include <vector>

#include "cpu/isa/kernels.h"
#include "cpu/attention/kv_ahead.h"
#include "cpu/attention/kv_store.h"
#include "cpu/threads/team.h"

namespace octavo::cpu {

struct AttentionCall {
  float* out;  // [T, H * D]
  const float* q;
  int q_ld;
  const CpuKvStore& kv;
  int layer;
  const AttentionPlan& plan;
  const AttentionParams& params;
  const NewRows* made = nullptr;   // rows to turn and store first, or null where that is done
  CpuKvStore* store = nullptr;     // kv, with made
  KvAhead* ahead = nullptr;        // told what the next layer reads
};

// Reused between calls.
struct AttentionScratch {
  struct Group {
    const AttentionSegment* segment;
    int kv_head, row, rows;             // of segment.count * (heads / kv heads) query rows, token-major
    int sink_chunks;                    // chunks 0 .. sink_chunks - 1 are seen for their sinks alone,
    int first_chunk, end_chunk;         // these for the window
    int slot;                           // of the first chunk's partial
    int chunks() const { return sink_chunks + end_chunk - first_chunk; }
    int chunk(int i) const { return i < sink_chunks ? i : first_chunk + i - sink_chunks; }
  };
  std::vector<Group> groups;
  std::vector<int> slot_group;  // group of each partial
  std::vector<int> fetched;  // the partial whose keys and values each thread has fetched ahead, a cache line apart
  Scratch states;
};

void attention(const Kernels& kernels, const Team& team, AttentionScratch& scratch, const AttentionCall& call);

}  // namespace octavo::cpu

// The reference's KV cache and attention: docs/numerics.md, "KV cache" and "attention", in executable form. Keys and
// values are rows of what their codes stand for, as f32 numbers, beside their scales.
#pragma once
#include <vector>

#include "backend.h"

namespace octavo::reference {

class KvRows final : public KvStore {
 public:
  explicit KvRows(const KvShape& shape);
  std::size_t bytes() const override { return (codes_.size() + scales_.size()) * sizeof(float); }

  enum Part { key, value };
  // queries [n][D]: of a key's token, those that read the head; n may be 0.
  void write(int layer, int slot, int head, Part part, const float* x, const float* queries, int n);
  void copy_block(int destination, int source);
  // A block as Backend::kv_export gives it (reference_blocks.cpp).
  void export_block(std::uint8_t* out, int block) const;
  void import_block(int block, const std::uint8_t* bytes);
  // [D] codes c of the specification, and their scale (1 in a type without).
  const float* codes(int layer, int slot, int head, Part part) const;
  float scale(int layer, int slot, int head, Part part) const { return scales_[at(layer, slot, head, part)]; }

 private:
  // [layer][slot][head][key, value]; codes have D numbers each.
  std::size_t at(int layer, int slot, int head, Part part) const;
  template <typename Byte, typename Body>
  void for_each_row(int block, Byte* bytes, Body body) const;

  std::vector<float> codes_, scales_;
};

// One query head of one row over its visible keys. sink_logit: null without a learned sink.
void attend(float* out, const float* q, const KvRows& store, int layer, int kv_head, const std::int32_t* table,
            int position, const AttentionParams& params, const float* sink_logit);

}  // namespace octavo::reference

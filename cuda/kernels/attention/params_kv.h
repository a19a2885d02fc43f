// Parameters of the kernels that read and write the KV cache (kv_layout.h). `layer` is where the layer begins in the
// store: [block][kv head][bytes of a head].
#pragma once

namespace octavo::gpu {

// octavo_kv_write_KIND.
struct KvWriteParams {
  unsigned char* layer;
  const float* q;    // [rows][kv_heads * queries * head_size], ld; read by fp8 where queries > 0
  const float* k;    // [rows][kv_heads * head_size], ld
  const float* v;    // as k
  const int* slots;  // [rows]: block * 16 + token; -1: the row is not written
  int ld, rows, kv_heads, queries, head_size;  // queries: heads that read one kv head
};

// octavo_kv_export_KIND, octavo_kv_import_KIND: one block of every layer.
struct KvConvertParams {
  unsigned char* store;
  unsigned char* exchange;  // [layers][kv_heads][bytes of a head]
  long long layer_bytes;    // from a layer to the next, in the store
  int block, layers, kv_heads, head_size;
};

// octavo_kv_copy: one block of every layer.
struct KvCopyParams {
  unsigned char* store;
  long long layer_bytes, block_bytes;
  int destination, source, layers;
};

// Query heads of one kv head times consecutive tokens of one sequence, in this order: row r of a segment is token
// r / group, head r % group of the kv head's. A tile is up to so many rows of them as its kernel takes at once.
struct AttentionTile {
  int row;       // of the segment's first token in the step
  int position;  // of that token
  int count;     // tokens of the segment
  int first;     // the tile's first row of the segment's
  int table;     // where the segment's block table begins in `tables`
  int partials;  // where the tile's partials begin: [chunk][kv head][row of the tile]; -1: none, it has one item
  int chunks;    // partials of chunks
};
// What one block of threads computes of a tile: the chunks of keys [chunk, end). One that is a tile's only item writes
// results, any other has one chunk and writes a partial.
struct AttentionItem {
  int tile, chunk, end;  // tile: -1 for none, there is nothing to do
  int partial;           // which of the tile's chunks; -1: results
};

// octavo_attention_KIND_rROWS.
struct AttentionParams {
  float* out;      // [...][heads * head_size]
  const float* q;  // [...][heads * head_size], q_ld
  const unsigned char* layer;
  const int* tables;
  const AttentionTile* tiles;
  const AttentionItem* items;
  const float* sink_logits;  // [heads] or null
  float* partial_ml;         // [...][2]: a chunk's maximum and sum; the sum is 0 where no key is seen
  float* partial_o;          // [...][head_size]
  int q_ld, heads, kv_heads, head_size, window, sinks;
  float scale, soft_cap;
};

// octavo_attention_merge: the tiles that have partials.
struct AttentionMergeParams {
  float* out;
  const AttentionTile* tiles;
  const float* sink_logits;
  const float* partial_ml;
  const float* partial_o;
  int heads, kv_heads, head_size;
  int tile_rows;
};

}  // namespace octavo::gpu

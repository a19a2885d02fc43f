// The table of functions that each instruction set fills (cpp/cpu/kernels_<isa>.cpp compiles the same .inc files), and
// the weight and activation layouts they share.
//
// Weights: blocks of 32 output rows x one 32-wide K group, K groups of a tile consecutive, tiles consecutive over N,
// the last tile padded with zeros; of a weight whose halves are a pair (Weight::pair_halves), the tiles of both take
// turns: the gates and ups of a feed-forward block are one stream. A lane is a row, so no result depends on the vector
// width, on T or on the threads.
//   q4    8 x 64 bytes [j 0..3][half 0..1][row 16][4]: byte i of a dword holds codes k = 4j + i (low) and 16 + 4j + i
//   (high),
//         then 32 f16 scales, then for q4_1 32 f16 minima
//   q8_0  16 x 64 bytes [j 0..7][half 0..1][row 16][4]: weight k = 4j + i, its sign bit flipped (0..255); then 32 f16
//   scales f32, f16, bf16   [k][32 rows] in the stored width
// The other quantised formats: packed.h.
// Activations of a quantised weight: panels of T tokens; per group T x 32 int8, T int32 corrections (the weight's
// offset times the sum), T f32 scales da, T f32 sa = da * sum. q6_k has two dots a group and no use for sa: corrections
// of the first 16 elements, and in place of sa those of the other 16. q2_k has two minima a group and no use for a
// correction: in its place da * sum of the first 16, and in place of sa that of the other 16. q3_k has in place of sa two
// int16, -4 * sum of the first and of the other 16.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "backend.h"
#include "files/quant.h"

namespace octavo::cpu {

inline constexpr int tile_rows = 32;
inline constexpr int group_size = 32;
inline constexpr std::size_t q4_codes_bytes = 512, q8_codes_bytes = 1024, tile_halves_bytes = 64;  // 64: 32 f16 values
inline constexpr std::size_t q4_0_block_bytes = q4_codes_bytes + tile_halves_bytes;
inline constexpr std::size_t q4_1_block_bytes = q4_codes_bytes + 2 * tile_halves_bytes;
inline constexpr std::size_t q8_0_block_bytes = q8_codes_bytes + tile_halves_bytes;
inline constexpr std::size_t panel_token_bytes = 44;  // per group and token: 32 int8, correction, da, sa
inline constexpr int matrix_panel = 16, least_matrix_panel = 8, matrix_panel_step = 2;  // tokens, for MatrixKernels
inline constexpr int max_panel_tokens = 16;

// Tokens cut into `count` panels whose sizes differ by at most one; or for matrix registers into panels with the same
// room, some of which the last ones may not use. Always inlined: kernels of every instruction set call it.
struct Panels {
  int tokens, count;
  int matrix_room = 0;  // 0: for vectors
  __attribute__((always_inline)) bool matrix() const { return matrix_room > 0; }
  __attribute__((always_inline)) int begin(int i) const {
    if (matrix()) return i < count ? i * matrix_room : tokens;
    return static_cast<int>(static_cast<std::int64_t>(tokens) * i / count);
  }
  __attribute__((always_inline)) int size(int i) const { return begin(i + 1) - begin(i); }
  int largest() const { return matrix() ? matrix_room : (tokens + count - 1) / count; }
  int room(int i) const { return matrix() ? matrix_room : size(i); }
  int rooms() const { return matrix() ? matrix_room * count : tokens; }
};

inline Panels cut_panels(int tokens, int largest) { return {tokens, (tokens + largest - 1) / largest}; }
inline Panels matrix_panels(int tokens) {
  const int count = (tokens + matrix_panel - 1) / matrix_panel, each = (tokens + count - 1) / count,
            room = (each + matrix_panel_step - 1) / matrix_panel_step * matrix_panel_step;
  return {tokens, count, room < least_matrix_panel ? least_matrix_panel : room};
}

// Groups [begin, end) of a tile, begin at a whole run of packed.h, as bytes and f32 scales (linear_unpacked.inc). Every
// byte is an operand as the kernel's dots take it, less `offset`.
using Unpack = void (*)(const std::uint8_t* tile, int begin, int end, int offset, std::uint8_t* to);

// Memory that a kernel call fetches beside its work: so many cache lines with each K group.
struct LinesBeside {
  const std::uint8_t* first = nullptr;
  int per_group = 0;
};

// One 32-row tile (float formats: up to float_tiles of them) times the tokens of one panel.
struct LinearTile {
  const std::uint8_t* weights = nullptr;  // first block of the tile
  const void* activations = nullptr;      // quantised panel, or f32 [tokens, k]
  int k = 0, tokens = 0;                  // tokens <= max_panel_tokens, or of all panels at once
  int rows = 0;                           // rows to store; a tile's tail may be padding
  float* out = nullptr;                   // [tokens, out_ld]
  std::ptrdiff_t out_ld = 0;
  const float* bias = nullptr;            // [rows] or null
  bool add = false;                       // out = out + y
  bool stream = false;                    // store past the caches: out and its rows begin at cache lines
  // Memory wanted soon: per K group so many cache lines of it are fetched, the next weights in `prefetch` and something
  // else in `beside`. Of float formats: whether anything is fetched ahead in the stream that is read.
  const std::uint8_t *prefetch = nullptr, *beside = nullptr;
  int prefetch_lines = 0, beside_lines = 0;
  // With all panels of a block at once, which lie one after the other (prefetch_lines are those of all together): how
  // `weights` is unpacked, what its operands are above the weight's own numbers, and memory.
  const Panels* panels = nullptr;
  int first_panel = 0, end_panel = 0;
  Unpack unpack = nullptr;
  int group_lines = 0;  // cache lines of a group of `weights`
  int operand_offset = 0;
  std::uint8_t* workspace = nullptr;
  // MatrixKernels::most_tiles: so many tiles of 32 rows one after the other, `rows` of them in the last one; from a
  // tile's weights to the next one's in bytes, from its bias to the next one's; `prefetch` is what is read after the
  // last one, or null; in place of `beside` what each of them fetches, [tiles].
  int tiles = 1;
  std::ptrdiff_t tile_step = 0, bias_step = tile_rows;
  const LinesBeside* besides = nullptr;
};
using LinearKernel = void (*)(const LinearTile&);

// A tile made fit for many panels, and the kernel that takes it then, with all panels at once (linear_unpacked.inc); null
// where the tile is best as it is.
struct Unpacking {
  Unpack unpack;
  LinearKernel linear;
};

// What a panel of quantised activations is made from: rows of `in`, from the panel's first token on.
struct PanelInput {
  LinearInput in;
  int k, tokens, room;  // tokens <= room <= max_panel_tokens: the panel's other tokens are zeros
  const float* scale;   // normed: [tokens], from norm_scale
  std::size_t ld() const { return static_cast<std::size_t>(in.kind == InputKind::gated ? 2 * k : k); }
};

// One chunk of keys for some query rows that share a key/value head.
struct AttentionChunk {
  const std::uint8_t* kv;        // layer's storage at this head, block 0 (kv_store.h)
  std::size_t block_stride;      // bytes between blocks
  int part_bytes, head_bytes;    // of a block: codes of its keys (as many of its values), and all with the scales
  const std::int32_t* table;     // pool block of the chunk's first 16 keys, and on
  const std::uint8_t* next_kv;   // the same of the chunk that this thread computes next, for prefetching:
  const std::int32_t* next_table;
  int next_blocks;               // its blocks, 0 without a next chunk
  bool cold;                     // no chunk before has prefetched this one
  int head_size, rows;
  float scale, soft_cap;
  const float* const* q;         // [rows] -> D
  const int* first;              // [rows] visible keys [first, end) relative to the chunk, never empty,
  const int* end;
  const int* sink;               // and [0, sink), 0 <= sink < first, or sink = 0
  float *max, *sum, *out;        // partials: [rows], [rows], [rows, D]
};

// Of one token: a head's key and value [D], and the queries [queries][D] that read the head.
struct NewKv {
  const float *k, *v, *q;
  int queries;
};

// linear on matrix registers (cpp/cpu/linear/linear_amx.inc), with all panels at once.
struct MatrixKernels {
  // Of a product: K, 16 or 32, and the tokens of a panel. A thread calls begin before linear and end afterwards.
  void (*begin)(int k, int tokens);
  void (*end)();
  std::array<LinearKernel, format_count> linear;  // by Format; null for the float ones
  int (*most_tiles)(Format format, int panels);   // at once, of so many panels
  double (*operations)(std::int64_t rounds);      // as int8_operations; neither begin nor end
};
inline constexpr int most_run_tiles = 16;  // longer runs gain nothing
// Memory that one thread works in with all panels at once: some groups of an unpacked tile, and accumulators of so many
// tokens.
inline constexpr int chunk_groups = 16;
inline constexpr std::size_t chunk_bytes = 24576;
inline constexpr std::size_t workspace_bytes(int tokens) {
  return chunk_bytes + static_cast<std::size_t>(tokens) * tile_rows * sizeof(float);
}

struct Kernels {
  const char* isa;
  // Tokens in a panel: up to `panel_small` tokens make one; up to 32 tokens, panels of `panel_medium`; above,
  // `panel_large`.
  int panel_small, panel_medium, panel_large;
  int float_panel, float_tiles;  // float formats: tokens at once; 32-row tiles at once with one token
  int q8_offset;                 // what is added to a q8_0 weight before it meets an activation (0 or 128)

  // Groups [begin, end) of a panel's tokens. offset: see "corrections" above.
  void (*quantise)(const PanelInput& in, std::uint8_t* panel, int begin, int end, int offset);
  LinearKernel linear[format_count];   // by Format
  std::array<Unpacking, format_count> unpacking;
  const MatrixKernels* matrix;        // null: none
  void (*finish_streams)();           // what was streamed becomes visible before what follows
  float (*norm_scale)(const float* x, float eps, int width);  // 1 / sqrt(mean(x^2) + eps)
  void (*norm)(float* out, const float* x, const float* w, float eps, int width);
  void (*gate_silu)(float* out, const float* gate, const float* up, int n);
  void (*rope_interleaved)(float* x, const float* cos_sin, int pairs);
  void (*rope_half)(float* x, const float* cos_sin, int pairs);
  // Both by KvDtype. kv_write: token 0..15 of a block, into the block's bytes of a head.
  void (*kv_write[4])(std::uint8_t* head, int token, const NewKv& made, int head_size);
  void (*attention_chunk[4])(const AttentionChunk&);
  // (max, sum, out[D]) of one row merged with a later chunk's partial; attention_finish divides by the sum, to which
  // *sink_logit (may be null) adds.
  void (*attention_merge)(float* max, float* sum, float* out, float chunk_max, float chunk_sum, const float* chunk_out,
                          int head_size);
  void (*attention_finish)(float* out, const float* state, float max, float sum, const float* sink_logit,
                           int head_size);
  // For cpp/cpu/limits.cpp: reads memory as fast as loads go, and fetches what lies so many bytes ahead of each; int8 and
  // f32 multiply-adds on registers only, return operations done.
  std::uint32_t (*read_memory)(const void* data, std::size_t bytes, std::size_t ahead);
  double (*int8_operations)(std::int64_t rounds);
  double (*fma_operations)(std::int64_t rounds);
};

extern const MatrixKernels matrix_plain;  // tiles_plain.h, for tests

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avxvnni, kernels_avxvnni_evex;  // the second: dots_avxvnni.h
extern const Kernels kernels_avx512vnni;
extern const MatrixKernels matrix_amx;
#else
extern const Kernels kernels_neon, kernels_neon_i8mm;
#endif

// The table for an instruction set's name, or the best one for null; null when this machine cannot run it.
const Kernels* kernels_find(const char* isa);

}  // namespace octavo::cpu

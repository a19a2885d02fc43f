#include "ops/linear.h"

#include <array>

#include "kernels/linear/linear_shapes.h"
#include "ops/repack.h"

namespace octavo::cuda {

namespace {

using namespace gpu;

unsigned ceil_div(int a, int b) { return static_cast<unsigned>((a + b - 1) / b); }
std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

// Names of kernels: octavo_KIND_PACKING_SUFFIX.
struct Names {
  std::string decode_8, decode_16, tile_s8, tile_f16;
};
const Names& names_of(Packing packing) {
  static const std::array<Names, packing_count> all = [] {
    std::array<Names, packing_count> names;
    for (int i = 0; i < packing_count; ++i) {
      const std::string name = packing_table[i].name;
      const std::string decode = "octavo_linear_decode_" + name, tile = "octavo_linear_tile_" + name;
      names[static_cast<std::size_t>(i)] = {decode + "_8", decode + "_16", tile + "_s8", tile + "_f16"};
    }
    return names;
  }();
  return all[static_cast<std::size_t>(packing)];
}

// A rounded input in the scratch, one part behind the other.
struct QuantisedInput {
  unsigned char* codes;
  float *scales, *sums;
  int tiles;
};
std::size_t input_bytes(int m, int k, int code_bytes, int minima) {
  const std::size_t slots =
      static_cast<std::size_t>(padded_groups(k / group_size)) * static_cast<std::size_t>(token_tiles(m));
  return aligned(slots * 256 * static_cast<std::size_t>(code_bytes)) +
         aligned(slots * 32) * static_cast<std::size_t>(1 + minima);
}
QuantisedInput place_input(void* scratch, int m, int k, int code_bytes, int minima) {
  QuantisedInput input;
  input.tiles = token_tiles(m);
  const std::size_t slots =
      static_cast<std::size_t>(padded_groups(k / group_size)) * static_cast<std::size_t>(input.tiles);
  input.codes = static_cast<unsigned char*>(scratch);
  unsigned char* const scales = input.codes + aligned(slots * 256 * static_cast<std::size_t>(code_bytes));
  input.scales = reinterpret_cast<float*>(scales);
  input.sums = minima == 0 ? nullptr : reinterpret_cast<float*>(scales + aligned(slots * 32));
  return input;
}

const char* quantise_name(LinearInputKind kind, bool halves) {
  switch (kind) {
    case LinearInputKind::normed:
      return halves ? "octavo_quantise_normed_f16" : "octavo_quantise_normed_s8";
    case LinearInputKind::gated:
      return halves ? "octavo_quantise_gated_f16" : "octavo_quantise_gated_s8";
    case LinearInputKind::plain:
      break;
  }
  return halves ? "octavo_quantise_plain_f16" : "octavo_quantise_plain_s8";
}

// Where tokens are few, a row is cut among blocks; where they are many, its norm is better computed once.
constexpr int few_tokens = 32;

QuantisedInput append_quantise(Launches& launches, const Linear& l, bool halves, int minima) {
  const QuantisedInput input = place_input(l.scratch, l.m, l.k, halves ? 2 : 1, minima);
  const int groups = padded_groups(l.k / group_size);
  QuantiseParams p{};
  p.x = l.x;
  p.norm_weight = l.norm_weight;
  p.codes = input.codes;
  p.scales = input.scales;
  p.sums = input.sums;
  p.m = l.m;
  p.k = l.k;
  p.ld = l.ld_x;
  p.tiles = input.tiles;
  p.groups_per_block = l.kind == LinearInputKind::normed && l.m > few_tokens ? groups : 8;
  p.halves = minima == 2;
  p.eps = l.eps;
  const Size3 grid{static_cast<unsigned>(input.tiles * token_tile), ceil_div(groups, p.groups_per_block), 1};
  launches.push_back(make_launch(quantise_name(l.kind, halves), grid, {256, 1, 1}, 0, p));
  return input;
}

LinearParams product_params(const Linear& l, const QuantisedInput& input) {
  LinearParams p{};
  p.weight = packed_weight(l.format, l.n, l.k, l.weight);
  p.codes = input.codes;
  p.scales = input.scales;
  p.sums = input.sums;
  p.bias = l.bias;
  p.out = l.out;
  p.m = l.m;
  p.ld = l.ld;
  p.tiles = input.tiles;
  p.add = l.add;
  return p;
}

void append_decode(Launches& launches, const Linear& l) {
  const Packing packing = packing_of(l.format);
  const PackingTraits& traits = packing_table[static_cast<int>(packing)];
  const QuantisedInput input = append_quantise(launches, l, false, traits.minima);
  const int tiles = input.tiles == 1 ? 1 : 2;
  const DecodeShape shape = decode_shape(traits, tiles);
  const Size3 grid{ceil_div(static_cast<int>(ceil_div(l.n, row_block)), shape.row_blocks), ceil_div(input.tiles, tiles),
                   1};
  const Names& names = names_of(packing);
  launches.push_back(make_launch((tiles == 1 ? names.decode_8 : names.decode_16).c_str(), grid, {decode_threads, 1, 1},
                                 static_cast<unsigned>(shape.shared_bytes), product_params(l, input)));
}

void append_tile(Launches& launches, const Linear& l, bool halves) {
  const Packing packing = packing_of(l.format);
  const PackingTraits& traits = packing_table[static_cast<int>(packing)];
  const QuantisedInput input = append_quantise(launches, l, halves, traits.minima);
  const Size3 grid{ceil_div(l.n, tile_row_blocks * row_block), ceil_div(input.tiles, tile_token_tiles), 1};
  const Names& names = names_of(packing);
  launches.push_back(make_launch((halves ? names.tile_f16 : names.tile_s8).c_str(), grid, {tile_threads, 1, 1},
                                 static_cast<unsigned>(tile_shape(traits, halves).shared_bytes),
                                 product_params(l, input)));
}

void append_floats(Launches& launches, const Linear& l) {
  LinearFloatParams p{};
  p.weight = l.weight;
  p.x = l.x;
  p.ld_x = l.ld_x;
  if (l.kind != LinearInputKind::plain) {
    PrepareParams made{};
    made.x = l.x;
    made.norm_weight = l.norm_weight;
    made.out = static_cast<float*>(l.scratch);
    made.k = l.k;
    made.ld = l.ld_x;
    made.eps = l.eps;
    const char* const name = l.kind == LinearInputKind::normed ? "octavo_prepare_normed" : "octavo_prepare_gated";
    launches.push_back(make_launch(name, {static_cast<unsigned>(l.m), 1, 1}, {256, 1, 1}, 0, made));
    p.x = made.out;
    p.ld_x = l.k;
  }
  p.bias = l.bias;
  p.out = l.out;
  p.n = l.n;
  p.k = l.k;
  p.m = l.m;
  p.ld = l.ld;
  p.add = l.add;
  const char* const name = l.format == Format::f32   ? "octavo_linear_float_f32"
                           : l.format == Format::f16 ? "octavo_linear_float_f16"
                                                     : "octavo_linear_float_bf16";
  launches.push_back(
      make_launch(name, {ceil_div(l.n, 4 * float_row_block), ceil_div(l.m, token_tile), 1}, {128, 1, 1}, 0, p));
}

}  // namespace

// Data-centre devices multiply f16 half as fast as s8, so they do better without conversions; on the others f16 with
// sums of f32 is a quarter or half of that.
LinearKernel linear_kernel(Format format, int m, const DeviceProperties& device) {
  if (!is_quantised(format)) return LinearKernel::floats;
  if (m <= few_tokens) return LinearKernel::decode;
  return device.compute % 10 == 0 && device.compute < 120 ? LinearKernel::tile_f16 : LinearKernel::tile_s8;
}

std::size_t linear_scratch_bytes(int m, int k) {
  const std::size_t floats = static_cast<std::size_t>(m) * static_cast<std::size_t>(k) * sizeof(float);
  const std::size_t rounded = input_bytes(m, k, 2, 2);
  return floats > rounded ? floats : rounded;
}

void append_linear(Launches& launches, const Linear& linear, const DeviceProperties& device) {
  append_linear(launches, linear, linear_kernel(linear.format, linear.m, device));
}

void append_linear(Launches& launches, const Linear& linear, LinearKernel kernel) {
  switch (kernel) {
    case LinearKernel::floats:
      return append_floats(launches, linear);
    case LinearKernel::decode:
      return append_decode(launches, linear);
    case LinearKernel::tile_s8:
      return append_tile(launches, linear, false);
    case LinearKernel::tile_f16:
      return append_tile(launches, linear, true);
  }
}

}  // namespace octavo::cuda

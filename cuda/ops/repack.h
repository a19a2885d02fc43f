// Weights from the file's layout (cpp/files/quant.h) to the device's (kernels/linear/weight_layout.h), on the host or by
// a kernel.
#pragma once
#include <array>
#include <cstddef>

#include "files/quant.h"
#include "kernels/linear/params_linear.h"
#include "kernels/linear/weight_layout.h"
#include "ops/launch.h"

namespace octavo::cuda {

// How a quantised format is kept.
gpu::Packing packing_of(Format format);

// Bytes of a weight of n rows and k columns on the device; of any format.
std::size_t device_weight_bytes(Format format, long long n, long long k);

// `count` rows of a file, from row `first` of n, into the bytes of a whole weight, which begin as zeros. Calls for rows
// of the same block of 16 (float formats: of 32) may not run at once.
void pack_rows(Format format, long long n, long long k, long long first, long long count, const void* rows,
               unsigned char* weight);

// Rows [row, row + count) of a weight of n as bytes of it: where they lie in a weight of `count` rows alone (from), and
// where in the whole one (to). row is a multiple of 32, count too unless the rows end at n.
struct PiecePart {
  std::size_t from, to, bytes;
};
std::array<PiecePart, 3> piece_parts(Format format, long long n, long long k, long long row, long long count);

// The same on the device: `rows` and `weight` are its addresses, rows aligned to 16. Writes what is added to make blocks
// whole as zeros; rows as for piece_parts.
void add_repack(Launches& launches, Format format, long long n, long long k, long long first, long long count,
                const unsigned char* rows, unsigned char* weight);

// What kernels are given of a quantised weight whose bytes lie at `weight` on the device.
PackedWeight packed_weight(Format format, long long n, long long k, const unsigned char* weight);

}  // namespace octavo::cuda

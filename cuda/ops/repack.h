// Weights from the file's layout (cpp/files/quant.h) to the device's (kernels/linear/weight_layout.h), on the host.
#pragma once
#include <cstddef>

#include "files/quant.h"
#include "kernels/linear/params_linear.h"
#include "kernels/linear/weight_layout.h"

namespace octavo::cuda {

// How a quantised format is kept.
gpu::Packing packing_of(Format format);

// Bytes of a weight of n rows and k columns on the device; of any format.
std::size_t device_weight_bytes(Format format, long long n, long long k);

// `count` rows of a file, from row `first` of n, into the bytes of a whole weight, which begin as zeros. Calls for rows
// of the same block of 16 (float formats: of 32) may not run at once.
void pack_rows(Format format, long long n, long long k, long long first, long long count, const void* rows,
               unsigned char* weight);

// What kernels are given of a quantised weight whose bytes lie at `weight` on the device.
PackedWeight packed_weight(Format format, long long n, long long k, const unsigned char* weight);

}  // namespace octavo::cuda

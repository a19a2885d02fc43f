// Seeded random weights in a file's layout: sizes can be tested and compared without a download. A row depends on
// (seed, tensor, row) alone, so any part can be made at any time, by a file writer or straight into memory.
#pragma once
#include <cstdint>

#include "files/quant.h"

namespace octavo {

// Rows [row, row + count) of a [n, k] tensor, in the stored layout. Weights are bell-shaped with deviation 1 / sqrt(k),
// so that activations keep their size through the layers. f32 is the format of norm weights and of nothing else here:
// its values are 1 with deviation 0.05. tensor: any number that tells tensors apart.
void synthetic_rows(Format format, std::uint64_t seed, std::uint32_t tensor, std::int64_t row, std::int64_t count,
                    std::int64_t k, void* out);

}  // namespace octavo

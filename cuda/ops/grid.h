// Sizes of grids.
#pragma once

namespace octavo::cuda {

inline unsigned pieces(long long all, int piece) { return static_cast<unsigned>((all + piece - 1) / piece); }

}  // namespace octavo::cuda

// What kernels are given: one struct a kernel, NameParams for octavo_name. A family has a header of its own
// (params_linear.h), which its kernels, its operation in cuda/ops and its tests include.
//
// Rules, so that the bytes are the same for nvcc, g++ and the PTX interpreter:
// - plain structs: pointers to device memory, int, unsigned, long long, float; no bool, no enum class, no C++ type;
// - at most 1,024 bytes (most_params_bytes), alignment at most 8; members by falling size, so that there is no padding;
// - sizes are in elements unless the name says bytes; pointers to several rows come with the distance of rows (..._ld);
// - a member that may be null says so; nothing is read through a null pointer;
// - no host pointer, and nothing that the kernel would have to follow twice.
// A comment at each pointer gives its shape. No kernel keeps what a pointer leads to from one launch to the next.
#pragma once

#include "kernels/linear/params_linear.h"

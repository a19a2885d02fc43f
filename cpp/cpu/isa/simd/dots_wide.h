// Integer dots of cpp/cpu/isa/simd/simd.h where one instruction adds four products of bytes to a 32-bit sum: all of them are
// dot_step, which the set that includes this defines before, with bytes_prepare.

using SmallDot = i32x16;
SIMD_FN SmallDot small_begin(int start) { return i_set(start); }
SIMD_FN SmallDot small_dot(SmallDot acc, Codes w, Quad x) { return dot_step(acc, w, x); }
SIMD_FN i32x16 small_end(SmallDot acc, int) { return acc; }

using Bytes = Codes;
SIMD_FN i32x16 byte_dot(i32x16 acc, Bytes w, Quad x) { return dot_step(acc, w, x); }

SIMD_FN i32x16 unsigned_dot(i32x16 acc, Codes w, Quad x) { return dot_step(acc, w, x); }  // codes 0..127

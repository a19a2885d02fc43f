// Integer dots of cpp/cpu/isa/simd/simd.h on AVX2: products of two bytes in 16 bits (vpmaddubsw). Included by simd_avx2.h.

// A whole group fits 16 bits: 8 steps x 2 products x 15 x 127 = 30480.
struct SmallDot {
  __m256i a, b;  // 16-bit lanes
};
SIMD_FN SmallDot small_begin(int) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
SIMD_FN SmallDot small_dot(SmallDot acc, Codes w, Quad x) {
  return {_mm256_add_epi16(acc.a, _mm256_maddubs_epi16(w.a, x)), _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(w.b, x))};
}
SIMD_FN i32x16 small_end(SmallDot acc, int start) {
  const __m256i ones = _mm256_set1_epi16(1), offset = _mm256_set1_epi32(start);
  return {_mm256_add_epi32(_mm256_madd_epi16(acc.a, ones), offset),
          _mm256_add_epi32(_mm256_madd_epi16(acc.b, ones), offset)};
}

// |w| x sign(w) a: a pair is at most 2 x 128 x 127 = 32512, so maddubs does not saturate (activations are never -128).
constexpr int byte_offset = 0;
struct Bytes {
  Codes magnitude, value;
};
SIMD_FN Bytes bytes_prepare(Codes c) {
  const __m256i flip = _mm256_set1_epi8(-128);
  const Codes v{_mm256_xor_si256(c.a, flip), _mm256_xor_si256(c.b, flip)};
  return {{_mm256_abs_epi8(v.a), _mm256_abs_epi8(v.b)}, v};
}
SIMD_FN i32x16 byte_dot(i32x16 acc, Bytes w, Quad x) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i a = _mm256_maddubs_epi16(w.magnitude.a, _mm256_sign_epi8(x, w.value.a));
  const __m256i b = _mm256_maddubs_epi16(w.magnitude.b, _mm256_sign_epi8(x, w.value.b));
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(a, ones)), _mm256_add_epi32(acc.b, _mm256_madd_epi16(b, ones))};
}

// codes 0..127: a pair is at most 2 x 127 x 127
SIMD_FN i32x16 unsigned_dot(i32x16 acc, Codes w, Quad x) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i a = _mm256_maddubs_epi16(w.a, x), b = _mm256_maddubs_epi16(w.b, x);
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(a, ones)), _mm256_add_epi32(acc.b, _mm256_madd_epi16(b, ones))};
}

// 12 independent vpmaddubsw, 64 operations each.
SIMD_FN double int8_operations_loop(std::int64_t rounds) {
  std::int64_t n = rounds;
  __asm__ volatile(
      "1:\n\t"
      "vpmaddubsw %%ymm14, %%ymm15, %%ymm0\n\tvpmaddubsw %%ymm14, %%ymm15, %%ymm1\n\tvpmaddubsw %%ymm14, %%ymm15, "
      "%%ymm2\n\t"
      "vpmaddubsw %%ymm14, %%ymm15, %%ymm3\n\tvpmaddubsw %%ymm14, %%ymm15, %%ymm4\n\tvpmaddubsw %%ymm14, %%ymm15, "
      "%%ymm5\n\t"
      "vpmaddubsw %%ymm14, %%ymm15, %%ymm6\n\tvpmaddubsw %%ymm14, %%ymm15, %%ymm7\n\tvpmaddubsw %%ymm14, %%ymm15, "
      "%%ymm8\n\t"
      "vpmaddubsw %%ymm14, %%ymm15, %%ymm9\n\tvpmaddubsw %%ymm14, %%ymm15, %%ymm10\n\tvpmaddubsw %%ymm14, %%ymm15, "
      "%%ymm11\n\t"
      "decq %0\n\tjnz 1b"
      : "+r"(n)
      :
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
  return static_cast<double>(rounds) * 12 * 64;
}

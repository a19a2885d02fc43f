// The functions of device.cuh for a host compiler: what the PTX instructions of device_ptx.cuh do, as plain code.
#pragma once

namespace octavo::gpu {

// As on the device, but with a red zone before each array.
struct SharedMemory {
  std::size_t used = 0;
  int arrays = 0;
  template <class T>
  DEVICE T* take(std::size_t count, std::size_t alignment = 16) {
    used = (used + alignment - 1) & ~(alignment - 1);
    T* const array = static_cast<T*>(shim::take_dynamic(used, arrays++, count * sizeof(T)));
    used += count * sizeof(T);
    return array;
  }
};

DEVICE void copy_async_16(void* shared, const void* global, bool present = true) {
  shim::copy_async(shared, global, 16, present ? 16 : 0);
}
DEVICE void commit_copies() { shim::copies_commit(); }
template <int groups>
DEVICE void wait_copies() {
  shim::copies_wait(groups);
}
DEVICE void barrier_sync(int id, int threads) { shim::barrier_sync(id, threads); }
DEVICE void barrier_arrive(int id, int threads) { shim::barrier_arrive(id, threads); }
DEVICE void mma_s8(int (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const int (&c)[4]) {
  shim::mma_s8(d, a, b, c);
}
DEVICE void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4]) {
  shim::mma_f16(d, a, b, c);
}
DEVICE void load_matrices(std::uint32_t (&out)[4], const void* row) { shim::load_matrices(out, row, false); }
DEVICE void load_matrices_transposed(std::uint32_t (&out)[4], const void* row) { shim::load_matrices(out, row, true); }

DEVICE float half_to_float(unsigned short bits) { return static_cast<float>(shim::from_bits<_Float16>(bits)); }
DEVICE unsigned short float_to_half(float x) {
  return static_cast<unsigned short>(shim::to_bits(static_cast<_Float16>(x)));
}
// A product of two halves and a sum of it and a third are exact in double, within the range that kernels use.
DEVICE std::uint32_t fma_half2(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto part = [shift](std::uint32_t bits) {
      return static_cast<double>(half_to_float(static_cast<unsigned short>(bits >> shift)));
    };
    const auto rounded = static_cast<_Float16>(part(a) * part(b) + part(c));
    d |= static_cast<std::uint32_t>(shim::to_bits(rounded)) << shift;
  }
  return d;
}
DEVICE std::uint32_t sub_half2(std::uint32_t a, std::uint32_t b) { return fma_half2(b, 0xBC00BC00u, a); }

}  // namespace octavo::gpu

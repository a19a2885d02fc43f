// CUDA for the host compiler: what a kernel's source sees when g++ compiles it (kernels/device.cuh includes this in
// place of the CUDA headers). Every CUDA thread is a fiber of one thread of the process (block.h), so a kernel's own
// statements run as they are; what threads do together (barriers, shuffles, matrix products, copies in flight) are
// calls into the emulator. Nothing here is modelled on time: only what a result may depend on.
//
// Arithmetic: the names that end in _rn round once, to nearest even, as the host's do; fma is fused. Compile with
// -ffp-contract=off and -fno-strict-aliasing.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator/vector_types.h"

namespace octavo::shim {

struct ThreadIndices {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
extern ThreadIndices* current;  // of the fiber that runs

// ---- kernels by name ------------------------------------------------------------------------------------------
struct LaunchBounds {
  unsigned threads, blocks = 1;
};
struct Kernel {
  Kernel(const char* name, unsigned params_bytes, LaunchBounds bounds, void (*body)(const void* params));
  const char* const name;
  const unsigned params_bytes;
  const LaunchBounds bounds;
  void (*const body)(const void*);
};

// ---- threads together -----------------------------------------------------------------------------------------
inline constexpr int whole_block = -1;
void barrier_sync(int id, int threads, int line = 0);
void barrier_arrive(int id, int threads);
void sync_warp(unsigned mask);
enum class Shuffle { index, up, down, exclusive_or };
std::uint64_t shuffle(unsigned mask, std::uint64_t value, int selector, Shuffle kind, int width);
enum class Vote { ballot, any, all };
unsigned vote(unsigned mask, bool predicate, Vote kind);
enum class Reduction { add, max, min, logic_or };
unsigned reduce(unsigned mask, unsigned value, Reduction kind);
void mma_s8(int (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const int (&c)[4]);
void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4]);
void load_matrices(std::uint32_t (&out)[4], const void* row, bool transposed);
[[noreturn]] void trap();

// ---- memory ---------------------------------------------------------------------------------------------------
void copy_async(void* shared, const void* global, int bytes, int source_bytes);
void copies_commit();
void copies_wait(int most_in_flight);
void* take_dynamic(std::size_t offset, int index, std::size_t bytes);
void* take_static(const void* key, std::size_t bytes, std::size_t alignment);
void atomic(void* address, std::size_t bytes, void (*change)(void* address, void* context), void* context);

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// Returns what was there; the change is one step for all threads.
template <class T, class Change>
T atomic_change(T* address, Change change) {
  struct Context {
    Change& change;
    T old;
  } context{change, T()};
  atomic(
      address, sizeof(T), [](void* at, void* opaque) __attribute__((no_sanitize("thread"))) {
        Context& c = *static_cast<Context*>(opaque);
        std::memcpy(&c.old, at, sizeof(T));
        const T changed = c.change(c.old);
        std::memcpy(at, &changed, sizeof(T));
      },
      &context);
  return context.old;
}

}  // namespace octavo::shim

#define DEVICE inline __attribute__((always_inline))
#define CONSTANT static const
#define threadIdx (::octavo::shim::current->thread)
#define blockIdx (::octavo::shim::current->block)
#define blockDim (::octavo::shim::current->block_size)
#define gridDim (::octavo::shim::current->grid_size)

#define OCTAVO_KERNEL(name, Params, ...)                                                                            \
  static void name(const Params& p);                                                                                \
  static const ::octavo::shim::Kernel kernel_##name(                                                                \
      #name, sizeof(Params), {__VA_ARGS__}, [](const void* params) { name(*static_cast<const Params*>(params)); }); \
  static void name([[maybe_unused]] const Params& p)

// A lambda's own variable is one for each instance of a template, so its address names the array.
#define SHARED_ARRAY(T, name, count)                           \
  T* const name = static_cast<T*>(::octavo::shim::take_static( \
      [] {                                                     \
        static char key;                                       \
        return &key;                                           \
      }(),                                                     \
      sizeof(T) * (count), alignof(T) < 16 ? 16 : alignof(T)))

using std::max;
using std::min;

// The line, not the address, tells one __syncthreads from another: compilers duplicate calls.
DEVICE void __syncthreads(int line = __builtin_LINE()) {
  ::octavo::shim::barrier_sync(0, ::octavo::shim::whole_block, line);
}
DEVICE void __syncwarp(unsigned mask = ~0u) { ::octavo::shim::sync_warp(mask); }
DEVICE void __trap() { ::octavo::shim::trap(); }
template <class T>
DEVICE T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  using namespace octavo::shim;
  return from_bits<T>(shuffle(mask, to_bits(value), lane, Shuffle::index, width));
}
template <class T>
DEVICE T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  using namespace octavo::shim;
  return from_bits<T>(shuffle(mask, to_bits(value), static_cast<int>(lanes), Shuffle::up, width));
}
template <class T>
DEVICE T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  using namespace octavo::shim;
  return from_bits<T>(shuffle(mask, to_bits(value), static_cast<int>(lanes), Shuffle::down, width));
}
template <class T>
DEVICE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  using namespace octavo::shim;
  return from_bits<T>(shuffle(mask, to_bits(value), lanes, Shuffle::exclusive_or, width));
}
DEVICE unsigned __ballot_sync(unsigned mask, int predicate) {
  return ::octavo::shim::vote(mask, predicate != 0, ::octavo::shim::Vote::ballot);
}
DEVICE int __any_sync(unsigned mask, int predicate) {
  return static_cast<int>(::octavo::shim::vote(mask, predicate != 0, ::octavo::shim::Vote::any));
}
DEVICE int __all_sync(unsigned mask, int predicate) {
  return static_cast<int>(::octavo::shim::vote(mask, predicate != 0, ::octavo::shim::Vote::all));
}
DEVICE unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  return ::octavo::shim::reduce(mask, value, ::octavo::shim::Reduction::add);
}
DEVICE unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  return ::octavo::shim::reduce(mask, value, ::octavo::shim::Reduction::max);
}
DEVICE unsigned __reduce_min_sync(unsigned mask, unsigned value) {
  return ::octavo::shim::reduce(mask, value, ::octavo::shim::Reduction::min);
}

template <class T>
DEVICE T atomicAdd(T* address, T value) {
  return ::octavo::shim::atomic_change(address, [value](T old) { return static_cast<T>(old + value); });
}
template <class T>
DEVICE T atomicMax(T* address, T value) {
  return ::octavo::shim::atomic_change(address, [value](T old) { return std::max(old, value); });
}
template <class T>
DEVICE T atomicMin(T* address, T value) {
  return ::octavo::shim::atomic_change(address, [value](T old) { return std::min(old, value); });
}
template <class T>
DEVICE T atomicOr(T* address, T value) {
  return ::octavo::shim::atomic_change(address, [value](T old) { return static_cast<T>(old | value); });
}
template <class T>
DEVICE T atomicCAS(T* address, T expected, T value) {
  return ::octavo::shim::atomic_change(address, [=](T old) { return old == expected ? value : old; });
}

template <class T>
DEVICE T __ldg(const T* address) {
  return *address;
}

DEVICE float __fadd_rn(float a, float b) { return a + b; }
DEVICE float __fsub_rn(float a, float b) { return a - b; }
DEVICE float __fmul_rn(float a, float b) { return a * b; }
DEVICE float __fdiv_rn(float a, float b) { return a / b; }
DEVICE float __fsqrt_rn(float a) { return std::sqrt(a); }
DEVICE float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
DEVICE double __dadd_rn(double a, double b) { return a + b; }
DEVICE double __dsub_rn(double a, double b) { return a - b; }
DEVICE double __dmul_rn(double a, double b) { return a * b; }
DEVICE double __ddiv_rn(double a, double b) { return a / b; }
DEVICE double __dsqrt_rn(double a) { return std::sqrt(a); }
DEVICE double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
// Conversions to whole numbers saturate, and a NaN becomes 0.
DEVICE int __float2int_rn(float x) {
  if (x != x) return 0;
  const float whole = std::nearbyint(x);
  return whole >= 0x1p31f ? INT32_MAX : whole <= -0x1p31f ? INT32_MIN : static_cast<int>(whole);
}
DEVICE int __float2int_rz(float x) {
  if (x != x) return 0;
  return x >= 0x1p31f ? INT32_MAX : x <= -0x1p31f ? INT32_MIN : static_cast<int>(x);
}
DEVICE float __int2float_rn(int x) { return static_cast<float>(x); }
DEVICE float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
DEVICE float __double2float_rn(double x) { return static_cast<float>(x); }
DEVICE float __int_as_float(int bits) { return ::octavo::shim::from_bits<float>(static_cast<unsigned>(bits)); }
DEVICE float __uint_as_float(unsigned bits) { return ::octavo::shim::from_bits<float>(bits); }
DEVICE int __float_as_int(float x) { return ::octavo::shim::from_bits<int>(::octavo::shim::to_bits(x)); }
DEVICE unsigned __float_as_uint(float x) { return ::octavo::shim::from_bits<unsigned>(::octavo::shim::to_bits(x)); }
DEVICE double __longlong_as_double(long long x) {
  return ::octavo::shim::from_bits<double>(static_cast<std::uint64_t>(x));
}
DEVICE long long __double_as_longlong(double x) {
  return ::octavo::shim::from_bits<long long>(::octavo::shim::to_bits(x));
}
DEVICE int __popc(unsigned x) { return __builtin_popcount(x); }
DEVICE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
DEVICE int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
DEVICE int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
DEVICE int __ffs(int x) { return __builtin_ffs(x); }
DEVICE unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
DEVICE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
// Byte i of the result: that of (y, x) which nibble i of the selector names; its bit 3 asks for the byte's sign
// instead.
DEVICE unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t both = static_cast<std::uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> (4 * i) & 15;
    unsigned byte = static_cast<unsigned>(both >> (8 * (nibble & 7))) & 0xFF;
    if (nibble & 8) byte = byte & 0x80 ? 0xFF : 0;
    result |= byte << (8 * i);
  }
  return result;
}

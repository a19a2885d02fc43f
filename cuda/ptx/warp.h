// A warp at work, and how handlers are made from functions of one lane: `lanes<F>` runs F for every lane named, reading
// and writing registers as F's own types say. F's types give the row's operand letters as well, so that they cannot
// disagree.
#pragma once
#include <array>
#include <bit>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "error.h"
#include "forms.h"
#include "memory.h"
#include "program.h"

namespace octavo::ptx {

struct LaunchStats {
  std::uint64_t instructions = 0;  // of warps
  std::uint64_t inexact_sums = 0;  // results of f16 or bf16 mma that rounding touched
};

// A block's state that its warps share.
struct Block {
  const Function* function;
  Memory* memory;
  const std::uint8_t* params;
  std::vector<std::uint8_t> shared;
  unsigned id[3], size[3], grid[3];
  LaunchStats* stats;
};

// A copy that is under way: it lands when its lane waits for it, as late as the machine may.
struct PendingCopy {
  std::uint64_t source;
  std::uint32_t shared_offset, bytes, valid, group;
  int line;
};

// Lanes that stand at the same place.
struct Group {
  std::int32_t pc;
  std::uint32_t lanes;
  bool parked = false;  // wait here for others
};

enum class WarpState : std::uint8_t { ready, waiting, done };

struct Warp {
  Block* block = nullptr;
  std::uint32_t* file = nullptr;
  std::vector<std::uint32_t> predicates;
  std::vector<std::uint8_t> local;  // all lanes, one after the other
  std::uint32_t live = 0;           // lanes that have not ended
  int index = 0;                    // in its block
  WarpState state = WarpState::ready;
  int barrier = -1;
  std::vector<Group> groups;
  std::vector<PendingCopy> copies[warp_lanes];
  std::uint32_t open_group[warp_lanes] = {};
  const Region* recent = nullptr;  // the allocation used last
};

[[noreturn]] void fail(Fault fault, const Instruction& i, const Warp& w, int lane, const std::string& text);

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
struct Half {
  std::uint16_t bits;
};
struct Bf16 {
  std::uint16_t bits;
};

template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

template <class T>
inline T from_slot(Slot<T> slot) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bf16>) {
    return T{static_cast<std::uint16_t>(slot)};
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::bit_cast<T>(slot);
  } else {
    return static_cast<T>(slot);
  }
}
template <class T>
inline Slot<T> to_slot(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bf16>) {
    return value.bits;
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::bit_cast<Slot<T>>(value);
  } else {
    return static_cast<Slot<T>>(static_cast<std::make_unsigned_t<T>>(value));
  }
}

template <class T>
inline Slot<T>* registers(Warp& w, const Operand& operand) {
  return reinterpret_cast<Slot<T>*>(w.file + operand.slot);
}
// A register of any width as 64 bits.
inline std::uint64_t wide(const Warp& w, const Operand& operand, int lane) {
  if (operand.width == 8) return reinterpret_cast<const std::uint64_t*>(w.file + operand.slot)[lane];
  return w.file[operand.slot + lane];
}
inline void set_wide(Warp& w, const Operand& operand, int lane, std::uint64_t value) {
  if (operand.slot < 0) return;
  if (operand.width == 8) {
    reinterpret_cast<std::uint64_t*>(w.file + operand.slot)[lane] = value;
  } else {
    w.file[operand.slot + lane] =
        operand.width == 2 ? static_cast<std::uint16_t>(value) : static_cast<std::uint32_t>(value);
  }
}
inline std::uint32_t predicate(const Warp& w, const Operand& operand) {
  const std::uint32_t bits = w.predicates[operand.slot];
  return operand.negated ? ~bits : bits;
}
inline void set_predicate(Warp& w, const Operand& operand, std::uint32_t lanes, std::uint32_t bits) {
  if (operand.slot < 0) return;
  std::uint32_t& p = w.predicates[operand.slot];
  p = (p & ~lanes) | (bits & lanes);
}

template <class F>
inline void each_lane(std::uint32_t lanes, F f) {
  for (; lanes; lanes &= lanes - 1) f(std::countr_zero(lanes));
}

template <class T>
struct Source {
  const Slot<T>* at;
  Source(Warp& w, const Operand& operand) : at(registers<T>(w, operand)) {}
  T operator[](int lane) const { return from_slot<T>(at[lane]); }
};
template <>
struct Source<bool> {
  std::uint32_t bits;
  Source(Warp& w, const Operand& operand) : bits(predicate(w, operand)) {}
  bool operator[](int lane) const { return (bits >> lane) & 1; }
};

template <auto F, class R, class... A>
struct Lanes {
  template <std::size_t... I>
  static void at(const Instruction& i, Warp& w, std::uint32_t lanes, std::index_sequence<I...>) {
    const std::tuple<Source<A>...> sources{Source<A>(w, i.op[I + 1])...};
    if constexpr (std::is_same_v<R, bool>) {
      std::uint32_t bits = 0;
      for (int l = 0; l < warp_lanes; ++l) bits |= static_cast<std::uint32_t>(F(std::get<I>(sources)[l]...)) << l;
      set_predicate(w, i.op[0], lanes, bits);
    } else {
      Slot<R>* out = registers<R>(w, i.op[0]);
      if (lanes == all_lanes) {
#pragma GCC ivdep
        for (int l = 0; l < warp_lanes; ++l) out[l] = to_slot<R>(F(std::get<I>(sources)[l]...));
      } else {
        each_lane(lanes, [&](int l) { out[l] = to_slot<R>(F(std::get<I>(sources)[l]...)); });
      }
    }
  }
  static void run(const Instruction& i, Warp& w, std::uint32_t lanes) {
    at(i, w, lanes, std::index_sequence_for<A...>{});
  }
  template <class T, bool destination>
  static constexpr char letter() {
    constexpr char c = std::is_same_v<T, bool> ? 'p' : sizeof(T) == 8 ? 'd' : sizeof(T) == 4 ? 'w' : 'h';
    return destination ? c - 'a' + 'A' : c;
  }
  static constexpr char operands[] = {letter<R, true>(), letter<A, false>()..., 0};
};

template <auto F, class R, class... A>
constexpr Row row_of(const char* pattern, const char* test, R (*)(A...)) {
  return {pattern, Lanes<F, R, A...>::operands, Lanes<F, R, A...>::run, test};
}
// A row whose instruction is F, lane by lane.
template <auto F>
constexpr Row lanes(const char* pattern, const char* test) {
  return row_of<F>(pattern, test, +F);
}

}  // namespace octavo::ptx

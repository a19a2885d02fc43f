// ld, st and cp.async. Every access is checked: inside one allocation, aligned, not to what may only be read. An
// asynchronous copy reads and writes when it is waited for, the latest moment it may: who forgets to wait sees old
// bytes.
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

u64 address_of(const Address& a, const Warp& w, int lane) {
  const u64 base = a.base.slot < 0 ? 0 : wide(w, a.base, lane);
  return base + static_cast<u64>(a.offset);
}

std::string range(u64 address, u64 bytes, const char* space, u64 size) {
  return std::to_string(bytes) + " bytes at " + std::to_string(static_cast<std::int64_t>(address)) + " of " + space +
         " memory, which has " + std::to_string(size);
}

// Where `bytes` at this address are on the host.
u8* resolve(const Instruction& i, Warp& w, int lane, Space space, u64 address, u32 bytes, bool write) {
  if (address % bytes)
    fail(Fault::memory, i, w, lane, "misaligned: " + std::to_string(bytes) + " bytes at " + std::to_string(address));
  if (space == Space::generic) {
    const u64 window = address & window_mask;
    space = window == shared_window  ? Space::shared
            : window == local_window ? Space::local
            : window == param_window ? Space::param
                                     : Space::global;
    if (space != Space::global) address -= window;
  }
  Block& block = *w.block;
  switch (space) {
    case Space::shared:
      address = static_cast<u32>(address);
      if (address + bytes > block.shared.size())
        fail(Fault::memory, i, w, lane, range(address, bytes, "shared", block.shared.size()));
      return block.shared.data() + address;
    case Space::local: {
      const std::size_t size = block.function->local_bytes;
      if (address + bytes > size) fail(Fault::memory, i, w, lane, range(address, bytes, "local", size));
      return w.local.data() + size * static_cast<std::size_t>(lane) + address;
    }
    case Space::param:
      if (write) fail(Fault::memory, i, w, lane, "a kernel's parameters are not writable");
      if (address + bytes > block.function->param_bytes) {
        fail(Fault::memory, i, w, lane, range(address, bytes, "parameter", block.function->param_bytes));
      }
      return const_cast<u8*>(block.params) + address;
    default:
      break;
  }
  const Region* r = w.recent;
  if (!r || address - r->base > r->bytes || bytes > r->bytes - (address - r->base)) {
    r = block.memory->find(address, bytes);
    if (!r) {
      fail(Fault::memory, i, w, lane,
           std::string(write ? "store" : "load") + " of " + std::to_string(bytes) +
               " bytes: " + block.memory->describe(address));
    }
    w.recent = r;
  }
  if (write && !r->writable) fail(Fault::memory, i, w, lane, "store to memory that may only be read");
  return r->host + (address - r->base);
}

// The same where nothing is wrong, for the places that are asked for most: shared memory and the allocation used last.
inline u8* place(const Instruction& i, Warp& w, int lane, u64 address, u32 bytes, bool write) {
  if ((address & (bytes - 1)) == 0) {  // a power of two
    if (i.space == Space::shared) {
      if (const u64 at = static_cast<u32>(address); at + bytes <= w.block->shared.size())
        return w.block->shared.data() + at;
    } else if (i.space == Space::global || i.space == Space::generic) {
      const Region* const r = w.recent;
      if (r && (r->writable || !write) && address - r->base <= r->bytes && bytes <= r->bytes - (address - r->base))
        return r->host + (address - r->base);
    }
  }
  return resolve(i, w, lane, i.space, address, bytes, write);
}

template <class T>
void load(const Instruction& i, Warp& w, u32 lanes) {
  const u32 bytes = static_cast<u32>(sizeof(T)) * i.vector;
  // A parameter is the same for all.
  const u8* const parameter =
      i.space == Space::param && i.address[0].base.slot < 0
          ? place(i, w, std::countr_zero(lanes), static_cast<u64>(i.address[0].offset), bytes, false)
          : nullptr;
  each_lane(lanes, [&](int l) {
    const u8* from = parameter ? parameter : place(i, w, l, address_of(i.address[0], w, l), bytes, false);
    for (int k = 0; k < i.vector; ++k) {
      T value;
      std::memcpy(&value, from + sizeof(T) * static_cast<std::size_t>(k), sizeof(T));
      set_wide(w, i.op[k], l, static_cast<u64>(static_cast<std::int64_t>(value)));
    }
  });
}
template <class T>
void store(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) {
    const u32 bytes = static_cast<u32>(sizeof(T)) * i.vector;
    u8* to = place(i, w, l, address_of(i.address[0], w, l), bytes, true);
    for (int k = 0; k < i.vector; ++k) {
      const T value = static_cast<T>(wide(w, i.op[k], l));
      std::memcpy(to + sizeof(T) * static_cast<std::size_t>(k), &value, sizeof(T));
    }
  });
}

// Lane by lane, in ascending order, which is one of those that the machine may take. d, [a], b: d is what was there.
template <class T, T (*F)(T, T), bool result>
void atomic(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) {
    u8* at = resolve(i, w, l, i.space, address_of(i.address[0], w, l), sizeof(T), true);
    T before;
    std::memcpy(&before, at, sizeof before);
    const T after = F(before, from_slot<T>(static_cast<Slot<T>>(wide(w, i.op[result ? 1 : 0], l))));
    std::memcpy(at, &after, sizeof after);
    if (result) set_wide(w, i.op[0], l, to_slot<T>(before));
  });
}
template <class T>
T sum(T a, T b) {
  return static_cast<T>(a + b);
}
template <class T>
T larger(T a, T b) {
  return a > b ? a : b;
}
template <class T>
T smaller(T a, T b) {
  return a < b ? a : b;
}
#define OCTAVO_ATOMIC(letter, big, op, T, F, types)                                          \
  {"atom.{global,shared}." op "." types, big "A" letter, atomic<T, F<T>, true>, "atomic"}, { \
    "red.{global,shared}." op "." types, "A" letter, atomic<T, F<T>, false>, "atomic"        \
  }

// [shared], [global], size, how many bytes of it are copied; the others become zero.
void copy(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) {
    const u32 bytes = static_cast<u32>(wide(w, i.op[0], l));
    const u32 valid = i.op[1].slot >= 0 ? static_cast<u32>(wide(w, i.op[1], l)) : bytes;
    if (bytes != 4 && bytes != 8 && bytes != 16) fail(Fault::memory, i, w, l, "cp.async copies 4, 8 or 16 bytes");
    if (valid > bytes) fail(Fault::memory, i, w, l, "cp.async: more bytes are valid than are copied");
    const u64 source = address_of(i.address[1], w, l);
    if (source % bytes) fail(Fault::memory, i, w, l, "misaligned: cp.async of " + std::to_string(bytes) + " bytes");
    if (valid) resolve(i, w, l, Space::global, source, valid == bytes ? bytes : 1, false);
    const u8* to = resolve(i, w, l, Space::shared, address_of(i.address[0], w, l), bytes, true);
    w.copies[l].push_back(
        {source, static_cast<u32>(to - w.block->shared.data()), bytes, valid, w.open_group[l], i.line});
  });
}
void commit(const Instruction&, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) { ++w.open_group[l]; });
}

void land(const Instruction& i, Warp& w, int l, u32 before_group) {
  auto& copies = w.copies[l];
  std::size_t kept = 0;
  for (const PendingCopy& c : copies) {
    if (c.group >= before_group) {
      copies[kept++] = c;
      continue;
    }
    u8* to = w.block->shared.data() + c.shared_offset;
    std::memset(to, 0, c.bytes);
    if (c.valid == 0) continue;
    const u8* from = w.block->memory->host(c.source, c.valid);
    if (!from) fail(Fault::memory, i, w, l, "a cp.async reads outside of its allocation");
    std::memcpy(to, from, c.valid);
  }
  copies.resize(kept);
}
void wait_group(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) {
    const u32 may_remain = static_cast<u32>(wide(w, i.op[0], l));
    if (w.open_group[l] > may_remain) land(i, w, l, w.open_group[l] - may_remain);
  });
}
void wait_all(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) { land(i, w, l, ++w.open_group[l]); });
}

#define OCTAVO_ACCESS(T, types)                                                                         \
  {"ld.{global,shared,local,param,const,global.nc}.{,v2.,v4.}" types, "VA", load<T>, "load and store"}, \
      {"ld.{,v2.,v4.}" types, "VA", load<T>, "load and store"},                                         \
      {"st.{global,shared,local}.{,v2.,v4.}" types, "Av", store<T>, "load and store"}, {                \
    "st.{,v2.,v4.}" types, "Av", store<T>, "load and store"                                             \
  }
#define OCTAVO_ACCESS_WIDE(T, types)                                                                \
  {"ld.{global,shared,local,param,const,global.nc}.{,v2.}" types, "VA", load<T>, "load and store"}, \
      {"ld.{,v2.}" types, "VA", load<T>, "load and store"},                                         \
      {"st.{global,shared,local}.{,v2.}" types, "Av", store<T>, "load and store"}, {                \
    "st.{,v2.}" types, "Av", store<T>, "load and store"                                             \
  }

const Row rows[] = {
    OCTAVO_ACCESS(u8, "{u8,b8}"),
    OCTAVO_ACCESS(std::int8_t, "s8"),
    OCTAVO_ACCESS(std::uint16_t, "{u16,b16}"),
    OCTAVO_ACCESS(std::int16_t, "s16"),
    OCTAVO_ACCESS(u32, "{u32,b32,f32}"),
    OCTAVO_ACCESS(std::int32_t, "s32"),
    OCTAVO_ACCESS_WIDE(u64, "{u64,b64,f64,s64}"),
    OCTAVO_ATOMIC("w", "W", "add", u32, sum, "{u32,s32}"),
    OCTAVO_ATOMIC("d", "D", "add", u64, sum, "u64"),
    OCTAVO_ATOMIC("w", "W", "max", u32, larger, "u32"),
    OCTAVO_ATOMIC("w", "W", "max", std::int32_t, larger, "s32"),
    OCTAVO_ATOMIC("w", "W", "min", u32, smaller, "u32"),
    OCTAVO_ATOMIC("w", "W", "min", std::int32_t, smaller, "s32"),
    {"cp.async.cg.shared.global", "AAI?w", copy, "cp.async"},
    {"cp.async.ca.shared.global", "AAI?w", copy, "cp.async"},
    {"cp.async.commit_group", "", commit, "cp.async"},
    {"cp.async.wait_group", "I", wait_group, "cp.async"},
    {"cp.async.wait_all", "", wait_all, "cp.async"},
};

#undef OCTAVO_ATOMIC
#undef OCTAVO_ACCESS
#undef OCTAVO_ACCESS_WIDE

}  // namespace

std::span<const Row> memory_rows() { return rows; }

}  // namespace octavo::ptx

// mov, alone and between a register and its parts, and cvta: addresses of one space as generic ones and back.
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

// i.vector destinations, then sources.
void move(const Instruction& i, Warp& w, u32 lanes) {
  const int outs = i.vector, ins = i.count - outs;
  if (outs == 1 && ins == 1) {
    if (lanes == all_lanes && i.op[0].width == i.op[1].width) {
      std::memcpy(w.file + i.op[0].slot, w.file + i.op[1].slot, warp_lanes * (i.op[0].width == 8 ? 8 : 4));
    } else {
      each_lane(lanes, [&](int l) { set_wide(w, i.op[0], l, wide(w, i.op[1], l)); });
    }
    return;
  }
  each_lane(lanes, [&](int l) {
    u64 value = 0;
    int at = 0;
    for (int k = 0; k < ins; ++k) {
      const Operand& in = i.op[outs + k];
      const u64 part = wide(w, in, l);
      value |= (in.width == 8 ? part : part & ((u64(1) << (8 * in.width)) - 1)) << at;
      at += 8 * in.width;
    }
    for (int k = 0; k < outs; ++k) {
      set_wide(w, i.op[k], l, value);
      value = i.op[k].width == 8 ? 0 : value >> (8 * i.op[k].width);
    }
  });
}

template <u64 window>
void to_generic(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) { set_wide(w, i.op[0], l, wide(w, i.op[1], l) + window); });
}
template <u64 window>
void to_space(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) {
    const u64 address = wide(w, i.op[1], l);
    if ((address & window_mask) != window)
      fail(Fault::memory, i, w, l, "cvta.to: the address is not one of this space");
    set_wide(w, i.op[0], l, address - window);
  });
}
void same(const Instruction& i, Warp& w, u32 lanes) {
  each_lane(lanes, [&](int l) { set_wide(w, i.op[0], l, wide(w, i.op[1], l)); });
}

const Row rows[] = {
    {"mov.{b16,u16,s16,b32,u32,s32,f32,b64,u64,s64,f64}", "Xx", move, "move"},
    lanes<[](bool a) { return a; }>("mov.pred", "move predicate"),
    {"cvta.global.u64", "Dd", same, "address"},
    {"cvta.to.global.u64", "Dd", same, "address"},
    {"cvta.shared.u64", "Dd", to_generic<shared_window>, "address"},
    {"cvta.to.shared.u64", "Dd", to_space<shared_window>, "address"},
    {"cvta.local.u64", "Dd", to_generic<local_window>, "address"},
    {"cvta.to.local.u64", "Dd", to_space<local_window>, "address"},
    {"cvta.param.u64", "Dd", to_generic<param_window>, "address"},
};

}  // namespace

std::span<const Row> move_rows() { return rows; }

}  // namespace octavo::ptx

// What lanes of a warp tell each other: shfl and vote. The loop that runs a warp has brought all members here.
#include "ptx/warp.h"

namespace octavo::ptx {

namespace {

enum class Mode { up, down, bfly, idx };

// d|p, a, b, c, members. c: bits 0-4 bound the lane, bits 8-12 divide the warp into segments. (PTX ISA, shfl.sync.)
template <Mode mode>
void shuffle(const Instruction& i, Warp& w, u32 lanes) {
  u32 values[warp_lanes];
  std::memcpy(values, w.file + i.op[2].slot, sizeof values);
  u32 in_range = 0;
  each_lane(lanes, [&](int l) {
    const int b = static_cast<int>(wide(w, i.op[3], l)) & 31;
    const u32 c = static_cast<u32>(wide(w, i.op[4], l));
    const int bound = static_cast<int>(c & 31), segment = static_cast<int>((c >> 8) & 31);
    const int last = (l & segment) | (bound & ~segment), first = l & segment;
    int from = l;
    bool inside = true;
    switch (mode) {
      case Mode::up:
        from = l - b, inside = from >= last;
        break;
      case Mode::down:
        from = l + b, inside = from <= last;
        break;
      case Mode::bfly:
        from = l ^ b, inside = from <= last;
        break;
      case Mode::idx:
        from = first | (b & ~segment), inside = from <= last;
        break;
    }
    if (!inside) from = l;
    if (!((lanes >> from) & 1))
      fail(Fault::divergence, i, w, l, "shfl reads lane " + std::to_string(from) + ", which is not here");
    if (i.op[0].slot >= 0) w.file[i.op[0].slot + l] = values[from];
    in_range |= static_cast<u32>(inside) << l;
  });
  set_predicate(w, i.op[1], lanes, in_range);
}

// Source predicate: operand 1; members: operand 2.
void ballot(const Instruction& i, Warp& w, u32 lanes) {
  const u32 said = predicate(w, i.op[1]) & lanes;
  each_lane(lanes, [&](int l) { set_wide(w, i.op[0], l, said); });
}
void any(const Instruction& i, Warp& w, u32 lanes) {
  set_predicate(w, i.op[0], lanes, predicate(w, i.op[1]) & lanes ? lanes : 0);
}
void all(const Instruction& i, Warp& w, u32 lanes) {
  set_predicate(w, i.op[0], lanes, (predicate(w, i.op[1]) & lanes) == lanes ? lanes : 0);
}
void nothing(const Instruction&, Warp&, u32) {}

const Row rows[] = {
    {"shfl.sync.up.b32", "WQwwww", shuffle<Mode::up>, "shfl", Flow::members, 5},
    {"shfl.sync.down.b32", "WQwwww", shuffle<Mode::down>, "shfl", Flow::members, 5},
    {"shfl.sync.bfly.b32", "WQwwww", shuffle<Mode::bfly>, "shfl", Flow::members, 5},
    {"shfl.sync.idx.b32", "WQwwww", shuffle<Mode::idx>, "shfl", Flow::members, 5},
    {"vote.sync.ballot.b32", "Wpw", ballot, "vote", Flow::members, 2},
    {"vote.sync.any.pred", "Ppw", any, "vote", Flow::members, 2},
    {"vote.sync.all.pred", "Ppw", all, "vote", Flow::members, 2},
    {"bar.warp.sync", "w", nothing, "control", Flow::members, 0},
};
const Row control[] = {
    {"bra{,.uni}", "L", nothing, "control", Flow::branch},
    {"ret", "", nothing, "control", Flow::exit},
    {"exit", "", nothing, "control", Flow::exit},
    {"bar.sync", "w?w", nothing, "barrier", Flow::barrier},
    {"bar.arrive", "ww", nothing, "barrier", Flow::arrive},
    {"membar.{cta,gl}", "", nothing, "control"},
    {"fence.{acq_rel,sc}.{cta,gpu}", "", nothing, "control"},
    {"trap", "", nothing, "trap", Flow::trap},
};

}  // namespace

std::span<const Row> warp_rows() { return rows; }
std::span<const Row> control_rows() { return control; }

}  // namespace octavo::ptx

#include "cpu/linear/activations.h"

#include <algorithm>
#include <cstring>

#include "cpu/linear/packed.h"

namespace octavo::cpu {

namespace {

// Up to this many elements (a gated one counts as four) every thread quantises for itself.
constexpr std::int64_t own_quantise_elements = 8192;
constexpr std::size_t words_per_line = 8;
constexpr int quantise_run_groups = 16;  // 16 groups x 44 bytes are whole cache lines: threads never write the same one

// What a format wants of the halves of a group in place of the correction and sa of all of it (kernels.h): put writes
// it to both, from da and the sums of the halves' q.
template <class Put>
void split_halves(std::uint8_t* panel, int tokens, int begin, int end, Put&& put) {
  for (int g = begin; g < end; ++g) {
    std::uint8_t* const block = panel + static_cast<std::size_t>(g) * tokens * panel_token_bytes;
    for (int t = 0; t < tokens; ++t) {
      const std::int8_t* const q = reinterpret_cast<const std::int8_t*>(block) + t * group_size;
      std::uint8_t* const tail = block + tokens * group_size + 4 * t;
      float d;
      std::memcpy(&d, tail + 4 * tokens, 4);
      int sums[2] = {0, 0};
      for (int i = 0; i < group_size; ++i) sums[i / 16] += q[i];
      put(tail, tail + 8 * tokens, d, sums);
    }
  }
}
template <class T>
void put_both(std::uint8_t* first, std::uint8_t* second, T a, T b) {
  static_assert(sizeof(T) == 4);
  std::memcpy(first, &a, 4);
  std::memcpy(second, &b, 4);
}

// Matrix registers may load, and not use, one group more than an odd number of them (linear_amx.inc).
std::size_t loaded_beyond(const Panels& panels) { return panels.matrix() ? matrix_panel * panel_token_bytes : 0; }

}  // namespace

int operand_offset(const Kernels& kernels, Format format) {
  switch (format) {
    case Format::q4_0: return 8;
    case Format::q8_0:
    case Format::q3_k: return kernels.q8_offset;
    default: return has_value_table(format) ? kernels.q8_offset : packed_offset(format);
  }
}

Activations::Activations(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
                         const Panels& panels, const LinearInput& in)
    : kernels_(kernels),
      scratch_(scratch),
      panels_(panels),
      in_(in),
      k_(static_cast<int>(weight.k)),
      format_(weight.format),
      bytes_((token_bytes() * static_cast<std::size_t>(panels.rooms()) + loaded_beyond(panels) + 63) / 64 * 64) {
  const std::int64_t work = static_cast<std::int64_t>(panels.tokens) * k_ * (in.kind == InputKind::gated ? 4 : 1);
  const std::size_t threads = static_cast<std::size_t>(team.threads);
  each_its_own_ = threads > 1 && work <= own_quantise_elements;
  if (each_its_own_) {
    base_ = static_cast<std::uint8_t*>(scratch.own.at_least(bytes_ * threads));
    if (scratch.owner.size() < threads * words_per_line) scratch.owner.resize(threads * words_per_line);
    ++scratch.calls;
    return;
  }
  base_ = static_cast<std::uint8_t*>(scratch.panels.at_least(bytes_));
  if (panels.count > 1) {
    team.tiles(panels.count, [&](int begin, int end, int) {
      for (int p = begin; p < end; ++p) make(base_, p, 0, groups());
    });
    return;
  }
  // One panel is cut along K, at whole cache lines: threads never write the same one.
  const int runs = std::clamp(groups() / quantise_run_groups, 1, team.threads);
  const auto cut = [&](int i) {
    return i == runs ? groups() : groups() * i / runs / quantise_run_groups * quantise_run_groups;
  };
  team.tiles(runs, [&](int begin, int end, int) { make(base_, 0, cut(begin), cut(end)); });
}

Activations::Activations(const Kernels& kernels, LinearScratch& scratch, Scratch& memory, const CpuWeight& weight,
                         const Panels& panels)
    : kernels_(kernels),
      scratch_(scratch),
      panels_(panels),
      in_(nullptr),
      k_(static_cast<int>(weight.k)),
      format_(weight.format),
      bytes_(token_bytes() * static_cast<std::size_t>(panels.rooms()) + loaded_beyond(panels)),
      each_its_own_(false),
      base_(static_cast<std::uint8_t*>(memory.at_least(bytes_))) {}

const std::uint8_t* Activations::of(int thread) const {
  if (!each_its_own_) return base_;
  std::uint8_t* const own = base_ + bytes_ * static_cast<std::size_t>(thread);
  std::int64_t& owner = scratch_.owner[static_cast<std::size_t>(thread) * words_per_line];
  if (owner == scratch_.calls) return own;
  for (int p = 0; p < panels_.count; ++p) make(own, p, 0, groups());
  owner = scratch_.calls;
  return own;
}

void Activations::make(std::uint8_t* base, int panel, int begin, int end) const {
  const int first = panels_.begin(panel), tokens = panels_.size(panel);
  float scale[max_panel_tokens];
  PanelInput input{in_, k_, tokens, panels_.room(panel), scale};
  input.in.x += static_cast<std::size_t>(first) * input.ld();
  if (in_.kind == InputKind::normed)
    for (int t = 0; t < tokens; ++t)
      scale[t] = kernels_.norm_scale(input.in.x + static_cast<std::size_t>(t) * input.ld(), in_.eps, k_);
  quantise(input, base + offset(first), begin, end);
}

void Activations::put_gated(int panel, int group, const float* gate_up, Activation act) const {
  const int room = panels_.room(panel);
  std::uint8_t* const block =
      base_ + offset(panels_.begin(panel)) + static_cast<std::size_t>(group) * room * panel_token_bytes;
  quantise({LinearInput::gated(gate_up, act), group_size, panels_.size(panel), room, nullptr}, block, 0, 1);
}

void Activations::quantise(const PanelInput& input, std::uint8_t* panel, int begin, int end) const {
  const int offset_of_codes = operand_offset(kernels_, format_);
  kernels_.quantise(input, panel, begin, end, offset_of_codes);
  const auto split = [&](auto&& put) { split_halves(panel, input.room, begin, end, put); };
  if (has_two_dots(format_) && !panels_.matrix())
    split([&](std::uint8_t* first, std::uint8_t* second, float, const int (&sums)[2]) {
      put_both(first, second, -offset_of_codes * sums[0], -offset_of_codes * sums[1]);
    });
  if (has_two_minima(format_))
    split([](std::uint8_t* first, std::uint8_t* second, float d, const int (&sums)[2]) {
      put_both(first, second, d * static_cast<float>(sums[0]), d * static_cast<float>(sums[1]));
    });
  if (format_ == Format::q3_k && !panels_.matrix())
    split([](std::uint8_t*, std::uint8_t* second, float, const int (&sums)[2]) {
      const std::int16_t both[2] = {static_cast<std::int16_t>(-4 * sums[0]), static_cast<std::int16_t>(-4 * sums[1])};
      std::memcpy(second, both, 4);
    });
}

}  // namespace octavo::cpu

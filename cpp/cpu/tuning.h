// What differs from one CPU to the next although the instruction set is the same, found out by a measurement of some
// milliseconds on the weights of a model: whether the next tile of a weight is fetched ahead of its use, and from how many
// tokens on matrix registers pay. Software prefetch that is free on one CPU costs a third of the bandwidth on another,
// and without it a third one waits for memory. Results never depend on it.
#pragma once
#include <limits>
#include <span>

#include "backend.h"
#include "cpu/linear/activations.h"
#include "cpu/isa/kernels.h"
#include "cpu/threads/team.h"

namespace octavo::cpu {

// What holds before anything is known of the weights.
inline Tuning usual_tuning(const Kernels& kernels) {
  Tuning tuning;
  tuning.matrix_from_tokens = std::numeric_limits<int>::max();
  if (kernels.matrix == nullptr) return tuning;
  // A CPU that has them waits for memory without: all formats are 1.2 to 1.6 times as fast with, at 1 token and at 4.
  tuning.prefetch_from_tokens = 1;
  // More than two panels of vectors: up to that, they are as fast.
  tuning.matrix_from_tokens = 13;
  return tuning;
}

// Measured once for an instruction set, a number of threads and the shapes of the weights, then remembered by the
// process. The caller has the turn on the pool. Weights that caches hold are not worth a measurement.
Tuning tuned(const Kernels& kernels, const Team& team, std::span<const Weight* const> weights);

}  // namespace octavo::cpu

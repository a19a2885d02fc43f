// linear over threads: activations are quantised into panels once, then tiles of 32 output rows x blocks of tokens are
// claimed.
#pragma once
#include "cpu/activations.h"
#include "cpu/kernels.h"
#include "cpu/team.h"
#include "cpu/weight.h"

namespace octavo::cpu {

struct LinearCall {
  float* out;  // [tokens, out_ld]
  int out_ld;
  LinearInput in;
  const float* bias;  // [N] or null
  int tokens;
  bool add;
};

void linear(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight, const LinearCall& call);

}  // namespace octavo::cpu

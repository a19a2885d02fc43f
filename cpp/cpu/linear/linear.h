// linear over threads: activations are quantised into panels once, then tiles of 32 output rows x blocks of tokens are
// claimed.
#pragma once
#include "cpu/linear/activations.h"
#include "cpu/isa/kernels.h"
#include "cpu/threads/team.h"
#include "cpu/linear/weight.h"

namespace octavo::cpu {

struct LinearCall {
  float* out;  // [tokens, out_ld]
  int out_ld;
  LinearInput in;
  const float* bias;  // [N] or null
  int tokens;
  bool add;
};

void linear(const Kernels& kernels, const Team& team, LinearScratch& scratch, const CpuWeight& weight,
            const LinearCall& call);

struct FeedForwardCall {
  float* out;  // [tokens, N of down]
  LinearInput in;
  const CpuWeight& gate_up;
  const float* gate_up_bias;
  const CpuWeight& down;
  const float* down_bias;
  Activation act;
  int tokens;
};

// out += down(act(gate) * up). A thread that has computed a tile of gates computes the same rows of ups, gates and
// quantises them while they are in its L1 cache: what threads hand each other is a tenth of the floats, and needs no
// operation of its own. False, and nothing done, where a weight is not quantised, or for few tokens where gates and ups
// lie apart.
bool feed_forward(const Kernels& kernels, const Team& team, LinearScratch& scratch, const FeedForwardCall& call);

}  // namespace octavo::cpu

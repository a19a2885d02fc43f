// Parameters of the kernels that test the emulator (emulator_kernels.cu).
#pragma once

struct ProbeParams {
  const unsigned* in;  // as the kernel says
  unsigned* out;
  int count, flag;
};

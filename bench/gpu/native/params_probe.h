// What the kernels of probe.cu are given.
#pragma once

struct ProbeParams {
  unsigned* out;
  const unsigned* in;
  long long count;  // of elements, or of tiles a warp
  unsigned seed;
};

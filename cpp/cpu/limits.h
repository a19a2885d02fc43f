// Measured limits of this machine, so that every speed can be given as a share of what is possible here and now:
// virtual machines move between hosts, so limits belong beside the figures they are compared with.
#pragma once

namespace octavo {

struct MachineLimits {
  double read_bytes_per_second;  // sequential DRAM reads
  double int8_ops_per_second;    // int8 multiply-adds (2 per pair) with the widest vectors, registers only
  double matrix_ops_per_second;  // the same on matrix registers; 0 where there are none
  double fma_ops_per_second;     // f32 fused multiply-adds (2 each), likewise
  double barrier_seconds;        // median of an empty parallel operation
};

// Takes about a third of a second and 512 MiB for its duration. Throws invalid_argument, out_of_memory.
MachineLimits measure_limits(int threads);

}  // namespace octavo

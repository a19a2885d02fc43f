// The parts of a run; each prints what it finds and returns an exit status. run.sh calls them in order.
#pragma once

namespace octavo::bench {

int run_conformance();                          // the GPU against its manual
int run_equality(int argc, const char** argv);  // operations against cpp/cpu/reference; the arguments are doctest's
int run_shapes();                               // operations of an 8B model's sizes against the CPU's kernels
int run_limits();                               // what the device is, what kernels need of it, what its memory gives
int run_kernels();                              // how fast operations are
int run_model();                                // a whole model: the CPU's tokens, and its speed
int run_goals();                                // figures.tsv beside what was hoped for

}  // namespace octavo::bench

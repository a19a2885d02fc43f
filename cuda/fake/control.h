// How tests steer the driver of our own: symbols that libcuda.so.1 has besides NVIDIA's, and the environment.
//
// OCTAVO_FAKE_CUDA, and octavo_fake_configure, take settings with blanks between:
//   devices=1 capability=9.0 memory=85899345920 name=Fake_H100 multiprocessors=8 driver=13000
//   fail=K:E      call K from now on (1 is the next one) fails with error E; one that gives back still does
//   lost=K        from call K on everything fails with CUDA_ERROR_LAUNCH_FAILED: the card has fallen off its bus
//   rules=abort   a broken rule of the API ends the process, with a message (default); record: it is kept and counted
//   report=FILE   where to write, as JSON, what octavo_fake_read says when the process ends
//   control=FILE  once FILE is there, the next call begins by taking settings from it and removing it; these, too:
//   reset         as octavo_fake_reset
//   tell          writes the report now
//   wrong=NAME    kernels whose name begins so compute wrongly: of the first word that a launch changes, the lowest bit
//                 is the other one
//   order=N       warps take turns in an order drawn from N; 0: ascending
// A call that breaks a rule still returns the error that the real driver would, where it would return one.
#pragma once
#include <cstdint>

extern "C" {

typedef struct octavo_fake_report {
  std::uint64_t calls;                   // counted ones since the beginning or the last reset
  std::uint64_t live_objects;            // contexts, modules, streams, events, graphs that have not been given back
  std::uint64_t live_device, live_host;  // allocations
  std::uint64_t allocations;             // ever made, of both
  std::uint64_t waiting;                 // pieces of work in streams, not yet done
  std::uint64_t device_bytes;
  std::uint64_t broken_rules;
  std::uint64_t launches, instructions, inexact_sums;
  std::uint64_t failed_kernels;  // that left their memory, or could not go on
  char message[512];             // the last broken rule or failed kernel
} octavo_fake_report;

void octavo_fake_configure(const char* settings);
void octavo_fake_read(octavo_fake_report* out);
// Forgets errors, counts and settings for failures; what is alive stays.
void octavo_fake_reset(void);
}

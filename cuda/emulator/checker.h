// The happens-before checker: what is wrong although this schedule's result is right. It sees every access of a kernel
// that was compiled with -fsanitize=thread (hooks.cpp) and keeps, for every byte of the device's memory, who wrote and
// who read it last and at which time of that thread's clock. Threads learn of each other's times where they meet: at
// barriers, and at __syncwarp. An access that the last one does not happen before is a race, whatever the
// order was in which the two ran.
//
// (The form of FastTrack, Flanagan and Freund 2009: a time is one number until several threads have read a byte.)
//
// Findings: race-write-write, race-read-write, race-write-read, race-blocks, copy-in-flight (an access to bytes whose
// asynchronous copy was not waited for), uninitialised, out-of-bounds, misaligned, host-pointer.
//
// A thread's own copies land at its wait; others may touch them once they have met that thread after it.
#pragma once
#include <cstddef>
#include <vector>

namespace octavo::shim {

// Nothing of this does anything in a build without hooks.
void begin_checked_launch();
void begin_checked_block(int threads);
// Threads `to` learn what threads `from` know; both as numbers in the block.
void join_clocks(const std::vector<int>& from, const std::vector<int>& to);

void make_live(char* begin, std::size_t bytes);
void forget(char* begin, std::size_t bytes);

void check_access(const char* address, std::size_t bytes, bool write, const void* site);
void check_atomic(char* address, std::size_t bytes, const void* site);
void check_copy(char* shared, const char* global, std::size_t bytes, std::size_t source_bytes, const void* site);
void copy_landed(char* shared, std::size_t bytes, int thread);
// A row of 16 bytes that ldmatrix reads at the running lane's address.
void check_matrix_row(const char* row, const void* site);

}  // namespace octavo::shim

// Schedules that a test runs a kernel in: seeds of the order of threads, and when asynchronous copies land.
#pragma once
#include <iterator>

#include "emulator/runtime.h"
#include "tests/compare.h"

namespace octavo::testing {

inline constexpr shim::Options schedules[] = {
    {0, shim::Landing::late},   {1, shim::Landing::early},  {2, shim::Landing::random}, {3, shim::Landing::late},
    {0, shim::Landing::early},  {4, shim::Landing::random}, {5, shim::Landing::late},   {6, shim::Landing::early},
    {7, shim::Landing::random}, {8, shim::Landing::late},   {9, shim::Landing::early},  {10, shim::Landing::random}};

// Twelve with OCTAVO_DEEP=1, else the first three.
inline std::size_t schedule_count() { return deep() ? std::size(schedules) : 3; }

template <class Body>
void for_each_schedule(Body body) {
  for (std::size_t i = 0; i < schedule_count(); ++i) {
    shim::options() = schedules[i];
    body();
  }
  shim::options() = {};
}

}  // namespace octavo::testing

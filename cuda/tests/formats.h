// Which weight formats a test takes.
#pragma once
#include <cstdlib>
#include <string>
#include <vector>

#include "backend.h"
#include "files/quant.h"

namespace octavo::testing {

// Of these formats those that OCTAVO_FORMATS names (a list with commas; all of them where it is not set): planted
// faults are compiled into the kernels of a few formats only.
inline std::vector<Format> chosen(const std::vector<Format>& formats) {
  const char* const names = std::getenv("OCTAVO_FORMATS");
  if (names == nullptr) return formats;
  const std::string list = "," + std::string(names) + ",";
  std::vector<Format> all;
  for (const Format format : formats)
    if (list.find("," + std::string(traits(format).name) + ",") != std::string::npos) all.push_back(format);
  return all;
}

}  // namespace octavo::testing

// What a run says: figures by name, appended to figures.tsv in the folder for results, and the way it stops. Nothing after
// the first difference is worth the card's time, so a difference ends the program with status 1.
#pragma once
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace octavo::bench {

struct Options {
  std::string out = ".";  // the folder for results
  bool tiny = false;      // sizes for the interpreter: everything is run, nothing that comes out is a measurement
};
extern Options options;

[[noreturn]] void fail(const std::string& what);
// Of the running program.
std::string program_folder();

void figure(const std::string& name, double value, const char* unit);
// Of an earlier part of the run; 0: there is none.
double known_figure(const std::string& name);
// A line for people: "equal: ...".
void say(const std::string& line);

// Of five runs, after one that is not counted.
template <class F>
double median_seconds(F run) {
  std::vector<double> seconds;
  for (int k = 0; k < (options.tiny ? 2 : 6); ++k) {
    const auto start = std::chrono::steady_clock::now();
    run();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin() + 1, seconds.end());
  return seconds[1 + (seconds.size() - 1) / 2];
}

}  // namespace octavo::bench

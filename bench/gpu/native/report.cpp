// See report.h.
#include "report.h"

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <unistd.h>

namespace octavo::bench {

Options options;

void fail(const std::string& what) {
  std::fflush(stdout);
  std::fprintf(stderr, "octavo_gpu_bench: %s\n", what.c_str());
  std::exit(1);
}

std::string program_folder() {
  char path[PATH_MAX] = {};
  if (readlink("/proc/self/exe", path, sizeof path - 1) < 0) fail("/proc/self/exe cannot be read");
  const std::string name = path;
  return name.substr(0, name.rfind('/'));
}

void figure(const std::string& name, double value, const char* unit) {
  const std::string path = options.out + "/figures.tsv";
  std::FILE* const file = std::fopen(path.c_str(), "a");
  if (!file) fail(path + " cannot be written");
  std::fprintf(file, "%s\t%.6g\t%s\n", name.c_str(), value, unit);
  std::fclose(file);
  std::printf("  %-52s %12.5g %s\n", name.c_str(), value, unit);
  std::fflush(stdout);
}
double known_figure(const std::string& name) {
  std::ifstream in(options.out + "/figures.tsv");
  double value = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, name.size() + 1, name + "\t") == 0) value = std::strtod(line.c_str() + name.size(), nullptr);
  }
  return value;
}
void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

}  // namespace octavo::bench

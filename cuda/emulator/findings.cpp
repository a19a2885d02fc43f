// What was found, and where in the source: addresses are told apart by addr2line, whose inlined frames lead out of the
// emulator's own headers.
#include <unistd.h>
#include <cstdarg>
#include <cstdio>
#include <set>
#include <tuple>
#include <unordered_map>

#include "emulator/block.h"

extern "C" char __executable_start;

namespace octavo::shim {

namespace {

constexpr std::size_t most_findings = 64;
std::vector<Finding> found;
std::set<std::tuple<std::string, const void*, const void*>> seen;

bool is_own_header(const std::string& line) {
  for (const char* own : {"shim.h", "device.cuh", "device_ptx", "??"})
    if (line.compare(0, std::char_traits<char>::length(own), own) == 0) return true;
  return false;
}

std::string look_up(const void* site) {
  char program[512];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  program[length > 0 ? length : 0] = 0;
  char command[700];
  const std::ptrdiff_t offset = static_cast<const char*>(site) - &__executable_start - 1;
  std::snprintf(command, sizeof(command), "addr2line -i -s -e '%s' %#tx 2>/dev/null", program, offset);
  std::FILE* const pipe = popen(command, "r");
  if (pipe == nullptr) return "?";
  std::string best;
  char text[256];
  while (std::fgets(text, sizeof(text), pipe) != nullptr) {
    std::string line = text;
    line.resize(std::min(line.size(), line.find_first_of(" \n")));
    if (best.empty()) best = line;
    if (is_own_header(line)) continue;
    best = line;
    break;
  }
  pclose(pipe);
  return best;
}

}  // namespace

Options& options() {
  static Options all;
  return all;
}
Counters& counters() {
  static Counters all;
  return all;
}
const std::vector<Finding>& findings() { return found; }
void clear_findings() {
  found.clear();
  seen.clear();
}

std::string source_line(const void* site) {
  static std::unordered_map<const void*, std::string> known;
  const auto it = known.find(site);
  return it != known.end() ? it->second : known[site] = look_up(site);
}

void report(const char* kind, const void* site, const void* other, const char* format, ...) {
  if (found.size() >= most_findings || !seen.insert({kind, site, other}).second) return;
  char text[800];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  char where[200] = "";
  if (running != nullptr)
    std::snprintf(where, sizeof(where), " [%s, block %u,%u,%u, thread %d]", block.kernel->name, block.index.x,
                  block.index.y, block.index.z, running->thread);
  found.push_back({kind, std::string(text) + where});
}

}  // namespace octavo::shim

#include "emulator/traffic.h"

#include <algorithm>
#include <map>
#include <utility>

#include "emulator/block.h"
#include "emulator/memory.h"

namespace octavo::shim {

namespace {

constexpr std::uint64_t sector_bytes = 32, banks = 32, word_bytes = 4;
constexpr std::ptrdiff_t joined_code_bytes = 160;  // between the parts of one access, at most

// Sectors that the lanes touch.
std::uint64_t count_sectors(const std::vector<LoggedAccess>& lanes) {
  static std::vector<std::uint64_t> sectors;
  sectors.clear();
  for (const LoggedAccess& a : lanes)
    for (std::uint64_t s = a.address / sector_bytes; s <= (a.address + a.bytes - 1) / sector_bytes; ++s)
      sectors.push_back(s);
  std::sort(sectors.begin(), sectors.end());
  return static_cast<std::uint64_t>(std::unique(sectors.begin(), sectors.end()) - sectors.begin());
}

// Wavefronts of lanes that are served together: the most words that one bank has to give.
std::uint64_t count_wavefronts(std::vector<LoggedAccess>::const_iterator first,
                               std::vector<LoggedAccess>::const_iterator last) {
  static std::vector<std::uint64_t> words;
  words.clear();
  for (; first != last; ++first)
    for (std::uint64_t w = first->address / word_bytes; w <= (first->address + first->bytes - 1) / word_bytes; ++w)
      words.push_back(w);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::uint64_t of_bank[banks] = {};
  for (const std::uint64_t w : words) ++of_bank[w % banks];
  return *std::max_element(of_bank, of_bank + banks);
}

// One instruction of a warp.
void count_request(const std::vector<LoggedAccess>& lanes, Traffic& traffic) {
  if (lanes.empty()) return;
  const LoggedAccess& one = lanes.front();
  if (!one.shared) {
    GlobalTraffic& t = one.write ? traffic.stores : traffic.loads;
    ++t.requests;
    t.sectors += count_sectors(lanes);
    for (const LoggedAccess& a : lanes) t.bytes += a.bytes;
    return;
  }
  SharedTraffic& t = traffic.shared;
  const std::size_t together = one.bytes <= 4 ? 32 : one.bytes <= 8 ? 16 : 8;
  ++t.requests;
  for (std::size_t i = 0; i < lanes.size(); i += together) {
    const auto first = lanes.begin() + static_cast<std::ptrdiff_t>(i);
    t.wavefronts += count_wavefronts(first, first + static_cast<std::ptrdiff_t>(std::min(together, lanes.size() - i)));
    ++t.least_wavefronts;
  }
}

void add(Traffic& all, const Traffic& more) {
  for (const auto& [to, from] : {std::pair{&all.loads, &more.loads}, {&all.stores, &more.stores}})
    to->requests += from->requests, to->sectors += from->sectors, to->bytes += from->bytes;
  all.shared.requests += more.shared.requests;
  all.shared.wavefronts += more.shared.wavefronts;
  all.shared.least_wavefronts += more.shared.least_wavefronts;
}

}  // namespace

Traffic& traffic() {
  static Traffic all;
  return all;
}

std::map<std::string, Traffic>& kernel_traffic() {
  static std::map<std::string, Traffic> all;
  return all;
}

void log_access(const char* address, std::size_t bytes, bool write, const void* site) {
  if (!options().traffic || !checked()) return;
  const LoggedAccess next{reinterpret_cast<std::uint64_t>(address), site, static_cast<unsigned>(bytes), write,
                          is_shared(address)};
  std::vector<LoggedAccess>& log = running->accesses;
  if (!log.empty()) {
    LoggedAccess& last = log.back();
    const std::ptrdiff_t code = static_cast<const char*>(site) - static_cast<const char*>(last.site);
    const bool one_vector = last.address % 16 + last.bytes + bytes <= 16;
    if (last.address + last.bytes == next.address && last.write == write && one_vector && code > 0 &&
        code < joined_code_bytes) {
      last.bytes += next.bytes;
      return;
    }
  }
  log.push_back(next);
}

void flush_accesses(int warp, unsigned mask) {
  if (!options().traffic || !checked()) return;
  static std::vector<std::vector<LoggedAccess>*> logs;
  logs.clear();
  for (int l = 0; l < 32 && warp * 32 + l < block.threads; ++l)
    if ((mask >> l) & 1) logs.push_back(&block.fibers[static_cast<std::size_t>(warp * 32 + l)].accesses);
  if (logs.empty()) return;
  Traffic found;
  const auto like_first = [](const std::vector<LoggedAccess>* log) {
    return std::equal(log->begin(), log->end(), logs[0]->begin(), logs[0]->end(),
                      [](const LoggedAccess& a, const LoggedAccess& b) { return a.site == b.site; });
  };
  if (std::all_of(logs.begin() + 1, logs.end(), like_first)) {
    static std::vector<LoggedAccess> lanes;
    for (std::size_t i = 0; i < logs[0]->size(); ++i) {
      lanes.clear();
      for (const std::vector<LoggedAccess>* log : logs) lanes.push_back((*log)[i]);
      count_request(lanes, found);
    }
  } else {
    std::map<std::pair<const void*, int>, std::vector<LoggedAccess>> requests;  // by place, and which time around
    for (const std::vector<LoggedAccess>* log : logs) {
      std::map<const void*, int> times;
      for (const LoggedAccess& a : *log) requests[{a.site, times[a.site]++}].push_back(a);
    }
    for (const auto& [place, lanes] : requests) count_request(lanes, found);
  }
  for (std::vector<LoggedAccess>* log : logs) log->clear();
  add(traffic(), found);
  add(kernel_traffic()[block.kernel->name], found);
}

}  // namespace octavo::shim

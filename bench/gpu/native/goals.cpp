// What was hoped for, as data, beside what came out. A row compares a figure, or the quotient of two, with a goal; one that
// was not measured in this run says so.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "commands.h"
#include "report.h"

namespace octavo::bench {

namespace {

struct Goal {
  const char* what;
  const char *figure, *over;  // over: divided by it, or empty
  double goal;
  bool at_least;
};
// Shares are of R (a read-only stream of 1 GB in the same run) unless another is named.
constexpr Goal goals[] = {
    {"q4_0 8192x8192, 1 token: share of R", "linear.q4_0.8192x8192.m1.share", "", 0.90, true},
    {"q4_0 8192x8192, 8 tokens: share of R", "linear.q4_0.8192x8192.m8.share", "", 0.90, true},
    {"q4_0 28672x4096, 1 token: share of R", "linear.q4_0.28672x4096.m1.share", "", 0.90, true},
    {"q4_0 4096x4096, 1 token: share of R", "linear.q4_0.4096x4096.m1.share", "", 0.80, true},
    {"q4_0 8192x8192, 1 token, against torch bf16", "torch.8192x8192.m1.us", "linear.q4_0.8192x8192.m1.us", 3.2, true},
    {"16 tokens, against torch bf16", "torch.8192x8192.m16.us", "linear.q4_0.8192x8192.m16.us", 2.9, true},
    {"32 tokens, against torch bf16", "torch.8192x8192.m32.us", "linear.q4_0.8192x8192.m32.us", 2.5, true},
    {"64 tokens, against torch bf16", "torch.8192x8192.m64.us", "linear.q4_0.8192x8192.m64.us", 2.0, true},
    {"128 tokens, against torch bf16", "torch.8192x8192.m128.us", "linear.q4_0.8192x8192.m128.us", 1.0, true},
    {"2048 tokens, against torch bf16", "torch.8192x8192.m2048.us", "linear.q4_0.8192x8192.m2048.us", 0.55, true},
    {"decode attention, int8, 64 x 1k: share of R", "attention.int8.64x1024.share", "", 0.85, true},
    {"decode attention, bf16, 64 x 1k: share of R", "attention.bf16.64x1024.share", "", 0.90, true},
    {"decode attention, fp8, 64 x 1k, GQA 4: share of R", "attention.fp8.64x1024.share", "", 0.75, true},
    {"prefill attention, int8, 4k, against torch FLASH", "torch.flash4k.us", "attention.int8.prefill4096.us", 0.6,
     true},
    {"norm of 64 MB: share of a device copy", "rows.norm.share", "", 0.90, true},
    {"rope of 64 MB: share of a device copy", "rows.rope.share", "", 0.90, true},
    {"gate of 64 MB: share of a device copy", "rows.gate.share", "", 0.90, true},
    {"quantise of 64 MB: share of a device copy", "rows.quantise.share", "", 0.90, true},
    {"64 draws of 128k: time over what is allowed", "sample.greedy.64x128256.us", "sample.allowed.us", 1.0, false},
    {"8B shape, 1 sequence, q4_0: share of R", "model.1.share", "", 0.75, true},
    {"8B shape, 64 sequences at 1k, int8: share of R", "model.64.share", "", 0.65, true},
    {"verifying 8 rows over 1", "model.verify8.us", "model.verify1.us", 1.05, false},
};

}  // namespace

// run.json: {"figures": {name: {"value", "unit"}}, "goals": [{"what", "goal", "atLeast", "found", "met"}]}
int run_goals() {
  std::ifstream in(options.out + "/figures.tsv");
  const std::string path = options.out + "/run.json";
  std::FILE* const out = std::fopen(path.c_str(), "w");
  if (!out) fail(path + " cannot be written");
  std::map<std::string, double> figures;
  std::fprintf(out, "{\n \"tiny\": %s,\n \"figures\": {", options.tiny ? "true" : "false");
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string name, value, unit;
    if (!std::getline(fields, name, '\t') || !std::getline(fields, value, '\t')) continue;
    std::getline(fields, unit);
    std::fprintf(out, "%s\n  \"%s\": {\"value\": %s, \"unit\": \"%s\"}", figures.empty() ? "" : ",", name.c_str(),
                 value.c_str(), unit.c_str());
    figures[name] = std::strtod(value.c_str(), nullptr);
  }
  std::fprintf(out, "\n },\n \"goals\": [");
  int met = 0, measured = 0;
  for (const Goal& row : goals) {
    const auto figure = figures.find(row.figure), over = figures.find(row.over);
    const bool known = figure != figures.end() && (*row.over == 0 || over != figures.end());
    const double value = known ? figure->second / (*row.over == 0 ? 1.0 : over->second) : 0;
    const bool reached = known && (row.at_least ? value >= row.goal : value <= row.goal);
    measured += known, met += reached;
    char text[32] = "null";
    if (known) std::snprintf(text, sizeof text, "%.4g", value);
    std::fprintf(out, "%s\n  {\"what\": \"%s\", \"goal\": %g, \"atLeast\": %s, \"found\": %s, \"met\": %s}",
                 &row == goals ? "" : ",", row.what, row.goal, row.at_least ? "true" : "false", text,
                 !known    ? "null"
                 : reached ? "true"
                           : "false");
    std::printf("  %-52s %s %-6g %-12s %s\n", row.what, row.at_least ? ">=" : "<=", row.goal,
                known ? text : "not measured",
                !known    ? ""
                : reached ? "met"
                          : "NOT MET");
  }
  std::fprintf(out, "\n ]\n}\n");
  std::fclose(out);
  std::printf("%d of %d measured goals met, %zu in all\n", met, measured, std::size(goals));
  return 0;
}

}  // namespace octavo::bench

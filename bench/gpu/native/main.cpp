// octavo_gpu_bench COMMAND [--tiny] [--out FOLDER]: what is checked and measured on a GPU, without Node (bench/gpu/README.md). The
// plugin is looked up as the addon does (OCTAVO_CUDA_PLUGIN); probe.fatbin lies beside the program.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <string>

#include "commands.h"
#include "host/driver.h"
#include "report.h"

namespace octavo::bench {

// Nothing after the first difference: doctest's own way to stop.
int run_equality(int argc, const char** argv) {
  doctest::Context context;
  context.setOption("abort-after", 1);
  context.applyCommandLine(argc, argv);
  return context.run();
}

}  // namespace octavo::bench

int main(int argc, char** argv) {
  using namespace octavo;
  const std::map<std::string, int (*)()> commands = {
      {"conformance", bench::run_conformance}, {"shapes", bench::run_shapes}, {"limits", bench::run_limits},
      {"kernels", bench::run_kernels},         {"model", bench::run_model},   {"goals", bench::run_goals}};
  std::vector<const char*> rest{argv[0]};
  const std::string command = argc > 1 ? argv[1] : "";
  for (int k = 2; k < argc; ++k) {
    if (std::strcmp(argv[k], "--tiny") == 0)
      bench::options.tiny = true;
    else if (std::strcmp(argv[k], "--out") == 0 && k + 1 < argc)
      bench::options.out = argv[++k];
    else
      rest.push_back(argv[k]);
  }
  try {
    if (command == "equality") return bench::run_equality(static_cast<int>(rest.size()), rest.data());
    const auto found = commands.find(command);
    if (found == commands.end() || rest.size() > 1) {
      std::fprintf(
          stderr,
          "octavo_gpu_bench: expected conformance, equality, shapes, limits, kernels, model or goals, then --tiny, "
          "--out FOLDER, got %s\n",
          rest.size() > 1 ? rest[1] : command.c_str());
      return 2;
    }
    return found->second();
  } catch (const cuda::Failure& failure) {
    bench::fail(failure.text);
  } catch (const std::exception& error) {
    bench::fail(error.what());
  }
}

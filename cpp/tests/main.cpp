// The test binary's main: `octavo_tests --help` lists doctest's filters. OCTAVO_DEEP=1 runs every case instead of a
// sample.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest.h>

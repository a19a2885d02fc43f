// The test binary's main: `octavo_shim_tests --help` lists doctest's filters.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest.h>

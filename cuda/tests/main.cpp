// The main of the test binaries: `--help` lists doctest's filters.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest.h>

// Where the accesses of kernels that were compiled with -fsanitize=thread arrive.
#pragma once

namespace octavo::shim {

bool hooks_compiled_in();

}  // namespace octavo::shim

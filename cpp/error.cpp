#include "error.h"

namespace octavo {

const char* code_name(Code code) {
  switch (code) {
    case Code::invalid_argument: return "INVALID_ARGUMENT";
    case Code::file_not_found: return "FILE_NOT_FOUND";
    case Code::io_error: return "IO_ERROR";
    case Code::model_invalid: return "MODEL_INVALID";
    case Code::model_unsupported: return "MODEL_UNSUPPORTED";
    case Code::device_unavailable: return "DEVICE_UNAVAILABLE";
    case Code::out_of_memory: return "OUT_OF_MEMORY";
    case Code::interrupted: return "INTERRUPTED";
    case Code::numeric_error: return "NUMERIC_ERROR";
    case Code::engine_failed: return "ENGINE_FAILED";
    case Code::internal: return "INTERNAL";
  }
  return "INTERNAL";
}

}  // namespace octavo

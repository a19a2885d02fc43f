// One exception type for all of octavo's C++; addon.cpp turns it into an OctavoError with the same stable code.
#pragma once
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace octavo {

enum class Code {
  invalid_argument,   // INVALID_ARGUMENT: a caller broke the contract of a native function
  file_not_found,     // FILE_NOT_FOUND
  io_error,           // IO_ERROR: the operating system refused a read or write
  model_invalid,      // MODEL_INVALID: a file that breaks its own format
  model_unsupported,  // MODEL_UNSUPPORTED: a valid file that octavo cannot run
  device_unavailable, // DEVICE_UNAVAILABLE: there is no device as it was asked for
  out_of_memory,      // OUT_OF_MEMORY
  interrupted,        // INTERRUPTED: the step was discarded by interrupt()
  numeric_error,      // NUMERIC_ERROR: a row of logits without a finite value
  engine_failed,      // ENGINE_FAILED: the device or a thread is gone for good
  internal,           // INTERNAL: a broken invariant of octavo itself
};

const char* code_name(Code code);

class Error : public std::exception {
 public:
  using Details = std::vector<std::pair<std::string, std::string>>;
  Error(Code code, std::string message, Details details = {})
      : code_(code), message_(std::move(message)), details_(std::move(details)) {}
  Code code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }
  const Details& details() const { return details_; }  // names and values: expected, found, tensor, offset, ...

 private:
  Code code_;
  std::string message_;
  Details details_;
};

}  // namespace octavo

// A module: PTX as text, looked through at once for its kernels and variables; a kernel is decoded when it is asked
// for. Variables of the module lie in device memory and go with the module.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "memory.h"
#include "program.h"

namespace octavo::ptx {

// A variable in shared memory, known by name to every kernel of the module.
struct SharedVariable {
  std::size_t bytes, alignment;
  bool dynamic;  // .extern: begins where the static ones end
};

class Module;
std::unique_ptr<Function> read_body(Module& module, const std::string& name);  // body.cpp

class Module {
 public:
  Module(std::string text, Memory& memory);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // Decodes it if it was not yet; null where there is no kernel of this name. Throws PtxError.
  const Function* function(const std::string& name);
  std::vector<std::string> kernels() const;
  int target() const { return target_; }  // 90 of sm_90

 private:
  struct Entry {
    std::vector<Param> params;
    std::size_t param_bytes = 0;
    unsigned max_threads = 1024;
    std::string_view body;
    int line = 0;
    std::unique_ptr<Function> decoded;
  };
  friend class ModuleReader;
  friend class BodyReader;
  friend std::unique_ptr<Function> read_body(Module& module, const std::string& name);

  std::string text_;
  Memory& memory_;
  int target_ = 0;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, SharedVariable, std::less<>> shared_;
  std::map<std::string, std::uint64_t, std::less<>> globals_;  // and .const
};

// What `.align 8 .b8 name[64]` and its like declare.
struct Declaration {
  std::string name;
  std::size_t element = 0, count = 1, alignment = 0;
  bool open = false;  // name[]
  std::size_t bytes() const { return element * count; }
};
class Lexer;
Declaration read_declaration(Lexer& in);
// Bytes of a type's name without its dot; 0 for pred, and where it is no type.
std::size_t type_bytes(std::string_view type);

}  // namespace octavo::ptx

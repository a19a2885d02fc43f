// A module: PTX as text, looked through at once for its kernels and variables (a listing); a kernel is decoded when it
// is asked for. Variables of the module lie in device memory and go with the module. Modules of one listing, which is not
// changed by any of them, share what they decode, but for kernels in which addresses of their variables stand.
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

struct Entry {
  std::vector<Param> params;
  std::size_t param_bytes = 0;
  unsigned max_threads = 1024;
  std::string_view body;
  int line = 0;
  std::shared_ptr<const Function> decoded;  // for every module of the listing
};
// A variable of a module and what it holds at first.
struct Variable {
  std::vector<std::uint8_t> bytes;
  bool constant = false;
};

struct Listing {
  // Throws PtxError.
  explicit Listing(std::string text);
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;
  std::vector<std::string> kernels() const;

  const std::string text;
  int target = 0;  // 90 of sm_90
  std::map<std::string, Entry, std::less<>> entries;
  std::map<std::string, SharedVariable, std::less<>> shared;
  std::map<std::string, Variable, std::less<>> variables;
};

using Variables = std::map<std::string, std::uint64_t, std::less<>>;  // addresses

class Module {
 public:
  Module(std::shared_ptr<Listing> listing, Memory& memory);
  Module(std::string text, Memory& memory) : Module(std::make_shared<Listing>(std::move(text)), memory) {}
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // Decodes it if it was not yet; null where there is no kernel of this name. Throws PtxError.
  const Function* function(const std::string& name);
  std::vector<std::string> kernels() const { return listing_->kernels(); }
  int target() const { return listing_->target; }

 private:
  std::shared_ptr<Listing> listing_;
  Memory& memory_;
  Variables variables_;
  std::map<std::string, std::shared_ptr<const Function>, std::less<>> functions_;
};

// A kernel with the addresses of a module's variables. (body.cpp)
std::unique_ptr<Function> read_body(const Listing& listing, const std::string& name, const Variables& variables);

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

// The outside of functions: directives, variables, kernels' heads.
#include "module.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "error.h"
#include "lexer.h"

namespace octavo::ptx {

std::size_t type_bytes(std::string_view type) {
  static constexpr std::pair<const char*, std::size_t> table[] = {
      {"b8", 1},   {"u8", 1},     {"s8", 1},  {"b16", 2}, {"u16", 2}, {"s16", 2},   {"f16", 2},
      {"bf16", 2}, {"e4m3x2", 2}, {"b32", 4}, {"u32", 4}, {"s32", 4}, {"f16x2", 4}, {"bf16x2", 4},
      {"f32", 4},  {"b64", 8},    {"u64", 8}, {"s64", 8}, {"f64", 8}};
  for (const auto& [name, bytes] : table) {
    if (type == name) return bytes;
  }
  return 0;
}

Declaration read_declaration(Lexer& in) {
  Declaration d;
  for (;;) {
    const Token t = in.expect(Token::word, "a declaration");
    if (t.source == ".align") {
      d.alignment = in.expect(Token::integer, "an alignment").value;
    } else if (t.source == ".ptr" || t.source == ".global" || t.source == ".const") {
      continue;  // what a parameter points to
    } else if (t.source[0] == '.') {
      d.element = type_bytes(t.source.substr(1));
      if (!d.element) throw PtxError(Fault::unsupported, t.line, "a declaration with " + std::string(t.source));
    } else {
      d.name = t.source;
      break;
    }
  }
  if (!d.element) throw PtxError(Fault::syntax, in.line(), "a declaration without a type");
  if (!d.alignment) d.alignment = d.element;
  if (in.skip('[')) {
    if (in.peek().is(']'))
      d.open = true, d.count = 0;
    else
      d.count = in.expect(Token::integer, "a number of elements").value;
    in.expect(']');
  }
  return d;
}

class ModuleReader {
 public:
  explicit ModuleReader(Listing& m) : m_(m), in_(m.text, 1) {}

  void read() {
    while (in_.peek().kind != Token::end) {
      const Token t = in_.expect(Token::word, "a directive");
      const std::string_view s = t.source;
      if (s == ".version") {
        in_.take();
      } else if (s == ".target") {
        read_target();
      } else if (s == ".address_size") {
        if (in_.take().value != 64) throw PtxError(Fault::unsupported, t.line, "addresses of 32 bits");
      } else if (s == ".visible" || s == ".weak") {
        continue;
      } else if (s == ".extern") {
        read_extern(t);
      } else if (s == ".entry") {
        read_entry();
      } else if (s == ".global" || s == ".const") {
        read_variable(s == ".const");
      } else if (s == ".shared") {
        read_shared(false);
      } else if (s == ".file") {
        while (in_.peek().kind == Token::integer || in_.peek().kind == Token::text || in_.peek().is(',')) in_.take();
      } else if (s == ".section") {
        in_.take();
        in_.skip_block();
      } else {
        throw PtxError(Fault::unsupported, t.line, "the interpreter does not know " + std::string(s));
      }
    }
  }

 private:
  void read_target() {
    const Token t = in_.expect(Token::word, "a target");
    for (const char c : t.source) {
      if (c >= '0' && c <= '9') m_.target = m_.target * 10 + (c - '0');
    }
    while (in_.skip(',')) in_.take();
  }
  void read_extern(const Token& t) {
    if (!in_.peek().is(".shared")) throw PtxError(Fault::unsupported, t.line, ".extern of anything but .shared");
    in_.take();
    read_shared(true);
  }
  void read_shared(bool dynamic) {
    const Declaration d = read_declaration(in_);
    in_.expect(';');
    m_.shared[d.name] = {d.bytes(), d.alignment, dynamic};
  }

  void read_variable(bool constant) {
    const Declaration d = read_declaration(in_);
    if (d.open) throw PtxError(Fault::unsupported, in_.line(), "a variable without a size: " + d.name);
    Variable& variable = m_.variables[d.name];
    variable.constant = constant;
    variable.bytes.assign(d.bytes(), 0);
    if (in_.skip('=')) {
      const bool list = in_.skip('{');
      for (std::size_t k = 0; k < d.count; ++k) {
        const bool negative = in_.skip('-');
        const Token t = in_.take();
        if (t.kind != Token::integer && t.kind != Token::f32 && t.kind != Token::f64) {
          throw PtxError(Fault::unsupported, t.line, "an initial value that is no number");
        }
        std::uint64_t bits = t.value;
        if (t.kind == Token::f64 && d.element == 4)
          bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
        if (negative) bits = t.kind == Token::integer ? 0 - bits : bits ^ (std::uint64_t(1) << (8 * d.element - 1));
        std::memcpy(&variable.bytes[k * d.element], &bits, d.element);
        if (!list || !in_.skip(',')) break;
      }
      if (list) in_.expect('}');
    }
    in_.expect(';');
  }

  void read_entry() {
    const std::string name(in_.expect(Token::word, "a kernel's name").source);
    Entry entry;
    if (in_.skip('(')) {
      while (!in_.skip(')')) {
        const Token t = in_.expect(Token::word, ".param");
        if (t.source != ".param") throw PtxError(Fault::syntax, t.line, "expected .param");
        const Declaration d = read_declaration(in_);
        entry.param_bytes = (entry.param_bytes + d.alignment - 1) / d.alignment * d.alignment;
        entry.params.push_back({d.name, entry.param_bytes, d.bytes()});
        entry.param_bytes += d.bytes();
        in_.skip(',');
      }
    }
    while (in_.peek().kind == Token::word) {
      const Token t = in_.take();
      if (t.source != ".maxntid" && t.source != ".reqntid" && t.source != ".minnctapersm" && t.source != ".maxnreg") {
        throw PtxError(Fault::unsupported, t.line, "the interpreter does not know " + std::string(t.source));
      }
      unsigned product = 1;
      do product *= static_cast<unsigned>(in_.expect(Token::integer, "a number").value);
      while (in_.skip(','));
      if (t.source == ".maxntid" || t.source == ".reqntid") entry.max_threads = product;
    }
    entry.line = in_.line();
    entry.body = in_.skip_block();
    m_.entries[name] = std::move(entry);
  }

  Listing& m_;
  Lexer in_;
};

Listing::Listing(std::string whole) : text(whole.substr(0, whole.find('\0'))) { ModuleReader(*this).read(); }

std::vector<std::string> Listing::kernels() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries) names.push_back(name);
  return names;
}

Module::Module(std::shared_ptr<Listing> listing, Memory& memory) : listing_(std::move(listing)), memory_(memory) {
  for (const auto& [name, variable] : listing_->variables) {
    const std::uint64_t address = variables_[name] = memory_.allocate(variable.bytes.size());
    std::copy(variable.bytes.begin(), variable.bytes.end(), memory_.host(address, variable.bytes.size()));
    memory_.set_writable(address, !variable.constant);
  }
}

Module::~Module() {
  for (const auto& [name, address] : variables_) memory_.release(address);
}

const Function* Module::function(const std::string& name) {
  const auto entry = listing_->entries.find(name);
  if (entry == listing_->entries.end()) return nullptr;
  std::shared_ptr<const Function>& own = functions_[name];
  if (!own) own = entry->second.decoded;
  if (!own) {
    own = read_body(*listing_, name, variables_);
    if (!own->has_variables) entry->second.decoded = own;
  }
  return own.get();
}

}  // namespace octavo::ptx

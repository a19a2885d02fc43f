// The inside of a function: registers, labels, variables, and instructions decoded by their row of the table of forms.
#include <bit>
#include <map>
#include <memory>
#include <unordered_map>

#include "error.h"
#include "forms.h"
#include "lexer.h"
#include "module.h"

namespace octavo::ptx {

const char* const special_names[special_count] = {"%tid.x",    "%tid.y",    "%tid.z",  "%ctaid.x", "%ctaid.y",
                                                  "%ctaid.z",  "%ntid.x",   "%ntid.y", "%ntid.z",  "%nctaid.x",
                                                  "%nctaid.y", "%nctaid.z", "%laneid", "%warpid"};

class BodyReader {
 public:
  BodyReader(const Listing& m, const Entry& entry, const std::string& name, const Variables& variables)
      : m_(m), variables_(variables), in_(entry.body, entry.line) {
    f_ = std::make_unique<Function>();
    f_->name = name;
    f_->params = entry.params;
    f_->param_bytes = entry.param_bytes;
    f_->max_threads = entry.max_threads;
    f_->file_words = special_count * warp_lanes;
    scopes_.emplace_back();
  }

  std::unique_ptr<Function> read() {
    while (in_.peek().kind != Token::end) statement();
    Instruction last;
    last.flow = Flow::exit;
    last.line = in_.line();
    f_->code.push_back(last);
    for (const auto& [at, label] : jumps_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) throw PtxError(Fault::syntax, f_->code[at].line, "no label " + std::string(label));
      f_->code[at].target = found->second;
    }
    // Dynamic shared memory begins behind the static variables, which are all known now.
    const std::size_t begin = (f_->shared_bytes + dynamic_alignment_ - 1) / dynamic_alignment_ * dynamic_alignment_;
    if (f_->wants_dynamic_shared) f_->shared_bytes = begin;
    for (const std::size_t k : dynamic_constants_) f_->constants[k].value += begin;
    for (const std::size_t k : dynamic_addresses_)
      f_->code[k / 2].address[k % 2].offset += static_cast<std::int64_t>(begin);
    return std::move(f_);
  }

 private:
  struct Range {
    std::int32_t first, count;
    std::uint8_t width;
  };
  struct Scope {
    std::unordered_map<std::string_view, Operand> names;
    std::unordered_map<std::string_view, Range> ranges;
    std::unordered_map<std::string_view, std::uint64_t> locals;
  };

  [[noreturn]] void refuse(int line, const std::string& what) { throw PtxError(Fault::unsupported, line, what); }
  [[noreturn]] void wrong(int line, const std::string& what) { throw PtxError(Fault::syntax, line, what); }

  // ---- statements -------------------------------------------------------------------------------------------------
  void statement() {
    if (in_.skip('{')) {
      scopes_.emplace_back();
    } else if (in_.skip('}')) {
      if (scopes_.size() == 1) wrong(in_.line(), "a } too many");
      scopes_.pop_back();
    } else if (in_.peek().is('@')) {
      instruction();
    } else if (in_.peek().kind == Token::word && in_.peek().source[0] == '.') {
      directive();
    } else {
      const Token t = in_.expect(Token::word, "an instruction");
      if (in_.skip(':')) {
        if (!labels_.emplace(t.source, static_cast<std::int32_t>(f_->code.size())).second) {
          wrong(t.line, "two labels " + std::string(t.source));
        }
      } else {
        opcode(t, -1, false);
      }
    }
  }

  void directive() {
    const Token t = in_.take();
    if (t.source == ".reg") {
      registers();
    } else if (t.source == ".shared") {
      const Declaration d = read_declaration(in_);
      in_.expect(';');
      scopes_.back().locals[intern(d.name)] = place_shared(d.bytes(), d.alignment);
    } else if (t.source == ".local") {
      const Declaration d = read_declaration(in_);
      in_.expect(';');
      f_->local_bytes = (f_->local_bytes + d.alignment - 1) / d.alignment * d.alignment;
      scopes_.back().locals[intern(d.name)] = f_->local_bytes;
      f_->local_bytes = (f_->local_bytes + d.bytes() + 15) / 16 * 16;
    } else if (t.source == ".loc") {
      const int line = t.line;
      while (in_.peek().kind != Token::end && in_.peek().line == line) in_.take();
    } else if (t.source == ".pragma") {
      in_.take();
      in_.expect(';');
    } else {
      refuse(t.line, "the interpreter does not know " + std::string(t.source));
    }
  }

  void registers() {
    const Token type = in_.expect(Token::word, "a type");
    const bool predicate = type.source == ".pred";
    const std::size_t bytes = type_bytes(type.source.substr(1));
    if (!predicate && !bytes) refuse(type.line, "registers of type " + std::string(type.source));
    const std::uint8_t width = predicate ? 0 : bytes == 1 ? 2 : static_cast<std::uint8_t>(bytes);
    do {
      const Token name = in_.expect(Token::word, "a register's name");
      std::int32_t count = -1;
      if (in_.skip('<')) {
        count = static_cast<std::int32_t>(in_.expect(Token::integer, "how many").value);
        in_.expect('>');
      }
      const std::int32_t first = reserve(width, count < 0 ? 1 : count);
      if (count < 0)
        scopes_.back().names[name.source] = {first, width, false};
      else
        scopes_.back().ranges[name.source] = {first, count, width};
    } while (in_.skip(','));
    in_.expect(';');
  }
  std::int32_t reserve(std::uint8_t width, std::int32_t count) {
    std::int32_t& next = width ? f_->file_words : f_->predicates;
    const std::int32_t first = next;
    next += count * words(width);
    return first;
  }
  static std::int32_t words(std::uint8_t width) { return width == 0 ? 1 : width == 8 ? 2 * warp_lanes : warp_lanes; }

  std::string_view intern(const std::string& text) {
    return *strings_.emplace_back(std::make_unique<std::string>(text));
  }
  std::uint64_t place_shared(std::size_t bytes, std::size_t alignment) {
    f_->shared_bytes = (f_->shared_bytes + alignment - 1) / alignment * alignment;
    const std::size_t at = f_->shared_bytes;
    f_->shared_bytes += bytes;
    return at;
  }

  // ---- names ------------------------------------------------------------------------------------------------------
  bool find_register(std::string_view name, Operand& out) const {
    std::size_t digits = name.size();
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->names.find(name); found != scope->names.end()) {
        out = found->second;
        return true;
      }
      if (digits == name.size() || name.size() - digits > 8) continue;
      if (const auto found = scope->ranges.find(name.substr(0, digits)); found != scope->ranges.end()) {
        const std::int32_t k = std::stoi(std::string(name.substr(digits)));
        if (k >= found->second.count) continue;
        out = {found->second.first + k * words(found->second.width), found->second.width, false};
        return true;
      }
    }
    for (int k = 0; k < special_count; ++k) {
      if (name == special_names[k]) {
        out = {k * warp_lanes, 4, false};
        return true;
      }
    }
    return false;
  }
  // The value of a variable's or a parameter's name; *dynamic: relative to the end of static shared memory.
  bool find_symbol(std::string_view name, std::uint64_t& value, bool& dynamic) {
    dynamic = false;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->locals.find(name); found != scope->locals.end()) {
        value = found->second;
        return true;
      }
    }
    for (const Param& p : f_->params) {
      if (name == p.name) {
        value = p.offset;
        return true;
      }
    }
    if (const auto found = variables_.find(name); found != variables_.end()) {
      value = found->second;
      f_->has_variables = true;
      return true;
    }
    const auto found = m_.shared.find(name);
    if (found == m_.shared.end()) return false;
    if (found->second.dynamic) {
      f_->wants_dynamic_shared = dynamic = true;
      dynamic_alignment_ = std::max(dynamic_alignment_, found->second.alignment);
      value = 0;
    } else {
      value = scopes_.front().locals[found->first] = place_shared(found->second.bytes, found->second.alignment);
    }
    return true;
  }

  std::int32_t constant(std::uint8_t width, std::uint64_t value, bool dynamic) {
    if (dynamic) {
      dynamic_constants_.push_back(f_->constants.size());
    } else if (const auto found = constants_.find({width, value}); found != constants_.end()) {
      return found->second;
    }
    const std::int32_t slot = reserve(width, 1);
    f_->constants.push_back({slot, width, value});
    if (!dynamic) constants_.emplace(std::pair(width, value), slot);
    return slot;
  }

  // ---- operands ---------------------------------------------------------------------------------------------------
  // A register, a number or a symbol, for a type of `width` bytes (0: predicate).
  Operand scalar(std::uint8_t width, bool destination, bool exact) {
    const bool negated = width == 0 && in_.skip('!');
    const bool minus = in_.skip('-');
    const Token t = in_.take();
    Operand out;
    out.width = width;
    if (t.kind == Token::word) {
      if (t.source == "_") {
        if (!destination) wrong(t.line, "_ as a source");
        return out;
      }
      if (find_register(t.source, out)) {
        if (exact ? out.width != width : (out.width < width || (out.width == 0) != (width == 0))) {
          refuse(t.line, "register " + std::string(t.source) + " has " + std::to_string(out.width) + " bytes where " +
                             std::to_string(width) + " are meant");
        }
        out.negated = negated;
        return out;
      }
    }
    if (destination) wrong(t.line, "not a register: " + std::string(t.source));
    out.slot = immediate(t, minus, width);
    out.negated = negated;
    return out;
  }
  std::int32_t immediate(const Token& t, bool minus, std::uint8_t width) {
    std::uint64_t value = t.value;
    bool dynamic = false;
    if (t.kind == Token::word) {
      if (!find_symbol(t.source, value, dynamic)) wrong(t.line, "unknown name " + std::string(t.source));
    } else if (t.kind == Token::f64 && width == 4) {
      value = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(value)));
      if (minus) value ^= 0x80000000u;
    } else if (t.kind == Token::f64 || t.kind == Token::f32) {
      if ((t.kind == Token::f32) != (width == 4)) wrong(t.line, "a constant of another width");
      if (minus) value ^= std::uint64_t(1) << (t.kind == Token::f32 ? 31 : 63);
    } else if (t.kind == Token::integer) {
      if (minus) value = 0 - value;
      if (width == 0) value = value ? all_lanes : 0;
    } else {
      wrong(t.line, "expected an operand, found \"" + std::string(t.source) + "\"");
    }
    if (width == 2) value &= 0xffff;
    if (width == 4) value &= 0xffffffff;
    return constant(width, value, dynamic);
  }

  void push(Instruction& i, const Operand& operand) {
    if (i.count >= std::size(i.op)) wrong(i.line, "too many operands");
    i.op[i.count++] = operand;
  }

  void vector(Instruction& i, std::uint8_t width, int n, bool destination, bool exact, bool braces) {
    if (braces) in_.expect('{');
    for (int k = 0; k < n; ++k) {
      if (k) in_.expect(',');
      push(i, scalar(width, destination, exact));
    }
    if (braces) in_.expect('}');
  }

  Address address(std::size_t which) {
    in_.expect('[');
    Address out;
    const Token t = in_.take();
    if (t.kind == Token::integer) {
      out.offset = static_cast<std::int64_t>(t.value);
    } else if (Operand base; find_register(t.source, base)) {
      if (base.width != 4 && base.width != 8) wrong(t.line, "an address in a register of 16 bits");
      out.base = base;
    } else {
      std::uint64_t value;
      bool dynamic;
      if (!find_symbol(t.source, value, dynamic)) wrong(t.line, "unknown name " + std::string(t.source));
      out.offset = static_cast<std::int64_t>(value);
      if (dynamic) dynamic_addresses_.push_back(2 * f_->code.size() + which);
    }
    if (in_.skip('+')) {
      const bool minus = in_.skip('-');
      const auto offset = static_cast<std::int64_t>(in_.expect(Token::integer, "an offset").value);
      out.offset += minus ? -offset : offset;
    } else if (in_.skip('-')) {
      out.offset -= static_cast<std::int64_t>(in_.expect(Token::integer, "an offset").value);
    }
    in_.expect(']');
    return out;
  }

  // mov: one register or several in braces. The type is that of the whole.
  void move_side(Instruction& i, std::uint8_t width, bool destination) {
    if (!in_.peek().is('{')) {
      // A symbol's address may be moved as 32 bits as well; registers must fit.
      push(i, scalar(width, destination, true));
      return;
    }
    in_.expect('{');
    std::vector<Operand> list;
    const std::size_t begin = i.count;
    do {
      Operand part;
      const Token t = in_.peek();
      if (t.kind == Token::word && t.source == "_") {
        in_.take();
        part.width = 0;  // as wide as the others
      } else if (t.kind == Token::word && find_register(t.source, part)) {
        in_.take();
      } else {
        refuse(t.line, "a constant among the parts of a register");
      }
      push(i, part);
    } while (in_.skip(','));
    in_.expect('}');
    const auto each = static_cast<std::uint8_t>(width / (i.count - begin));
    for (std::size_t k = begin; k < i.count; ++k) {
      if (i.op[k].slot < 0) i.op[k].width = each;
      if (i.op[k].width != each) refuse(i.line, "parts of other widths than the whole allows");
    }
  }

  // ---- instructions -----------------------------------------------------------------------------------------------
  void instruction() {
    in_.expect('@');
    const bool negated = in_.skip('!');
    const Token t = in_.expect(Token::word, "a predicate");
    Operand guard;
    if (!find_register(t.source, guard) || guard.width != 0) wrong(t.line, "not a predicate: " + std::string(t.source));
    opcode(in_.expect(Token::word, "an instruction"), guard.slot, negated);
  }

  void opcode(const Token& t, std::int32_t guard, bool negated) {
    const Row* row = find_form(t.source);
    if (!row) refuse(t.line, "\"" + std::string(t.source) + "\" has no conformance test and is not run");
    Instruction i;
    i.run = row->run;
    i.flow = row->flow;
    i.member = row->member;
    i.line = t.line;
    i.guard = guard;
    i.guard_negated = negated;
    const auto words = parts(t.source);
    for (const std::string_view w : words) {
      if (w == "global" || w == "const") i.space = Space::global;
      if (w == "shared") i.space = Space::shared;
      if (w == "local") i.space = Space::local;
      if (w == "param") i.space = Space::param;
      if (w == "v2") i.vector = 2;
      if (w == "v4") i.vector = 4;
    }
    operands(i, *row, words);
    in_.expect(';');
    f_->code.push_back(i);
  }

  void operands(Instruction& i, const Row& row, const std::vector<std::string_view>& words) {
    const auto type_at = [&](std::size_t from_end) {
      return words.size() > from_end ? static_cast<std::uint8_t>(type_bytes(words[words.size() - 1 - from_end])) : 0;
    };
    bool first = true, optional = false;
    int addresses = 0;
    for (const char* c = row.operands; *c; ++c) {
      if (*c == '?') {
        optional = true;
        continue;
      }
      if (*c == 'Q') {
        if (in_.skip('|'))
          push(i, scalar(0, true, true));
        else
          push(i, {-1, 0, false});
        continue;
      }
      if (optional && !in_.peek().is(',')) {
        push(i, {});
        continue;
      }
      if (!first) in_.expect(',');
      first = false;
      int n = 0;
      if (*c >= '1' && *c <= '9') n = *c++ - '0';
      const auto exact = [&](std::uint8_t width, bool destination) {
        if (n)
          vector(i, width, n, destination, true, true);
        else
          push(i, scalar(width, destination, true));
      };
      switch (*c) {
        case 'H':
          exact(2, true);
          break;
        case 'W':
          exact(4, true);
          break;
        case 'D':
          exact(8, true);
          break;
        case 'P':
          exact(0, true);
          break;
        case 'h':
          exact(2, false);
          break;
        case 'w':
          exact(4, false);
          break;
        case 'd':
          exact(8, false);
          break;
        case 'p':
          exact(0, false);
          break;
        case 'I':
          exact(4, false);
          break;
        case 'C':
          push(i, scalar(type_at(1), true, false));
          break;
        case 'c':
          push(i, scalar(type_at(0), false, false));
          break;
        case 'V':
          vector(i, type_at(0), i.vector, true, false, i.vector > 1);
          break;
        case 'v':
          vector(i, type_at(0), i.vector, false, false, i.vector > 1);
          break;
        case 'X':
          move_side(i, type_at(0), true);
          i.vector = i.count;
          break;
        case 'x':
          move_side(i, type_at(0), false);
          break;
        case 'A':
          i.address[addresses] = address(static_cast<std::size_t>(addresses));
          ++addresses;
          break;
        case 'L':
          jumps_.emplace_back(f_->code.size(), in_.expect(Token::word, "a label").source);
          break;
        default:
          wrong(i.line, "the table of forms is wrong");
      }
    }
  }

  const Listing& m_;
  const Variables& variables_;
  Lexer in_;
  std::unique_ptr<Function> f_;
  std::vector<Scope> scopes_;
  std::vector<std::unique_ptr<std::string>> strings_;
  std::unordered_map<std::string_view, std::int32_t> labels_;
  std::vector<std::pair<std::size_t, std::string_view>> jumps_;
  std::map<std::pair<std::uint8_t, std::uint64_t>, std::int32_t> constants_;
  std::vector<std::size_t> dynamic_constants_, dynamic_addresses_;
  std::size_t dynamic_alignment_ = 16;
};

std::unique_ptr<Function> read_body(const Listing& listing, const std::string& name, const Variables& variables) {
  return BodyReader(listing, listing.entries.find(name)->second, name, variables).read();
}

}  // namespace octavo::ptx

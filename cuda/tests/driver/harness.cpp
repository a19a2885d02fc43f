// See harness.h.
#include "harness.h"

#include <doctest.h>

#include <map>
#include <sstream>

namespace octavo::testing {

namespace {

std::set<std::string>& opcodes() {
  static std::set<std::string> set;
  return set;
}
std::map<std::string, Check>& checks() {
  static std::map<std::string, Check> map;
  return map;
}

}  // namespace

const std::set<std::string>& opcodes_run() { return opcodes(); }
bool add_check(const char* name, Check check) { return checks().emplace(name, check).second; }
Check find_check(const std::string& name) {
  const auto found = checks().find(name);
  return found == checks().end() ? nullptr : found->second;
}
bool Checked::has(const std::string& part) const {
  for (const auto& p : parts) {
    if (p == part) return true;
  }
  return false;
}

std::string kernel(const std::string& body, const std::string& before) {
  return ".version 9.0\n.target sm_90\n.address_size 64\n" + before +
         ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
         ".reg .pred %p<32>; .reg .b16 %h<32>; .reg .b32 %r<64>; .reg .f32 %f<32>; .reg .b64 %d<32>;\n"
         "ld.param.u64 %d0, [in];\nld.param.u64 %d1, [out];\nmov.u32 %r0, %tid.x;\n" +
         body + "\nret;\n}\n";
}

Outcome run(const std::string& program, const std::vector<u8>& in, std::size_t out_bytes, ptx::LaunchShape shape) {
  ptx::Memory memory;
  ptx::Module module(program, memory);
  const ptx::Function* f = module.function("k");
  REQUIRE(f != nullptr);
  const u64 addresses[2] = {memory.allocate(std::max<std::size_t>(in.size(), 1)), memory.allocate(out_bytes)};
  if (!in.empty()) std::memcpy(memory.host(addresses[0], in.size()), in.data(), in.size());
  std::memset(memory.host(addresses[1], out_bytes), 0xEE, out_bytes);
  Outcome outcome;
  outcome.stats = ptx::launch(*f, memory, shape, addresses);
  const u8* out = memory.host(addresses[1], out_bytes);
  outcome.out.assign(out, out + out_bytes);
  std::istringstream lines(program);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      if (!word.empty() && word.back() == ';') word.pop_back();
      opcodes().insert(word);
    }
  }
  return outcome;
}

std::vector<u64> run_form(const std::string& form, const std::string& operands,
                          const std::vector<std::vector<u64>>& cases) {
  const std::size_t sources = cases.at(0).size();
  std::ostringstream body;
  body << "mov.u32 %r1, %ctaid.x;\nshl.b32 %r1, %r1, 5;\nadd.s32 %r1, %r1, %r0;\n"
       << "mul.wide.u32 %d2, %r1, " << 8 * sources << ";\nadd.s64 %d2, %d2, %d0;\n"
       << "mul.wide.u32 %d3, %r1, 8;\nadd.s64 %d3, %d3, %d1;\n";
  std::string list, store;
  int k = 0;
  for (std::size_t c = 0; c < operands.size(); ++c) {
    const char letter = operands[c];
    const std::string n = std::to_string(10 + k), at = "[%d2+" + std::to_string(8 * (k - 1)) + "];\n";
    std::string name;
    switch (letter) {
      case 'H':
        name = "%h" + n, store = "st.global.u16 [%d3], " + name;
        break;
      case 'W':
        name = "%r" + n, store = "st.global.u32 [%d3], " + name;
        break;
      case 'D':
        name = "%d" + n, store = "st.global.u64 [%d3], " + name;
        break;
      case 'P':
        name = "%p" + n, store = "selp.u32 %r2, 1, 0, " + name + ";\nst.global.u32 [%d3], %r2";
        break;
      case 'h':
        name = "%h" + n, body << "ld.global.u16 " << name << ", " << at;
        break;
      case 'w':
        name = "%r" + n, body << "ld.global.u32 " << name << ", " << at;
        break;
      case 'd':
        name = "%d" + n, body << "ld.global.u64 " << name << ", " << at;
        break;
      case 'p':
        name = "%p" + n;
        body << "ld.global.u32 %r2, " << at << "setp.ne.s32 " << name << ", %r2, 0;\n";
        break;
      default:
        FAIL("an operand that run_form does not know: " << operands);
    }
    list += (k ? ", " : "") + name;
    ++k;
  }
  body << "st.global.u64 [%d3], 0;\n" << form << " " << list << ";\n" << store << ";\n";
  std::vector<u64> in;
  for (const auto& values : cases) in.insert(in.end(), values.begin(), values.end());
  const unsigned blocks = static_cast<unsigned>((cases.size() + 31) / 32);
  in.resize(blocks * 32 * sources);
  ptx::LaunchShape shape;
  shape.grid[0] = blocks, shape.block[0] = 32;
  auto out = values_of<u64>(run(kernel(body.str()), bytes_of(in), blocks * 32 * 8, shape).out);
  out.resize(cases.size());
  return out;
}

int bits_of(const std::string& type) {
  if (type == "pred") return 1;
  return static_cast<int>(8 * ptx::type_bytes(type));
}
bool is_signed(const std::string& type) { return type[0] == 's'; }

__int128 integer(u64 bits, const std::string& type) {
  const int n = bits_of(type);
  const __int128 value = n == 64 ? bits : bits & ((u64(1) << n) - 1);
  const __int128 limit = static_cast<__int128>(1) << (n - 1);
  return is_signed(type) && value >= limit ? value - 2 * limit : value;
}

std::vector<u64> samples(const std::string& type, std::mt19937_64& random, int n) {
  std::vector<u64> out;
  if (type == "pred") return {0, 1, 1, 0};
  if (type == "f32") {
    out = {0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000, 0x3f800000,
           0xbf800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345,
           0x3effffff, 0x4b000001, 0x4affffff, 0x3f000000, 0xbf000000, 0x4f000000};
    for (int k = 0; k < n; ++k)
      out.push_back(k % 2 ? static_cast<u32>(random())
                          : 0x3e000000 + static_cast<u32>(random() % 0x3000000) + (random() % 2 ? 0x80000000u : 0));
  } else if (type == "f64") {
    out = {0,
           u64(1) << 63,
           1,
           0x000fffffffffffff,
           0x3ff0000000000000,
           0x7fefffffffffffff,
           0x7ff0000000000000,
           0xfff0000000000000,
           0x7ff8000000000000,
           0x7ff0000000000001,
           0x4330000000000001,
           0x3fe0000000000000,
           0xbfe0000000000000,
           0x41dfffffffe00000};
    for (int k = 0; k < n; ++k)
      out.push_back(0x3fc0000000000000 + random() % 0x0080000000000000 + (random() % 2 << 63));
  } else if (type == "f16" || type == "bf16") {
    out = {0,      0x8000, 1,      0x3ff,  0x400,  0x3c00, 0xbc00, 0x7bff,
           0x7c00, 0xfc00, 0x7e00, 0x7f80, 0xff80, 0x7fc0, 0x3f80, 0x7f7f};
    for (int k = 0; k < n; ++k) out.push_back(random() & 0xffff);
  } else {
    const int bits = bits_of(type);
    const u64 all = bits == 64 ? ~u64(0) : (u64(1) << bits) - 1;
    out = {0, 1, 2, all, all - 1, all >> 1, (all >> 1) + 1, 7, 31, 32, 33, 0x55555555u & all};
    for (int k = 0; k < n; ++k) out.push_back((random() >> (random() % 64)) & all);
  }
  return out;
}

}  // namespace octavo::testing

// The rows of all families, and their forms in a hash table.
#include "forms.h"

#include <unordered_map>

namespace octavo::ptx {

namespace {

// "a{b,c}d{,e}" -> abd, abde, acd, acde
void expand(std::string_view pattern, const std::string& so_far, const Row& row, std::vector<Form>& out) {
  const std::size_t open = pattern.find('{');
  if (open == std::string_view::npos) {
    out.push_back({so_far + std::string(pattern), &row});
    return;
  }
  const std::size_t close = pattern.find('}', open);
  const std::string head = so_far + std::string(pattern.substr(0, open));
  std::string_view choices = pattern.substr(open + 1, close - open - 1);
  for (;;) {
    const std::size_t comma = choices.find(',');
    expand(pattern.substr(close + 1), head + std::string(choices.substr(0, comma)), row, out);
    if (comma == std::string_view::npos) break;
    choices.remove_prefix(comma + 1);
  }
}

}  // namespace

std::vector<Form> all_forms() {
  std::vector<Form> out;
  for (const auto rows : {integer_rows(), bit_rows(), float_rows(), half_rows(), compare_rows(), convert_rows(),
                          move_rows(), memory_rows(), matrix_rows(), warp_rows(), control_rows()}) {
    for (const Row& row : rows) expand(row.pattern, "", row, out);
  }
  return out;
}

const Row* find_form(std::string_view opcode) {
  static const auto table = [] {
    std::unordered_map<std::string_view, const Row*> map;
    static const std::vector<Form> forms = all_forms();
    for (const Form& form : forms) map.emplace(form.name, form.row);
    return map;
  }();
  const auto found = table.find(opcode);
  return found == table.end() ? nullptr : found->second;
}

std::vector<std::string_view> parts(std::string_view opcode) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t dot = opcode.find('.');
    out.push_back(opcode.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    opcode.remove_prefix(dot + 1);
  }
}

}  // namespace octavo::ptx

// Tokens of PTX. A word is everything that belongs to one name or opcode, dots and "::" included; numbers are read
// here.
#pragma once
#include <cstdint>
#include <string_view>

namespace octavo::ptx {

struct Token {
  enum Kind : std::uint8_t { word, integer, f32, f64, text, mark, end } kind = end;
  std::string_view source;  // of marks, the one character
  std::uint64_t value = 0;  // integer, bits of f32 (0f...) and f64 (0d..., 1.5)
  int line = 0;
  bool is(char c) const { return kind == mark && source[0] == c; }
  bool is(std::string_view name) const { return kind == word && source == name; }
};

class Lexer {
 public:
  Lexer(std::string_view source, int line) : rest_(source), line_(line) { advance(); }
  const Token& peek() const { return token_; }
  Token take() {
    const Token t = token_;
    advance();
    return t;
  }
  // Takes the next token if it is this mark.
  bool skip(char c) {
    if (!token_.is(c)) return false;
    advance();
    return true;
  }
  Token expect(Token::Kind kind, const char* what);
  void expect(char c);
  // What follows the token that comes next, unread.
  std::string_view rest() const { return rest_; }
  int line() const { return line_; }
  // Behind the block whose `{` comes next; returns what is between its braces.
  std::string_view skip_block();

 private:
  void advance();
  void blanks();
  void number();
  std::string_view rest_;
  int line_;
  Token token_;
};

}  // namespace octavo::ptx

// See lexer.h. (PTX ISA, "Lexical elements".)
#include "lexer.h"

#include <bit>
#include <cctype>
#include <charconv>
#include <string>

#include "error.h"

namespace octavo::ptx {

namespace {

bool in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}

}  // namespace

void Lexer::blanks() {
  for (;;) {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_[0]))) {
      line_ += rest_[0] == '\n';
      rest_.remove_prefix(1);
    }
    if (rest_.starts_with("//")) {
      const std::size_t at = rest_.find('\n');
      rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at);
    } else if (rest_.starts_with("/*")) {
      const std::size_t at = rest_.find("*/");
      if (at == std::string_view::npos) throw PtxError(Fault::syntax, line_, "a comment has no end");
      for (const char c : rest_.substr(0, at)) line_ += c == '\n';
      rest_.remove_prefix(at + 2);
    } else {
      return;
    }
  }
}

void Lexer::number() {
  std::size_t size = 0;
  while (size < rest_.size() &&
         (std::isalnum(static_cast<unsigned char>(rest_[size])) || rest_[size] == '.' ||
          ((rest_[size] == '-' || rest_[size] == '+') && (rest_[size - 1] == 'e' || rest_[size - 1] == 'E') &&
           !rest_.starts_with("0x") && !rest_.starts_with("0f") && !rest_.starts_with("0d")))) {
    ++size;
  }
  std::string_view text = rest_.substr(0, size);
  token_.source = text;
  rest_.remove_prefix(size);
  const auto bad = [&]() -> PtxError { return PtxError(Fault::syntax, line_, "not a number: " + std::string(text)); };
  const auto bits = [&](std::string_view digits, int base) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error != std::errc() || end != digits.data() + digits.size()) throw bad();
    return value;
  };
  const char second = text.size() > 1 ? text[1] : 0;
  if (text[0] == '0' && (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
    const bool wide = second == 'd' || second == 'D';
    if (text.size() != (wide ? 18u : 10u)) throw bad();
    token_.kind = wide ? Token::f64 : Token::f32;
    token_.value = bits(text.substr(2), 16);
    return;
  }
  if (text.find('.') != std::string_view::npos) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) throw bad();
    token_.kind = Token::f64;
    token_.value = std::bit_cast<std::uint64_t>(value);
    return;
  }
  token_.kind = Token::integer;
  if (text.back() == 'U') text.remove_suffix(1);
  if (second == 'x' || second == 'X') {
    token_.value = bits(text.substr(2), 16);
  } else if (second == 'b' || second == 'B') {
    token_.value = bits(text.substr(2), 2);
  } else {
    token_.value = bits(text, text[0] == '0' && text.size() > 1 ? 8 : 10);
  }
}

void Lexer::advance() {
  blanks();
  token_ = {};
  token_.line = line_;
  if (rest_.empty()) return;
  const char c = rest_[0];
  if (std::isdigit(static_cast<unsigned char>(c))) {
    number();
  } else if (c == '"') {
    const std::size_t close = rest_.find('"', 1);
    if (close == std::string_view::npos) throw PtxError(Fault::syntax, line_, "a string has no end");
    token_.kind = Token::text;
    token_.source = rest_.substr(1, close - 1);
    rest_.remove_prefix(close + 1);
  } else if (in_word(c)) {
    std::size_t size = 1;
    while (size < rest_.size() &&
           (in_word(rest_[size]) || (rest_.substr(size, 2) == "::" && size + 2 < rest_.size()))) {
      size += rest_[size] == ':' ? 2 : 1;
    }
    token_.kind = Token::word;
    token_.source = rest_.substr(0, size);
    rest_.remove_prefix(size);
  } else {
    token_.kind = Token::mark;
    token_.source = rest_.substr(0, 1);
    rest_.remove_prefix(1);
  }
}

Token Lexer::expect(Token::Kind kind, const char* what) {
  if (token_.kind != kind) {
    throw PtxError(Fault::syntax, token_.line,
                   std::string("expected ") + what + ", found \"" + std::string(token_.source) + "\"");
  }
  return take();
}

void Lexer::expect(char c) {
  if (!skip(c)) {
    throw PtxError(Fault::syntax, token_.line,
                   std::string("expected \"") + c + "\", found \"" + std::string(token_.source) + "\"");
  }
}

// Not by tokens: most kernels of a module are never looked at.
std::string_view Lexer::skip_block() {
  if (!token_.is('{')) expect('{');
  for (std::size_t at = 0, depth = 1;; ++at) {
    if (at >= rest_.size()) throw PtxError(Fault::syntax, line_, "a block has no end");
    const char c = rest_[at];
    if (c > '/' && c < '{') continue;  // most of it
    if (c == '\n') ++line_;
    if (c == '{') ++depth;
    if (c == '}' && --depth == 0) {
      const std::string_view inside = rest_.substr(0, at);
      rest_.remove_prefix(at + 1);
      advance();
      return inside;
    }
    if (c == '"') at = rest_.find('"', at + 1);
    if (c == '/' && rest_.substr(at, 2) == "//") at = rest_.find('\n', at) - 1;
    if (c == '/' && rest_.substr(at, 2) == "/*") {
      const std::size_t end = rest_.find("*/", at);
      for (const char in : rest_.substr(at, end - at)) line_ += in == '\n';
      at = end;
    }
  }
}

}  // namespace octavo::ptx

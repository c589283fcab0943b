// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_tokens.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/white_space.h"

namespace fedtune {
namespace {

constexpr std::string_view kSpace = " \t\n\r\f\v";
// So that no expression is nested deeper.
constexpr size_t kMaxTokensOfTag = 1000;

constexpr std::string_view kLongSigns[] = {"==", "!=", "<=", ">=", "//"};
constexpr std::string_view kShortSigns = ".,:|~+-*/%()[]{}=<>";

bool IsNameStart(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Every line end as \n, without one at the very end.
std::string WithPlainLineEnds(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    const bool pair = source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n';
    if (pair) continue;
    text += source[i] == '\r' ? '\n' : source[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Cutter {
 public:
  explicit Cutter(std::string source) : source_(std::move(source)) {}

  absl::StatusOr<std::vector<TemplatePart>> Cut() && {
    while (at_ < source_.size()) {
      const size_t opening = FindOpening();
      AddText(opening);
      if (opening == source_.size()) break;
      at_ = opening + 2;
      const char kind = source_[opening + 1];
      if (kind == '#') {
        RETURN_IF_ERROR(SkipComment());
      } else {
        RETURN_IF_ERROR(AddTag(kind));
      }
    }
    return std::move(parts_);
  }

 private:
  absl::Status Wrong(std::string_view what) const {
    return absl::InvalidArgumentError(fmt::format("line {}: {}", Line(), what));
  }

  size_t Line() const {
    const auto end = source_.begin() + static_cast<ptrdiff_t>(std::min(at_, source_.size()));
    return 1 + static_cast<size_t>(std::count(source_.begin(), end, '\n'));
  }

  bool Have(std::string_view what) const {
    return std::string_view(source_).substr(at_).starts_with(what);
  }

  size_t FindOpening() const {
    for (size_t at = at_; at + 1 < source_.size(); ++at) {
      const char next = source_[at + 1];
      if (source_[at] == '{' && (next == '{' || next == '%' || next == '#')) return at;
    }
    return source_.size();
  }

  // The text from here to `end`, without what the tags around it take away.
  void AddText(size_t end) {
    TemplatePart part;
    part.line = Line();
    part.text = source_.substr(at_, end - at_);
    bool begins_line = at_ == 0;
    if (trim_all_) {
      part.text.erase(0, part.text.size() - WithoutSpaceBefore(part.text).size());
    } else if (trim_line_end_ && part.text.starts_with('\n')) {
      part.text.erase(0, 1);
      begins_line = true;
    }
    trim_all_ = trim_line_end_ = false;
    if (end + 2 < source_.size() && source_[end + 2] == '-') {
      part.text.resize(WithoutSpaceBehind(part.text).size());
    } else if (end < source_.size() && source_[end + 1] != '{' && !HasPlus(end)) {
      TrimIndent(part.text, begins_line);
    }
    if (!part.text.empty()) parts_.push_back(std::move(part));
  }

  bool HasPlus(size_t end) const { return end + 2 < source_.size() && source_[end + 2] == '+'; }

  // White space before a tag goes where nothing else stands before it in its line.
  static void TrimIndent(std::string& text, bool begins_line) {
    const size_t end_of_line = text.rfind('\n');
    const size_t begin = end_of_line == std::string::npos ? 0 : end_of_line + 1;
    const bool alone = WithoutSpaceBefore(std::string_view(text).substr(begin)).empty();
    if (alone && (begin > 0 || begins_line)) text.resize(begin);
  }

  absl::Status SkipComment() {
    if (Have("-") || Have("+")) ++at_;
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return Wrong("a comment does not end");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    trim_all_ = sign == '-';
    trim_line_end_ = sign != '+';
    at_ = end + 2;
    return absl::OkStatus();
  }

  absl::Status AddTag(char kind) {
    TemplatePart part;
    part.kind = kind == '{' ? TemplatePart::Kind::kExpression : TemplatePart::Kind::kTag;
    part.line = Line();
    const std::string_view closing = kind == '{' ? "}}" : "%}";
    if (Have("-") || Have("+")) ++at_;
    bool keep_line_end = false;
    int open = 0;  // Of { within the expression, whose } does not end it.
    while (true) {
      at_ = std::min(source_.find_first_not_of(kSpace, at_), source_.size());
      if (at_ == source_.size()) return Wrong("a tag does not end");
      const bool has_sign = Have("-") || (Have("+") && kind == '%');
      if (open == 0 && has_sign && source_.compare(at_ + 1, 2, closing) == 0) {
        trim_all_ = Have("-");
        keep_line_end = Have("+");
        ++at_;
      }
      if (open == 0 && Have(closing)) break;
      ASSIGN_OR_RETURN(TemplateToken token, NextToken());
      if (token.kind == TemplateToken::Kind::kSign) {
        open += token.text == "{" ? 1 : token.text == "}" ? -1 : 0;
      }
      part.tokens.push_back(std::move(token));
      if (part.tokens.size() > kMaxTokensOfTag) return Wrong("a tag is too long");
    }
    at_ += 2;
    trim_line_end_ = kind == '%' && !keep_line_end;
    parts_.push_back(std::move(part));
    return absl::OkStatus();
  }

  absl::StatusOr<TemplateToken> NextToken() {
    const char c = source_[at_];
    if (c == '\'' || c == '"') return TextToken(c);
    if (IsDigit(c)) return NumberToken();
    if (IsNameStart(c)) {
      size_t end = at_;
      while (end < source_.size() && (IsNameStart(source_[end]) || IsDigit(source_[end]))) ++end;
      return Take(TemplateToken::Kind::kName, end - at_);
    }
    for (const std::string_view sign : kLongSigns) {
      if (Have(sign)) return Take(TemplateToken::Kind::kSign, sign.size());
    }
    if (kShortSigns.find(c) != std::string_view::npos) return Take(TemplateToken::Kind::kSign, 1);
    return Wrong("a character that is not known in a tag");
  }

  TemplateToken Take(TemplateToken::Kind kind, size_t size) {
    TemplateToken token{kind, source_.substr(at_, size), 0};
    at_ += size;
    return token;
  }

  absl::StatusOr<TemplateToken> NumberToken() {
    TemplateToken token{TemplateToken::Kind::kNumber, "", 0};
    const char* const begin = source_.data() + at_;
    const auto [end, error] = std::from_chars(begin, source_.data() + source_.size(), token.number);
    if (error != std::errc()) return Wrong("a number is too large");
    token.text.assign(begin, end);
    at_ += token.text.size();
    return token;
  }

  absl::StatusOr<TemplateToken> TextToken(char quote) {
    TemplateToken token{TemplateToken::Kind::kText, "", 0};
    for (++at_; at_ < source_.size() && source_[at_] != quote; ++at_) {
      if (source_[at_] != '\\') {
        token.text += source_[at_];
        continue;
      }
      if (++at_ == source_.size()) break;
      const std::optional<char> escaped = Unescaped(source_[at_]);
      if (!escaped.has_value())
        return Wrong(fmt::format("\\{} in a text is not supported", source_[at_]));
      token.text += *escaped;
    }
    if (at_ == source_.size()) return Wrong("a text does not end");
    ++at_;
    return token;
  }

  static std::optional<char> Unescaped(char c) {
    constexpr std::string_view kEscapes = "n\nt\tr\r\\\\''\"\"";
    for (size_t i = 0; i < kEscapes.size(); i += 2) {
      if (kEscapes[i] == c) return kEscapes[i + 1];
    }
    return std::nullopt;
  }

  std::string source_;
  size_t at_ = 0;
  bool trim_all_ = false;       // The tag before takes white space behind it.
  bool trim_line_end_ = false;  // The tag before takes one line end behind it.
  std::vector<TemplatePart> parts_;
};

}  // namespace

absl::StatusOr<std::vector<TemplatePart>> CutTemplate(std::string_view source) {
  return Cutter(WithPlainLineEnds(source)).Cut();
}

}  // namespace fedtune

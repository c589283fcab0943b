// SPDX-License-Identifier: Apache-2.0

#include "model/chat/expression_parser.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using Kind = TemplateExpression::Kind;
using TokenKind = TemplateToken::Kind;

constexpr int kMaxDepth = 60;

absl::Status Wrong(const std::string& what) { return absl::InvalidArgumentError(what); }

TemplateExpression Make(Kind kind, std::string text, std::vector<TemplateExpression> parts) {
  return {kind, std::move(text), 0, std::move(parts), {}};
}

TemplateExpression Binary(std::string sign, TemplateExpression left, TemplateExpression right) {
  std::vector<TemplateExpression> parts;
  parts.push_back(std::move(left));
  parts.push_back(std::move(right));
  return Make(Kind::kBinary, std::move(sign), std::move(parts));
}

TemplateExpression Unary(Kind kind, std::string text, TemplateExpression part) {
  std::vector<TemplateExpression> parts;
  parts.push_back(std::move(part));
  return Make(kind, std::move(text), std::move(parts));
}

}  // namespace

bool ExpressionParser::NextIs(TokenKind kind, std::string_view text, size_t ahead) const {
  const size_t at = at_ + ahead;
  return at < tokens_.size() && tokens_[at].kind == kind && tokens_[at].text == text;
}

bool ExpressionParser::TakeSign(std::string_view sign) {
  const bool here = NextIs(TokenKind::kSign, sign);
  if (here) ++at_;
  return here;
}

bool ExpressionParser::TakeName(std::string_view name) {
  const bool here = NextIs(TokenKind::kName, name);
  if (here) ++at_;
  return here;
}

absl::StatusOr<std::string> ExpressionParser::ExpectName() {
  if (Next() == nullptr || Next()->kind != TokenKind::kName) return Wrong("a name is missing");
  return tokens_[at_++].text;
}

absl::Status ExpressionParser::ExpectSign(std::string_view sign) {
  if (TakeSign(sign)) return absl::OkStatus();
  return Wrong(fmt::format("\"{}\" is missing", sign));
}

absl::Status ExpressionParser::ExpectEnd() const {
  if (Next() == nullptr) return absl::OkStatus();
  return Wrong(fmt::format("\"{}\" is not expected here", Next()->text));
}

absl::StatusOr<TemplateExpression> ExpressionParser::Parse() {
  ASSIGN_OR_RETURN(TemplateExpression value, ParseWithoutCondition());
  while (TakeName("if")) {
    ASSIGN_OR_RETURN(TemplateExpression condition, ParseWithoutCondition());
    TemplateExpression otherwise;
    if (TakeName("else")) {
      ASSIGN_OR_RETURN(otherwise, Parse());
    }
    std::vector<TemplateExpression> parts;
    parts.push_back(std::move(value));
    parts.push_back(std::move(condition));
    parts.push_back(std::move(otherwise));
    value = Make(Kind::kCondition, "", std::move(parts));
  }
  return value;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseWithoutCondition() {
  if (++depth_ > kMaxDepth) return Wrong("an expression is nested too deeply");
  ASSIGN_OR_RETURN(TemplateExpression left, ParseAnd());
  while (TakeName("or")) {
    ASSIGN_OR_RETURN(TemplateExpression right, ParseAnd());
    left = Binary("or", std::move(left), std::move(right));
  }
  --depth_;
  return left;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseAnd() {
  ASSIGN_OR_RETURN(TemplateExpression left, ParseNot());
  while (TakeName("and")) {
    ASSIGN_OR_RETURN(TemplateExpression right, ParseNot());
    left = Binary("and", std::move(left), std::move(right));
  }
  return left;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseNot() {
  if (!TakeName("not")) return ParseComparison();
  if (++depth_ > kMaxDepth) return Wrong("an expression is nested too deeply");
  ASSIGN_OR_RETURN(TemplateExpression value, ParseNot());
  --depth_;
  return Unary(Kind::kNot, "", std::move(value));
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseComparison() {
  ASSIGN_OR_RETURN(TemplateExpression left, ParseSum());
  for (const std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"}) {
    if (!TakeSign(sign)) continue;
    ASSIGN_OR_RETURN(TemplateExpression right, ParseSum());
    return Binary(std::string(sign), std::move(left), std::move(right));
  }
  const bool is_not = NextIs(TokenKind::kName, "not") && NextIs(TokenKind::kName, "in", 1);
  if (is_not) ++at_;
  if (!TakeName("in")) return left;
  ASSIGN_OR_RETURN(TemplateExpression right, ParseSum());
  TemplateExpression found = Binary("in", std::move(left), std::move(right));
  return is_not ? Unary(Kind::kNot, "", std::move(found)) : std::move(found);
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseSum() {
  ASSIGN_OR_RETURN(TemplateExpression left, ParseConcatenation());
  while (true) {
    const bool plus = TakeSign("+");
    if (!plus && !TakeSign("-")) return left;
    ASSIGN_OR_RETURN(TemplateExpression right, ParseConcatenation());
    left = Binary(plus ? "+" : "-", std::move(left), std::move(right));
  }
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseConcatenation() {
  ASSIGN_OR_RETURN(TemplateExpression left, ParseProduct());
  while (TakeSign("~")) {
    ASSIGN_OR_RETURN(TemplateExpression right, ParseProduct());
    left = Binary("~", std::move(left), std::move(right));
  }
  return left;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseProduct() {
  ASSIGN_OR_RETURN(TemplateExpression left, ParseSigned());
  while (true) {
    std::string sign;
    for (const std::string_view one : {"%", "*", "//"}) {
      if (sign.empty() && TakeSign(one)) sign = one;
    }
    if (sign.empty()) return left;
    ASSIGN_OR_RETURN(TemplateExpression right, ParseSigned());
    left = Binary(std::move(sign), std::move(left), std::move(right));
  }
}

// A sign stands for what is before filters and tests.
absl::StatusOr<TemplateExpression> ExpressionParser::ParseSigned() {
  const bool is_negative = TakeSign("-");
  ASSIGN_OR_RETURN(TemplateExpression value, ParsePrimary());
  ASSIGN_OR_RETURN(value, ParseSuffixes(std::move(value)));
  if (is_negative) value = Unary(Kind::kNegative, "", std::move(value));
  return ParseFilters(std::move(value));
}

// Filters and tests, of which no members are taken without parentheses.
absl::StatusOr<TemplateExpression> ExpressionParser::ParseFilters(TemplateExpression value) {
  while (true) {
    if (TakeSign("|")) {
      ASSIGN_OR_RETURN(value, ParseFilter(std::move(value)));
    } else if (TakeName("is")) {
      ASSIGN_OR_RETURN(value, ParseTest(std::move(value)));
    } else {
      return value;
    }
  }
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseSuffixes(TemplateExpression value) {
  while (true) {
    if (TakeSign(".")) {
      // Behind a number it would be a fraction.
      const bool is_place = value.kind != Kind::kNumber && Next() != nullptr;
      if (is_place && Next()->kind == TokenKind::kNumber) {
        value = Unary(Kind::kMember, "", std::move(value));
        value.parts.push_back({Kind::kNumber, "", tokens_[at_++].number});
        continue;
      }
      ASSIGN_OR_RETURN(std::string name, ExpectName());
      value = Unary(Kind::kMember, ".", std::move(value));
      value.parts.push_back(Make(Kind::kText, std::move(name), {}));
    } else if (TakeSign("[")) {
      ASSIGN_OR_RETURN(value, ParseSubscript(std::move(value)));
    } else if (TakeSign("(")) {
      ASSIGN_OR_RETURN(value, ParseCall(std::move(value)));
    } else {
      return value;
    }
  }
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParsePrimary() {
  if (Next() == nullptr) return Wrong("an expression is missing");
  if (TakeSign("(")) return ParseInParentheses();
  if (TakeSign("[")) return ParseList("]", Make(Kind::kList, "", {}));
  if (TakeSign("{")) return ParseObject();
  const TemplateToken& token = tokens_[at_];
  if (token.kind == TokenKind::kSign) {
    return Wrong(fmt::format("\"{}\" is not supported here", token.text));
  }
  ++at_;
  if (token.kind == TokenKind::kNumber) return TemplateExpression{Kind::kNumber, "", token.number};
  if (token.kind == TokenKind::kText) return ParseText(token.text);
  if (token.text == "true" || token.text == "True") return Make(Kind::kTrue, "", {});
  if (token.text == "false" || token.text == "False") return Make(Kind::kFalse, "", {});
  if (token.text == "none" || token.text == "None") return Make(Kind::kNone, "", {});
  return Make(Kind::kName, token.text, {});
}

// Texts that follow each other are one.
TemplateExpression ExpressionParser::ParseText(std::string text) {
  for (; Next() != nullptr && Next()->kind == TokenKind::kText; ++at_) text += Next()->text;
  return Make(Kind::kText, std::move(text), {});
}

// A value, or a tuple.
absl::StatusOr<TemplateExpression> ExpressionParser::ParseInParentheses() {
  TemplateExpression tuple = Make(Kind::kTuple, "", {});
  if (TakeSign(")")) return tuple;
  ASSIGN_OR_RETURN(TemplateExpression value, Parse());
  if (TakeSign(")")) return value;
  tuple.parts.push_back(std::move(value));
  return ParseList(")", std::move(tuple));
}

// The elements that follow those of `list`.
absl::StatusOr<TemplateExpression> ExpressionParser::ParseList(std::string_view closing,
                                                               TemplateExpression list) {
  while (!TakeSign(closing)) {
    if (!list.parts.empty()) {
      RETURN_IF_ERROR(ExpectSign(","));
      if (TakeSign(closing)) break;
    }
    ASSIGN_OR_RETURN(list.parts.emplace_back(), Parse());
  }
  return list;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseObject() {
  TemplateExpression object = Make(Kind::kObject, "", {});
  while (!TakeSign("}")) {
    if (!object.parts.empty()) {
      RETURN_IF_ERROR(ExpectSign(","));
      if (TakeSign("}")) break;
    }
    ASSIGN_OR_RETURN(object.parts.emplace_back(), Parse());
    RETURN_IF_ERROR(ExpectSign(":"));
    ASSIGN_OR_RETURN(object.parts.emplace_back(), Parse());
  }
  return object;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseSubscript(TemplateExpression target) {
  TemplateExpression result = Unary(Kind::kMember, "", std::move(target));
  do {
    TemplateExpression limit;
    if (!NextIs(TokenKind::kSign, ":") && !NextIs(TokenKind::kSign, "]")) {
      ASSIGN_OR_RETURN(limit, Parse());
    }
    result.parts.push_back(std::move(limit));
  } while (result.parts.size() < 4 && TakeSign(":"));
  RETURN_IF_ERROR(ExpectSign("]"));
  if (result.parts.size() > 2) {
    result.kind = Kind::kSlice;
    result.parts.resize(4);
  } else if (result.parts[1].kind == Kind::kNothing) {
    return Wrong("an expression is missing");
  }
  return result;
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseCall(TemplateExpression target) {
  TemplateExpression call = Unary(Kind::kCall, "", std::move(target));
  if (call.parts[0].kind != Kind::kName && call.parts[0].kind != Kind::kMember) {
    return Wrong("something is called that is no function");
  }
  RETURN_IF_ERROR(ParseArguments(call));
  return call;
}

absl::Status ExpressionParser::ParseArguments(TemplateExpression& call) {
  for (bool first = true; !TakeSign(")"); first = false) {
    if (!first) {
      RETURN_IF_ERROR(ExpectSign(","));
      if (TakeSign(")")) break;
    }
    std::string name;
    if (Next() != nullptr && Next()->kind == TokenKind::kName && NextIs(TokenKind::kSign, "=", 1)) {
      name = tokens_[at_].text;
      at_ += 2;
    } else if (!call.names.empty() && !call.names.back().empty()) {
      return Wrong("an argument without a name follows one with a name");
    }
    ASSIGN_OR_RETURN(call.parts.emplace_back(), Parse());
    call.names.push_back(std::move(name));
  }
  return absl::OkStatus();
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseFilter(TemplateExpression target) {
  ASSIGN_OR_RETURN(std::string name, ExpectName());
  TemplateExpression filter = Unary(Kind::kFilter, std::move(name), std::move(target));
  if (TakeSign("(")) RETURN_IF_ERROR(ParseArguments(filter));
  return filter;
}

// Whether what comes next can be the argument of a test without parentheses.
bool ExpressionParser::BeginsArgument() const {
  const TemplateToken* const next = Next();
  if (next == nullptr) return false;
  if (next->kind == TokenKind::kSign) return next->text == "[" || next->text == "{";
  if (next->kind != TokenKind::kName) return true;
  constexpr std::string_view kGoOn[] = {"and", "or", "else"};  // Jinja takes "if" for a name.
  return std::ranges::find(kGoOn, next->text) == std::end(kGoOn);
}

absl::StatusOr<TemplateExpression> ExpressionParser::ParseTest(TemplateExpression target) {
  const bool is_not = TakeName("not");
  ASSIGN_OR_RETURN(std::string name, ExpectName());
  TemplateExpression test = Unary(Kind::kTest, std::move(name), std::move(target));
  if (TakeSign("(")) {
    RETURN_IF_ERROR(ParseArguments(test));
  } else if (BeginsArgument()) {
    ASSIGN_OR_RETURN(TemplateExpression argument, ParsePrimary());
    ASSIGN_OR_RETURN(test.parts.emplace_back(), ParseSuffixes(std::move(argument)));
    test.names.emplace_back();
  }
  return is_not ? Unary(Kind::kNot, "", std::move(test)) : std::move(test);
}

}  // namespace fedtune

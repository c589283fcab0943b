// SPDX-License-Identifier: Apache-2.0

#include "model/chat/template_parser.h"

#include <iterator>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/expression_parser.h"
#include "model/chat/template_tokens.h"

namespace fedtune {
namespace {

constexpr size_t kMaxBytes = 256 * 1024;
constexpr int kMaxDepth = 60;

using Kind = TemplateStatement::Kind;
using Body = std::vector<TemplateStatement>;

class Parser {
 public:
  explicit Parser(std::vector<TemplatePart> parts) : parts_(std::move(parts)) {}

  absl::StatusOr<Body> Parse() {
    ASSIGN_OR_RETURN(Body body, ParseBody());
    if (at_ == parts_.size()) return body;
    return Wrong(fmt::format("\"{}\" without what it belongs to", TagName()));
  }

 private:
  absl::Status Wrong(std::string_view what) const {
    const size_t line = parts_.empty() ? 1 : parts_[std::min(at_, parts_.size() - 1)].line;
    return absl::InvalidArgumentError(fmt::format("line {}: {}", line, what));
  }

  // The first word of the tag that comes next; nothing if no tag does.
  std::string TagName() const {
    if (at_ >= parts_.size() || parts_[at_].kind != TemplatePart::Kind::kTag) return "";
    const std::vector<TemplateToken>& tokens = parts_[at_].tokens;
    return tokens.empty() ? "(nothing)" : tokens[0].text;
  }

  // Up to a tag that is not the beginning of a statement.
  absl::StatusOr<Body> ParseBody() {
    if (++depth_ > kMaxDepth) return Wrong("nested too deeply");
    Body body;
    for (; at_ < parts_.size(); ++at_) {
      TemplatePart& part = parts_[at_];
      TemplateStatement statement{Kind::kText, part.line};
      if (part.kind == TemplatePart::Kind::kText) {
        statement.text = std::move(part.text);
      } else if (part.kind == TemplatePart::Kind::kExpression) {
        RETURN_IF_ERROR(ParseOutput(statement));
      } else {
        const std::string name = TagName();
        if (name == "else" || name == "elif" || name.starts_with("end")) break;
        RETURN_IF_ERROR(ParseTag(name, statement));
      }
      body.push_back(std::move(statement));
    }
    --depth_;
    return body;
  }

  absl::Status Annotated(const absl::Status& status) const {
    return status.ok() ? status : Wrong(Message(status));
  }

  absl::Status ParseOutput(TemplateStatement& statement) {
    statement.kind = Kind::kOutput;
    ExpressionParser words(parts_[at_].tokens);
    const auto parse = [&]() -> absl::Status {
      ASSIGN_OR_RETURN(statement.expressions.emplace_back(), words.Parse());
      return words.ExpectEnd();
    };
    return Annotated(parse());
  }

  absl::Status ParseTag(const std::string& name, TemplateStatement& statement) {
    if (name == "if") return ParseIf(statement);
    if (name == "for") return ParseFor(statement);
    if (name == "set") return ParseSet(statement);
    if (name == "macro") return ParseMacro(statement);
    if (name == "generation") {
      statement.kind = Kind::kScope;
      RETURN_IF_ERROR(ParseSingleWord(name));
      return ParseInner(statement, "endgeneration");
    }
    if (name == "break" || name == "continue") {
      statement.kind = name == "break" ? Kind::kBreak : Kind::kContinue;
      if (!in_loop_) return Wrong(fmt::format("\"{}\" outside of a loop", name));
      return ParseSingleWord(name);
    }
    return Wrong(fmt::format("\"{}\" is not supported", name));
  }

  absl::Status ParseSingleWord(const std::string& name) const {
    ExpressionParser words(parts_[at_].tokens);
    words.TakeName(name);
    return Annotated(words.ExpectEnd());
  }

  // The body of the tag that comes next, up to the tag `end`.
  absl::Status ParseInner(TemplateStatement& statement, std::string_view end, bool loops = false) {
    const bool outside = std::exchange(in_loop_, loops);
    ++at_;
    ASSIGN_OR_RETURN(statement.bodies.emplace_back(), ParseBody());
    in_loop_ = outside;
    return TagName() == end ? absl::OkStatus() : Wrong(fmt::format("\"{}\" is missing", end));
  }

  // What stands behind the first word of the tag that comes next.
  absl::StatusOr<TemplateExpression> ParseConditionOfTag(const std::string& name) {
    ExpressionParser words(parts_[at_].tokens);
    words.TakeName(name);
    absl::StatusOr<TemplateExpression> condition = words.ParseWithoutCondition();
    if (!condition.ok()) return Annotated(condition.status());
    RETURN_IF_ERROR(Annotated(words.ExpectEnd()));
    return condition;
  }

  absl::Status ParseIf(TemplateStatement& statement) {
    statement.kind = Kind::kIf;
    for (std::string name = "if"; name == "if" || name == "elif"; name = TagName()) {
      ASSIGN_OR_RETURN(statement.expressions.emplace_back(), ParseConditionOfTag(name));
      ++at_;
      ASSIGN_OR_RETURN(statement.bodies.emplace_back(), ParseBody());
    }
    if (TagName() == "else") {
      ++at_;
      ASSIGN_OR_RETURN(statement.bodies.emplace_back(), ParseBody());
    }
    return TagName() == "endif" ? absl::OkStatus() : Wrong("\"endif\" is missing");
  }

  absl::Status ParseFor(TemplateStatement& statement) {
    statement.kind = Kind::kFor;
    RETURN_IF_ERROR(Annotated(ParseHeadOfFor(statement)));
    const bool outside = std::exchange(in_loop_, true);
    ++at_;
    ASSIGN_OR_RETURN(statement.bodies.emplace_back(), ParseBody());
    in_loop_ = outside;
    if (TagName() == "else") {
      ++at_;
      ASSIGN_OR_RETURN(statement.bodies.emplace_back(), ParseBody());
    }
    return TagName() == "endfor" ? absl::OkStatus() : Wrong("\"endfor\" is missing");
  }

  absl::Status ParseHeadOfFor(TemplateStatement& statement) const {
    ExpressionParser words(parts_[at_].tokens);
    words.TakeName("for");
    ASSIGN_OR_RETURN(statement.text, words.ExpectName());
    while (words.TakeSign(",")) {
      ASSIGN_OR_RETURN(statement.more_names.emplace_back(), words.ExpectName());
    }
    if (!words.TakeName("in")) return absl::InvalidArgumentError("\"in\" is missing");
    ASSIGN_OR_RETURN(statement.expressions.emplace_back(), words.ParseWithoutCondition());
    TemplateExpression& condition = statement.expressions.emplace_back();
    if (words.TakeName("if")) {
      ASSIGN_OR_RETURN(condition, words.Parse());
    }
    return words.ExpectEnd();
  }

  absl::Status ParseSet(TemplateStatement& statement) {
    statement.kind = Kind::kSet;
    RETURN_IF_ERROR(Annotated(ParseHeadOfSet(statement)));
    return statement.expressions.empty() ? ParseInner(statement, "endset") : absl::OkStatus();
  }

  absl::Status ParseHeadOfSet(TemplateStatement& statement) const {
    ExpressionParser words(parts_[at_].tokens);
    words.TakeName("set");
    ASSIGN_OR_RETURN(statement.text, words.ExpectName());
    if (words.TakeSign(".")) {
      ASSIGN_OR_RETURN(statement.member, words.ExpectName());
    }
    if (words.ExpectEnd().ok()) return absl::OkStatus();
    RETURN_IF_ERROR(words.ExpectSign("="));
    ASSIGN_OR_RETURN(statement.expressions.emplace_back(), words.Parse());
    return words.ExpectEnd();
  }

  absl::Status ParseMacro(TemplateStatement& statement) {
    statement.kind = Kind::kMacro;
    RETURN_IF_ERROR(Annotated(ParseHeadOfMacro(statement)));
    return ParseInner(statement, "endmacro");
  }

  absl::Status ParseHeadOfMacro(TemplateStatement& statement) const {
    ExpressionParser words(parts_[at_].tokens);
    words.TakeName("macro");
    ASSIGN_OR_RETURN(statement.text, words.ExpectName());
    RETURN_IF_ERROR(words.ExpectSign("("));
    while (!words.TakeSign(")")) {
      if (!statement.more_names.empty()) RETURN_IF_ERROR(words.ExpectSign(","));
      ASSIGN_OR_RETURN(statement.more_names.emplace_back(), words.ExpectName());
      TemplateExpression& otherwise = statement.expressions.emplace_back();
      const bool is_last_given =
          statement.expressions.size() > 1 &&
          std::prev(statement.expressions.end(), 2)->kind != TemplateExpression::Kind::kNothing;
      if (words.TakeSign("=")) {
        ASSIGN_OR_RETURN(otherwise, words.Parse());
      } else if (is_last_given) {
        return absl::InvalidArgumentError("a parameter without a default follows one with it");
      }
    }
    return words.ExpectEnd();
  }

  std::vector<TemplatePart> parts_;
  size_t at_ = 0;
  int depth_ = 0;
  bool in_loop_ = false;
};

}  // namespace

absl::StatusOr<std::vector<TemplateStatement>> ParseTemplate(std::string_view source) {
  if (source.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{} bytes; at most {} are taken", source.size(), kMaxBytes));
  }
  ASSIGN_OR_RETURN(std::vector<TemplatePart> parts, CutTemplate(source));
  return Parser(std::move(parts)).Parse();
}

}  // namespace fedtune

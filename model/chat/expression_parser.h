// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/template_tokens.h"
#include "model/chat/template_tree.h"

namespace fedtune {

// Reads expressions from the words of one tag, from left to right. The words must
// outlive it.
class ExpressionParser {
 public:
  explicit ExpressionParser(const std::vector<TemplateToken>& tokens) : tokens_(tokens) {}

  // INVALID_ARGUMENT: no expression here, or nested too deeply.
  absl::StatusOr<TemplateExpression> Parse();

  // The same without "a if b else c", as "for" wants it.
  absl::StatusOr<TemplateExpression> ParseWithoutCondition();

  // Takes the next word if it is this sign or name.
  bool TakeSign(std::string_view sign);
  bool TakeName(std::string_view name);

  // INVALID_ARGUMENT: no name here.
  absl::StatusOr<std::string> ExpectName();

  // INVALID_ARGUMENT: another word.
  absl::Status ExpectSign(std::string_view sign);

  // INVALID_ARGUMENT: words are left.
  absl::Status ExpectEnd() const;

 private:
  using Result = absl::StatusOr<TemplateExpression>;

  Result ParseAnd();
  Result ParseNot();
  Result ParseComparison();
  Result ParseSum();
  Result ParseConcatenation();
  Result ParseProduct();
  Result ParseSigned();
  Result ParseFilters(TemplateExpression value);
  Result ParseSuffixes(TemplateExpression value);
  Result ParsePrimary();
  Result ParseInParentheses();
  Result ParseList(std::string_view closing, TemplateExpression list);
  Result ParseObject();
  Result ParseSubscript(TemplateExpression target);
  Result ParseCall(TemplateExpression target);
  Result ParseFilter(TemplateExpression target);
  Result ParseTest(TemplateExpression target);
  absl::Status ParseArguments(TemplateExpression& call);
  TemplateExpression ParseText(std::string text);
  bool BeginsArgument() const;

  bool NextIs(TemplateToken::Kind kind, std::string_view text, size_t ahead = 0) const;
  const TemplateToken* Next() const { return at_ < tokens_.size() ? &tokens_[at_] : nullptr; }

  const std::vector<TemplateToken>& tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace fedtune

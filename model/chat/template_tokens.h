// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fedtune {

// A word of what stands between {{ and }} or {% and %}.
struct TemplateToken {
  enum class Kind { kName, kText, kNumber, kSign };
  Kind kind = Kind::kSign;
  std::string text;    // As it stands; a text's without quotes and escapes.
  int64_t number = 0;  // A number's value.
};

// A part of a template: text as it stands, {{ an expression }} or {% a tag %}.
struct TemplatePart {
  enum class Kind { kText, kExpression, kTag };
  Kind kind = Kind::kText;
  std::string text;                   // Of kText.
  std::vector<TemplateToken> tokens;  // Of the others.
  size_t line = 1;
};

// Cuts a template into its parts. Comments are left out, and white space as Jinja
// does with trim_blocks and lstrip_blocks, which is how transformers uses it.
//
// INVALID_ARGUMENT: not a template (says in which line).
absl::StatusOr<std::vector<TemplatePart>> CutTemplate(std::string_view source);

}  // namespace fedtune

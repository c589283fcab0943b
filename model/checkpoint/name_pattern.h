// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace re2 {
class RE2;
}

namespace fedtune {

// A pattern for the names of modules, as peft has them in rank_pattern and
// alpha_pattern: a regular expression for the whole name, or for what stands
// behind one of its dots. "q_proj", "self_attn.o_proj", "layers\.[0-3]\..*_proj".
// Expressions are RE2's, which match in linear time, and mean what they mean in Python;
// copies share them.
class NamePattern {
 public:
  // INVALID_ARGUMENT: empty, longer than 1,000 characters, no regular expression (says
  // why), or one that Python would take for another.
  static absl::StatusOr<NamePattern> Create(std::string_view text);

  bool Matches(std::string_view name) const;

  const std::string& text() const { return text_; }

  // Whether it is a name, in which only a dot stands for more than itself.
  bool is_plain() const { return expression_ == nullptr; }

 private:
  explicit NamePattern(std::string_view text) : text_(text) {}

  std::string text_;
  std::shared_ptr<const re2::RE2> expression_;  // Null for letters, digits and dots alone.
};

}  // namespace fedtune

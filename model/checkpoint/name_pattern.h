// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace re2 {
class RE2;
}

namespace fedtune {

// A pattern for the names of modules, as peft has them in rank_pattern and
// alpha_pattern: a regular expression for the whole name, or for what stands
// behind one of its dots. "q_proj", "self_attn.o_proj", "layers\.[0-3]\..*_proj".
// Expressions are RE2's, which match in linear time; copies share them.
class NamePattern {
 public:
  // INVALID_ARGUMENT: empty, longer than 1,000 characters, or no regular
  // expression (says why).
  static absl::StatusOr<NamePattern> Create(std::string_view text);

  // The same, but an expression for the whole name alone, as in target_modules.
  static absl::StatusOr<NamePattern> CreateWhole(std::string_view text);

  bool Matches(std::string_view name) const;

  const std::string& text() const { return text_; }

 private:
  explicit NamePattern(std::string_view text) : text_(text) {}

  absl::Status Compile(std::string_view expression);

  std::string text_;
  std::shared_ptr<const re2::RE2> expression_;  // Null for letters, digits and dots alone.
};

// Patterns, each with what holds for the names that it matches.
template <typename T>
using NamePatterns = std::vector<std::pair<NamePattern, T>>;

// What the first pattern says that matches `name`; nothing when none does.
template <typename T>
std::optional<T> FirstMatch(const NamePatterns<T>& patterns, std::string_view name) {
  for (const auto& [pattern, value] : patterns) {
    if (pattern.Matches(name)) return value;
  }
  return std::nullopt;
}

}  // namespace fedtune

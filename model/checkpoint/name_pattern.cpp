// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/name_pattern.h"

#include <algorithm>
#include <cctype>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "re2/re2.h"

namespace fedtune {
namespace {

constexpr size_t kMostCharacters = 1000;
constexpr int64_t kMemory = 1 << 20;  // For one compiled expression.

// Most patterns: names, in which only a dot stands for more than itself.
bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
}

bool EndsIn(std::string_view name, std::string_view plain) {
  if (name.size() < plain.size()) return false;
  const size_t begin = name.size() - plain.size();
  if (begin > 0 && name[begin - 1] != '.') return false;
  return std::equal(plain.begin(), plain.end(), name.substr(begin).begin(),
                    [](char p, char c) { return p == '.' || p == c; });
}

absl::Status CheckSize(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("an empty pattern");
  if (text.size() <= kMostCharacters) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a pattern of more than {} characters", kMostCharacters));
}

}  // namespace

absl::StatusOr<NamePattern> NamePattern::Create(std::string_view text) {
  RETURN_IF_ERROR(CheckSize(text));
  NamePattern pattern(text);
  if (!IsPlain(text)) RETURN_IF_ERROR(pattern.Compile(fmt::format("(?:.*\\.)?(?:{})", text)));
  return pattern;
}

absl::StatusOr<NamePattern> NamePattern::CreateWhole(std::string_view text) {
  RETURN_IF_ERROR(CheckSize(text));
  NamePattern pattern(text);
  RETURN_IF_ERROR(pattern.Compile(text));
  return pattern;
}

absl::Status NamePattern::Compile(std::string_view expression) {
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kMemory);
  const re2::StringPiece piece(expression.data(), expression.size());
  auto compiled = std::make_shared<const RE2>(piece, options);
  if (!compiled->ok()) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\" is not a regular expression: {}", text_, compiled->error()));
  }
  expression_ = std::move(compiled);
  return absl::OkStatus();
}

bool NamePattern::Matches(std::string_view name) const {
  if (expression_ == nullptr) return EndsIn(name, text_);
  return RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *expression_);
}

}  // namespace fedtune

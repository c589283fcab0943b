// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/name_pattern.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "re2/re2.h"

namespace fedtune {
namespace {

constexpr size_t kMostCharacters = 1000;
// For one compiled expression: what nearly all need, and the most that one may take.
constexpr int64_t kMemory[] = {1 << 18, 1 << 20};

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

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The count with which `text` begins: "{2}", "{1,}", "{,3}". Empty: it begins with none.
std::string_view CountAt(std::string_view text) {
  if (!text.starts_with('{')) return {};
  const size_t end = text.find_first_not_of("0123456789,", 1);
  if (end == std::string_view::npos || end == 1 || text[end] != '}') return {};
  const std::string_view count = text.substr(0, end + 1);
  return std::ranges::count(count, ',') < 2 ? count : std::string_view();
}

// RE2 takes one for its letters where the lowest number is left out or a number begins
// with a zero, "{,3}", "{02}": with that number, and without that zero.
std::string CountOfRe2(std::string_view count) {
  std::string words;
  for (size_t i = 0; i < count.size(); ++i) {
    if (count[i] == ',' && words.back() == '{') words += '0';
    const bool is_too_much = count[i] == '0' && !IsDigit(words.back()) && IsDigit(count[i + 1]);
    if (!is_too_much) words += count[i];
  }
  return words;
}

// An expression of Python's in RE2's words. INVALID_ARGUMENT: RE2 would take it for another.
absl::StatusOr<std::string> InWordsOfRe2(std::string_view text) {
  std::string words;
  std::optional<size_t> set;  // Where the first character of the one begins that is open.
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    words += rest.front();
    if (rest.front() == '\\' && rest.size() > 1) {
      words += text[++i];
    } else if (set.has_value()) {
      const size_t end = rest.starts_with("[:") ? rest.find(":]", 2) : std::string_view::npos;
      if (end != std::string_view::npos) {
        return absl::InvalidArgumentError(
            fmt::format("\"{}\" names a class of characters, {}, which Python has not", text,
                        rest.substr(0, end + 2)));
      }
      if (rest.front() == ']' && i > *set) set.reset();
    } else if (rest.front() == '[') {
      set = i + (rest.starts_with("[^") ? 2 : 1);
    } else if (const std::string_view count = CountAt(rest); !count.empty()) {
      words.pop_back();
      words += CountOfRe2(count);
      i += count.size() - 1;
    }
  }
  return words;
}

// An expression that matches a name, or what stands behind one of its dots; or which has an error.
std::shared_ptr<const RE2> Compiled(std::string_view words) {
  std::shared_ptr<const RE2> expression;
  for (const int64_t memory : kMemory) {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(memory);
    expression = std::make_shared<const RE2>(fmt::format("(?:.*\\.)?(?:{})", words), options);
    if (expression->error_code() != RE2::ErrorPatternTooLarge) break;
  }
  return expression;
}

}  // namespace

absl::StatusOr<NamePattern> NamePattern::Create(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("an empty pattern");
  if (text.size() > kMostCharacters) {
    return absl::InvalidArgumentError(
        fmt::format("a pattern of more than {} characters", kMostCharacters));
  }
  NamePattern pattern(text);
  if (IsPlain(text)) return pattern;
  ASSIGN_OR_RETURN(const std::string words, InWordsOfRe2(text));
  std::shared_ptr<const RE2> expression = Compiled(words);
  if (!expression->ok()) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\" is not a regular expression: {}", text, expression->error()));
  }
  pattern.expression_ = std::move(expression);
  return pattern;
}

bool NamePattern::Matches(std::string_view name) const {
  if (expression_ == nullptr) return EndsIn(name, text_);
  return RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *expression_);
}

}  // namespace fedtune

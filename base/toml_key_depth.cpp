// SPDX-License-Identifier: Apache-2.0

#include "base/toml_key_depth.h"

#include <algorithm>
#include <string>

namespace fedtune {
namespace {

constexpr size_t kEnd = std::string_view::npos;

// Where the string that begins at `start` ends: behind its quotes, or the end of
// the text.
size_t EndOfString(std::string_view toml, size_t start) {
  const char quote = toml[start];
  const bool escapes = quote == '"';
  const std::string_view opening = toml.substr(start, 3);
  const bool long_form = opening.size() == 3 && opening == std::string(3, quote);
  for (size_t i = start + (long_form ? 3 : 1); i < toml.size(); ++i) {
    if (escapes && toml[i] == '\\') {
      ++i;
    } else if (!long_form && (toml[i] == quote || toml[i] == '\n')) {
      return toml[i] == quote ? i + 1 : i;
    } else if (long_form && toml.substr(i, 3) == opening) {
      return std::min(toml.find_first_not_of(quote, i), i + 5);
    }
  }
  return toml.size();
}

size_t EndOfComment(std::string_view toml, size_t start) {
  const size_t end = toml.find('\n', start);
  return end == kEnd ? toml.size() : end;
}

bool EndsKey(char c) { return std::string_view("\n=,[]{}").find(c) != std::string_view::npos; }

}  // namespace

std::optional<uint32_t> LineOfDeeperKey(std::string_view toml, int most) {
  int parts = 1;
  for (size_t i = 0; i < toml.size();) {
    const char c = toml[i];
    if (c == '.' && ++parts > most) {
      return static_cast<uint32_t>(1 + std::count(toml.begin(), toml.begin() + i, '\n'));
    }
    if (EndsKey(c)) parts = 1;
    if (c == '"' || c == '\'') {
      i = EndOfString(toml, i);
    } else if (c == '#') {
      i = EndOfComment(toml, i);
    } else {
      ++i;
    }
  }
  return std::nullopt;
}

}  // namespace fedtune

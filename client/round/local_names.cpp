// SPDX-License-Identifier: Apache-2.0

#include "client/round/local_names.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr std::string_view kBeforeAPath = " \t\n\"'(,;=<";
constexpr std::string_view kBehindAPath = " \t\n\"'),;:>";

bool IsBoundary(std::string_view text, size_t at, std::string_view characters) {
  return at >= text.size() || characters.find(text[at]) != std::string_view::npos;
}

bool StartsHere(std::string_view text, size_t at) {
  return at == 0 || IsBoundary(text, at - 1, kBeforeAPath);
}

// Whether `path`, or what lies under it, is named at `at`.
bool IsNamedAt(std::string_view text, size_t at, std::string_view path) {
  if (!text.substr(at).starts_with(path)) return false;
  const size_t end = at + path.size();
  return IsBoundary(text, end, kBehindAPath) || text[end] == '/';
}

}  // namespace

LocalNames::LocalNames(std::vector<Name> names) : names_(std::move(names)) {
  std::erase_if(names_, [](const Name& name) { return name.path.empty(); });
  std::stable_sort(names_.begin(), names_.end(), [](const Name& a, const Name& b) {
    return a.path.native().size() > b.path.native().size();
  });
}

std::string LocalNames::Hide(std::string_view text) const {
  std::string hidden;
  size_t at = 0;
  while (at < text.size()) {
    const bool starts = StartsHere(text, at);
    const auto named = std::find_if(names_.begin(), names_.end(), [&](const Name& name) {
      return starts && IsNamedAt(text, at, name.path.native());
    });
    if (named != names_.end()) {
      hidden += fmt::format("<{}>", named->meaning);
      at += named->path.native().size();
    } else if (starts && text[at] == '/' && !IsBoundary(text, at + 1, kBehindAPath)) {
      hidden += "<path>";
      at = std::min(text.find_first_of(kBehindAPath, at), text.size());
    } else {
      hidden += text[at++];
    }
  }
  return hidden;
}

}  // namespace fedtune

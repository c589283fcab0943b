// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/splitter.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace fedtune {
namespace {

// A stretch of the text that the pattern matched, or that it left.
struct Part {
  ByteRange range;
  bool is_match = false;
};

// The matches and what lies between them, in order and without gaps; one is
// taken for the other if `invert`.
void FillGaps(const std::vector<ByteRange>& matches, size_t size, bool invert,
              std::vector<Part>& parts) {
  parts.clear();
  size_t end = 0;
  for (const ByteRange& match : matches) {
    if (match.begin > end) parts.push_back({{end, match.begin}, invert});
    parts.push_back({match, !invert});
    end = match.end;
  }
  if (end < size) parts.push_back({{end, size}, invert});
}

// Whether `part` is to be joined to the part before it, which is or is not a
// match as `after_match` says. At the beginning of the text, it is not.
bool JoinsPrevious(SplitBehaviour behaviour, const Part& part, bool after_match) {
  switch (behaviour) {
    case SplitBehaviour::kRemoved:
    case SplitBehaviour::kIsolated:
      return false;
    case SplitBehaviour::kMergedWithPrevious:
      return part.is_match && !after_match;
    case SplitBehaviour::kMergedWithNext:
      return !part.is_match && after_match;
    case SplitBehaviour::kContiguous:
      return part.is_match == after_match;
  }
  return false;
}

// Joins parts as `behaviour` says; each result keeps the kind of its last part.
void Join(SplitBehaviour behaviour, std::vector<Part>& parts) {
  size_t kept = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (kept > 0 && JoinsPrevious(behaviour, parts[i], parts[kept - 1].is_match)) {
      parts[kept - 1] = {{parts[kept - 1].range.begin, parts[i].range.end}, parts[i].is_match};
    } else {
      parts[kept++] = parts[i];
    }
  }
  parts.resize(kept);
}

void FindText(std::string_view wanted, std::string_view text, std::vector<ByteRange>& matches) {
  matches.clear();
  for (size_t at = text.find(wanted); at != std::string_view::npos;
       at = text.find(wanted, at + wanted.size())) {
    matches.push_back({at, at + wanted.size()});
  }
}

// Finds the matches of either kind of pattern.
class Finder {
 public:
  explicit Finder(const Splitter::Pattern& pattern) : text_(std::get_if<std::string>(&pattern)) {
    if (const Regex* regex = std::get_if<Regex>(&pattern)) search_.emplace(*regex);
  }

  absl::Status FindAll(std::string_view piece, std::vector<ByteRange>& matches) {
    if (search_.has_value()) return search_->FindAll(piece, matches);
    FindText(*text_, piece, matches);
    return absl::OkStatus();
  }

 private:
  const std::string* text_;
  std::optional<RegexSearch> search_;
};

}  // namespace

Splitter::Splitter(Pattern pattern, Options options)
    : pattern_(std::move(pattern)), options_(options) {
  const std::string* text = std::get_if<std::string>(&pattern_);
  Check(text == nullptr || !text->empty(), "a splitter looks for empty text");
}

absl::Status Splitter::Apply(std::vector<std::string_view>& pieces) const {
  Finder finder(pattern_);
  std::vector<std::string_view> cut;
  cut.reserve(pieces.size());
  std::vector<ByteRange> matches;
  std::vector<Part> parts;
  for (const std::string_view piece : pieces) {
    RETURN_IF_ERROR(finder.FindAll(piece, matches));
    FillGaps(matches, piece.size(), options_.invert, parts);
    Join(options_.behaviour, parts);
    for (const auto& [range, is_match] : parts) {
      const bool removed = is_match && options_.behaviour == SplitBehaviour::kRemoved;
      if (range.begin == range.end || removed) continue;
      cut.push_back(piece.substr(range.begin, range.end - range.begin));
    }
  }
  pieces = std::move(cut);
  return absl::OkStatus();
}

}  // namespace fedtune

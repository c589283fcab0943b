// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "model/tokenizer/regex.h"

namespace fedtune {

// What becomes of the text that a Splitter's pattern matches, shown for the
// pattern "-" and the text "a--b".
enum class SplitBehaviour {
  kRemoved,             // a b
  kIsolated,            // a - - b
  kMergedWithPrevious,  // a- - b
  kMergedWithNext,      // a - -b
  kContiguous,          // a -- b
};

// Cuts pieces of text into smaller ones where a pattern matches: the step
// "Split" of a tokenizer file. Thread-safe.
class Splitter {
 public:
  struct Options {
    SplitBehaviour behaviour = SplitBehaviour::kIsolated;
    bool invert = false;  // Take what does not match for the match.
  };

  // A pattern is an expression or text to look for, which must not be empty.
  using Pattern = std::variant<Regex, std::string>;

  Splitter(Pattern pattern, Options options);

  // Replaces each of `pieces` by what it is cut into. No piece is ever empty.
  //
  // RESOURCE_EXHAUSTED: see RegexSearch; `pieces` is unspecified.
  absl::Status Apply(std::vector<std::string_view>& pieces) const;

 private:
  Pattern pattern_;
  Options options_;
};

}  // namespace fedtune

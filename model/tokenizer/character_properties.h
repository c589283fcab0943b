// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

struct OnigEncodingTypeST;  // How Oniguruma reads text.

namespace fedtune {

// The code points from `first` to `last`.
struct CodePointRange {
  uint32_t first = 0;
  uint32_t last = 0;

  friend auto operator<=>(const CodePointRange&, const CodePointRange&) = default;
};

// The characters that have a property of Unicode 16 ("L", "Han", "Alphabetic"),
// sorted and with gaps between them: what the system's Oniguruma says of those
// that it knows, and a table of those that it is too old to know. The property
// must be one. Thread-safe.
std::vector<CodePointRange> CharactersWith(std::string_view property);

// UTF-8 in whose expressions properties (\p{Han}, \w, [[:alpha:]], word ends) have
// the characters of Unicode 16. What (?i) takes for the same letter, and where \X
// ends, stays with the system's Oniguruma. There as long as the process lives.
OnigEncodingTypeST* Utf8OfUnicode16();

}  // namespace fedtune

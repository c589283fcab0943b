// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

namespace fedtune {

// Text that somebody else wrote, as it may be shown on a terminal or written to
// a log: one line that cannot move the cursor, recolour, retitle or reorder
// what stands around it. Control characters, line and paragraph separators and
// changes of the writing direction become "\x1b", "\n" or "\u202e"; so do bytes
// that are not UTF-8. All else, umlauts and the like included, stays.
//
// Used where such text comes in: messages of clients at the coordinator, of the
// coordinator at clients and administrators, and once more in logs and errors.
//
// What is shown has at most `most_bytes` and ends with a whole character.
std::string PrintableText(std::string_view text, size_t most_bytes = std::string_view::npos);

// The same, but line breaks stay: for messages of several lines.
std::string PrintableLines(std::string_view text);

}  // namespace fedtune

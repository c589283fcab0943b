// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/chat/marked_text.h"
#include "model/chat/template_value.h"

namespace fedtune {

// What Python's methods of texts make of well-formed UTF-8. What is left of a text keeps
// its marks.

// Without white space at the beginning, or at the end.
MarkedText Stripped(const MarkedText& text, bool left, bool right);

// Without any of `characters`, which are ASCII, there.
MarkedText Stripped(const MarkedText& text, std::string_view characters, bool left, bool right);

// As json.dumps(..., ensure_ascii=False) writes it.
MarkedText AsJson(const MarkedText& text);

// At most so many cuts, any number if negative. `separator` is not empty.
//
// RESOURCE_EXHAUSTED: over 65,536 parts.
absl::StatusOr<TemplateValue> Split(const MarkedText& text, std::string_view separator,
                                    int64_t at_most);

// With `other` for each `part`, which is not empty; it counts as said by whoever said that.
//
// RESOURCE_EXHAUSTED: over 64 MiB.
absl::StatusOr<TemplateValue> Replaced(const MarkedText& text, std::string_view part,
                                       std::string_view other);

// What the method `name`, one of upper, lower, capitalize and title, makes of it. Nothing
// where the name is another, text is not ASCII, or the title is of more than one word.
std::optional<MarkedText> InCase(const MarkedText& text, std::string_view name);

// Where `part` begins at or behind `from`, npos if nowhere, as std::string_view::find says, but in
// time linear in their sizes.
size_t FindPart(std::string_view text, std::string_view part, size_t from = 0);

// How many characters it has.
int64_t CharacterCount(std::string_view text);

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

namespace fedtune {

// UTF-8 without what Python's strip() takes away at its beginning, or at its end. Besides
// Unicode's white space that is U+001C to U+001F.
std::string_view WithoutSpaceBefore(std::string_view text);
std::string_view WithoutSpaceBehind(std::string_view text);

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fedtune {

// The line (from 1) of the first key with more than `most` parts in a TOML text,
// such as a.b.c with three. A parser makes a table of each part, tables end one
// inside another, and with 100,000 of them the stack ends first: so this is asked
// before a text is parsed. What is not TOML is read as far as it is.
std::optional<uint32_t> LineOfDeeperKey(std::string_view toml, int most);

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace fedtune {

// Bytes of memory that this process may use: the machine's, or those of a control
// group (of either version) that it is in, if they are fewer. Swap does not count.
uint64_t UsableMemory();

// The least that any of this process's control groups allows; none where none is
// limited. Files are looked for below `root`, "/" but in tests.
std::optional<uint64_t> ControlGroupLimit(const std::filesystem::path& root);

}  // namespace fedtune

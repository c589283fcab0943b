// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>

namespace fedtune {

// How many cores this process may use, at least one: those that it may run on, or what the
// processor time of a control group (of either version) that it is in comes to, rounded up,
// if that is fewer. In a container both may be fewer than the machine has.
int UsableCores();

// The fewest that any of this process's control groups allows; none where none is
// limited. Files are looked for below `root`, "/" but in tests.
std::optional<int> ControlGroupCores(const std::filesystem::path& root);

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace fedtune {

// A controller of control groups: its name, and the file with its limit in either version.
struct GroupController {
  std::string_view name;      // Of version 1, as "memory".
  std::string_view limit_v1;  // As "memory.limit_in_bytes".
  std::string_view limit_v2;  // As "memory.max".
};

// The files that may say a limit of this process: of each of its control groups that the
// controller counts in, and of those that these lie in. A file may not be there. Files are
// looked for below `root`, "/" but in tests.
std::vector<std::filesystem::path> LimitFiles(const std::filesystem::path& root,
                                              const GroupController& controller);

}  // namespace fedtune

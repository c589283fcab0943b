// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <vector>

#include "absl/status/status.h"

namespace fedtune {

// What lies in a folder, in the order of the names; nothing if it cannot be read.
std::vector<std::filesystem::path> EntriesOf(const std::filesystem::path& folder);

// Removes a folder with all that is in it; one that is not there is fine. Errors as in
// base/files.h.
absl::Status RemoveAll(const std::filesystem::path& folder);

}  // namespace fedtune

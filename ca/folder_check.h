// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace fedtune {

// Whether a new file can be written, asked before what is to be in it is recorded.
// INVALID_ARGUMENT: there is no such folder. PERMISSION_DENIED and others: it cannot be
// written into.
absl::Status CheckFolderOf(const std::filesystem::path& file);

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace fedtune {

// Which backups there are in a folder goes by their names, which say when they were
// made: "fedtune-20261126T040000Z".
std::string BackupName(absl::Time made);

// Whether a folder has a backup's name, with or without a suffix.
bool IsBackup(const std::filesystem::path& directory);

// The backups in a folder that have no suffix, oldest first.
std::vector<std::filesystem::path> Backups(const std::filesystem::path& backups);

// When the last of them was made, by its name; the infinite past if there is none. Those
// named later than `now` were made while the clock was ahead and do not count.
absl::Time LastBackup(const std::filesystem::path& backups, absl::Time now);

// Removes the oldest of them but for `keep`; first those named later than `now`, which
// would stay for years in the place of all that are made from now on. Errors as
// ErrnoToStatus(); what was removed in part is no backup any more.
absl::Status RemoveOldBackups(const std::filesystem::path& backups, int64_t keep, absl::Time now);

}  // namespace fedtune

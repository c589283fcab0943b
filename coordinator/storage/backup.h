// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/storage/state_check.h"

namespace fedtune {

// A backup is a folder laid out as a state directory is: the database, in one file, and
// the blobs that it names. A blob that the last backup has as well is the same file by
// another name (a hard link), so that keeping many backups costs little; nothing is
// shared with the state directory itself. Keys and the signing roster are not in it.

// What has to be free where a backup of `state` is made: twice what it takes, the
// write-ahead log included.
uint64_t SpaceForBackup(const std::filesystem::path& state);

// Makes a backup of `state` in the folder `backups`, while a coordinator may be using
// it, and reads all of it again before it gets its name, which ends with `suffix`.
//
// DATA_LOSS: the state directory is damaged; says where. RESOURCE_EXHAUSTED: less space
// is free than SpaceForBackup(), as runs need space, too.
// FAILED_PRECONDITION: another process is making a backup there. ALREADY_EXISTS: there
// is one of this second. CANCELLED: by `progress`. UNAVAILABLE: as of
// SqliteDatabase::CheckIsStill().
absl::StatusOr<std::filesystem::path> BackUp(const std::filesystem::path& state,
                                             const std::filesystem::path& backups, absl::Time now,
                                             std::string_view suffix = "",
                                             const TaskProgress& progress = nullptr);

// Makes `state` what the backup says. Everything is read before and after it is copied;
// the database gets its name last, so that a restore that was cut off is no state
// directory and can be done again.
//
// FAILED_PRECONDITION: `state` holds more than keys and backups, or a coordinator uses
// it; or `backup` is a state directory, with a write-ahead log. DATA_LOSS: the backup is
// damaged. RESOURCE_EXHAUSTED: the disk is full.
absl::Status Restore(const std::filesystem::path& backup, const std::filesystem::path& state,
                     const TaskProgress& progress = nullptr);

// Whether a restore into `state` did not come to its end: Restore() is to be called again.
bool RestoreWasCutOff(const std::filesystem::path& state);

}  // namespace fedtune

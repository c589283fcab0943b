// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/storage/state_check.h"

namespace fedtune {

// A backup is a folder laid out as a state directory is: the database, in one file, and
// the blobs that it names. A blob that the last backup has as well is the same file by
// another name (a hard link), so that keeping many backups costs little; nothing is
// shared with the state directory itself. Keys and the signing roster are not in it.

// "fedtune-20261126T040000Z".
std::string BackupName(absl::Time made);

// Whether a folder has a backup's name, with or without a suffix.
bool IsBackup(const std::filesystem::path& directory);

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

// The backups in a folder that have no suffix, oldest first.
std::vector<std::filesystem::path> Backups(const std::filesystem::path& backups);

// When the last of them was made, by its name; the infinite past if there is none. Those
// named later than `now` were made while the clock was ahead and do not count.
absl::Time LastBackup(const std::filesystem::path& backups, absl::Time now);

// Removes the oldest of them but for `keep`; first those named later than `now`, which
// would stay for years in the place of all that are made from now on.
absl::Status RemoveOldBackups(const std::filesystem::path& backups, int64_t keep, absl::Time now);

// What root makes in a folder of another user's, that user can neither use nor remove: a
// coordinator would stop making backups. FAILED_PRECONDITION: `user` is root, and `folder`,
// or what it would be made in, is another's.
absl::Status CheckIsNotAnothers(const std::filesystem::path& folder, uid_t user);

// Makes `state` what the backup says. Everything is read before and after it is copied;
// the database gets its name last, so that a restore that was cut off is no state
// directory and can be done again.
//
// FAILED_PRECONDITION: `state` holds more than keys and backups, or a coordinator uses
// it; or `backup` is a state directory, with a write-ahead log. DATA_LOSS: the backup is damaged.
// RESOURCE_EXHAUSTED.
absl::Status Restore(const std::filesystem::path& backup, const std::filesystem::path& state,
                     const TaskProgress& progress = nullptr);

// A state directory without a database, or with one that knows of no run, is new, or has
// lost it: a coordinator that made another one there would remove the adapters that the
// lost one knew of.
//
// DATA_LOSS: `state` has adapters or contributions, and no database that knows of a run;
// or the database is damaged.
// FAILED_PRECONDITION: a restore there was cut off.
absl::Status CheckHasNotLostItsDatabase(const std::filesystem::path& state);

}  // namespace fedtune

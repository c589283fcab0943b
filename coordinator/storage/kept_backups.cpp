// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/kept_backups.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/files.h"
#include "base/folders.h"
#include "base/status_macros.h"

namespace fedtune {
namespace {

using std::filesystem::path;

constexpr char kNameFormat[] = "fedtune-%E4Y%m%dT%H%M%SZ";

// When a backup of this name was made; nothing if it is no backup's name.
std::optional<absl::Time> TimeOf(const path& backup) {
  absl::Time made;
  std::string ignored;
  const std::string name = backup.filename().string();
  if (!absl::ParseTime(kNameFormat, name, absl::UTCTimeZone(), &made, &ignored)) {
    return std::nullopt;
  }
  return BackupName(made) == name ? std::optional(made) : std::nullopt;
}

// Among backups in the order of their names.
std::vector<path>::iterator FirstOfTheFuture(std::vector<path>& backups, absl::Time now) {
  return std::find_if(backups.begin(), backups.end(),
                      [now](const path& backup) { return *TimeOf(backup) > now; });
}

}  // namespace

std::string BackupName(absl::Time made) {
  return absl::FormatTime(kNameFormat, made, absl::UTCTimeZone());
}

bool IsBackup(const path& directory) {
  const path whole = (std::filesystem::absolute(directory) / "").lexically_normal();
  const std::string name = whole.parent_path().filename();
  return TimeOf(name.substr(0, BackupName(absl::UnixEpoch()).size())).has_value();
}

std::vector<path> Backups(const path& backups) {
  std::vector<path> made = EntriesOf(backups);
  std::erase_if(made, [](const path& entry) { return !TimeOf(entry).has_value(); });
  return made;
}

absl::Time LastBackup(const path& backups, absl::Time now) {
  std::vector<path> made = Backups(backups);
  made.erase(FirstOfTheFuture(made, now), made.end());
  return made.empty() ? absl::InfinitePast() : *TimeOf(made.back());
}

absl::Status RemoveOldBackups(const path& backups, int64_t keep, absl::Time now) {
  std::vector<path> made = Backups(backups);
  std::rotate(made.begin(), FirstOfTheFuture(made, now), made.end());
  for (int64_t i = 0; i < std::ssize(made) - keep; ++i) {
    // What is removed in part is no backup.
    const path unfinished = made[static_cast<size_t>(i)].string() + std::string(kPartialSuffix);
    RETURN_IF_ERROR(RenameDurably(made[static_cast<size_t>(i)], unfinished));
    RETURN_IF_ERROR(RemoveAll(unfinished));
  }
  return absl::OkStatus();
}

}  // namespace fedtune

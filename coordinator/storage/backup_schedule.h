// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"

namespace fedtune {

// Makes a backup each time `every` has passed since the last one in the folder, and
// removes the oldest; the log says what came of it. On a thread of its own, behind
// everything else that wants the processor.
class BackupSchedule {
 public:
  struct Options {
    std::filesystem::path state;
    std::filesystem::path backups;
    absl::Duration every;
    int64_t keep = 24;
  };

  // `clock` and `log` must outlive it.
  BackupSchedule(Options options, const Clock& clock, Log& log);

  // Gives up the backup that is being made, if one is.
  ~BackupSchedule();

  BackupSchedule(const BackupSchedule&) = delete;
  BackupSchedule& operator=(const BackupSchedule&) = delete;

 private:
  void Work();
  void MakeBackup();
  bool WaitFor(absl::Duration time);  // False: it is to end.
  bool stopping() const;

  const Options options_;
  const Clock& clock_;
  Log& log_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;
};

// Makes a backup if this program is about to change the schema of the state
// directory's database: the older version of the program can use that one, and not what
// the database becomes. A whole one that was made before an upgrade that was cut off, since
// which no coordinator has run, is left to stand for it. Nothing: there is no need, or there is
// that one. Errors as BackUp().
absl::StatusOr<std::optional<std::filesystem::path>> BackUpBeforeUpgrade(
    const std::filesystem::path& state, const std::filesystem::path& backups, absl::Time now);

}  // namespace fedtune

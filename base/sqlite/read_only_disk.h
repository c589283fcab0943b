// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// A database on a disk that is read-only, as Linux makes one that has failed: SQLite reads
// it as one that never changes, as a reader, too, would make files beside it otherwise. A
// disk that is read-only by one path, as by a read-only bind mount, may be written by
// another: whoever has read it asks afterwards whether it was.
class DatabaseOnReadOnlyDisk {
 public:
  // None where something can be written, or a write-ahead log, which SQLite would leave out
  // then, lies beside the database.
  static std::optional<DatabaseOnReadOnlyDisk> Find(const std::filesystem::path& database);

  // By which SQLite is to open it.
  std::string Uri() const;

  // UNAVAILABLE: it has been written since Find(), as its size, its time or its log says;
  // what was read may be of no one moment.
  absl::Status CheckIsStill() const;

 private:
  struct Stamp {
    int64_t bytes = 0;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;

    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  static absl::StatusOr<Stamp> StampOf(const std::filesystem::path& file);
  DatabaseOnReadOnlyDisk(std::filesystem::path file, const Stamp& found)
      : file_(std::move(file)), found_(found) {}

  std::filesystem::path file_;
  Stamp found_;
};

}  // namespace fedtune

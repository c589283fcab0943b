// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"

namespace fedtune {

// The coordinator's one connection to its database, which all its stores share:
// they wait for each other at the mutex, where nobody is turned away, and not
// at the file's lock, where SQLite gives up after a while.
struct StateDatabase {
  explicit StateDatabase(SqliteDatabase opened) : connection(std::move(opened)) {}

  SqliteDatabase connection;  // Guarded by mutex.
  std::mutex mutex;
};

inline constexpr std::string_view kDatabaseName = "fedtune.sqlite";
inline constexpr std::string_view kBlobsName = "blobs";
inline constexpr std::string_view kSpoolName = "spool";

// The newest schema that this program knows.
int64_t NewestSchema();

// The epoch of the last coordinator that could write the database: of two copies that have the
// same one, none has written since, except to change the schema. Nothing: it is of before there
// were epochs.
absl::StatusOr<std::optional<int64_t>> LastEpoch(const SqliteDatabase& database);

// Opens the database to write, with checksums on its pages: brings its schema up to date and takes
// the writing over, under an epoch that is one higher than the last one's. Every write asks whether
// that epoch still stands, and whether the path still names the file; when not, the connection
// ends, so that of two coordinators that believe to have the directory (a lock that a network file
// system did not keep, a directory that was moved away under a running one) only the last one
// writes.
//
// `on_end` is told when the database cannot be used any more, for that reason or
// because of an I/O error or damage. It may be called from any thread that uses the
// database, and must not use it.
//
// Errors as SqliteDatabase::OpenChecked() and Migrate().
absl::StatusOr<std::shared_ptr<StateDatabase>> OpenStateDatabase(
    const std::filesystem::path& path,
    std::function<void(const absl::Status&)> on_end = [](const absl::Status&) {});

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
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

// Opens the database and brings its schema up to date.
//
// Errors as SqliteDatabase::Open() and Migrate().
absl::StatusOr<std::shared_ptr<StateDatabase>> OpenStateDatabase(const std::filesystem::path& path);

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
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

inline constexpr int64_t kFirstSchemaWithLog = 9;
inline constexpr int64_t kFirstSchemaWithLogHead = 10;

// Who wrote the database last. Two copies that name the same one differ in nothing but their
// schema: none has been written since. The epoch alone does not say so, as it is counted anew
// from where a restored copy has it.
struct LastWriter {
  int64_t epoch = 0;
  int64_t pid = 0;
  std::string host;
  int64_t since_ms = 0;

  friend bool operator==(const LastWriter&, const LastWriter&) = default;
};

// Nothing: it is of before that was kept, or nobody could write it yet.
absl::StatusOr<std::optional<LastWriter>> LastWriterOf(const SqliteDatabase& database);

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

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/sqlite/sqlite.h"
#include "privacy/audit/log_entry.h"
#include "privacy/audit/log_hasher.h"
#include "privacy/audit/log_tree.h"

namespace fedtune {

// How the audit log lies in the coordinator's database: a row for each entry with the hash
// of its bytes, and the hash of each complete subtree of 2^8, 2^16, ... entries. Those of
// the levels between follow from at most 128 of them, so that an entry costs one row, and
// every 256th two. One row more has the log's head, so that what was done to the entries
// behind the last of those subtrees is found, too.
//
// Errors as in base/sqlite/sqlite.h. Whoever calls holds the database's mutex.

// Levels of subtrees that are stored are multiples of it.
inline constexpr int kStoredLevels = 8;

// By which the entry is found that a run was started, and, of its attempts, that one was
// opened; rounds from 0.
std::string SubjectOfStart(std::string_view run);
std::string SubjectOfOpening(std::string_view run, int64_t round, int64_t attempt);

// How many entries there are.
absl::StatusOr<uint64_t> SizeOfLog(const SqliteDatabase& database);

// The head as it was stored with the last entry. None: the database is of a version that
// stored none, and nobody has gone on with it. DATA_LOSS: it is no head.
absl::StatusOr<std::optional<LogHasher>> StoredHead(const SqliteDatabase& database);

class StoredSubtrees final : public SubtreeHashes {
 public:
  // `database` must outlive it.
  explicit StoredSubtrees(const SqliteDatabase& database) : database_(database) {}

  // DATA_LOSS: a row is missing.
  absl::StatusOr<Digest> Hash(int level, uint64_t index) const override;

  // The same from the stored level below, also where it is to be stored itself.
  // Requires: level > 0.
  absl::StatusOr<Digest> FromBelow(int level, uint64_t index) const;

 private:
  absl::StatusOr<std::vector<Digest>> Stored(int level, uint64_t first, uint64_t count) const;

  const SqliteDatabase& database_;
};

// Adds entries at the end, within the caller's transaction.
//
//   ASSIGN_OR_RETURN(LogWriter log, LogWriter::Begin(database, now));
//   RETURN_IF_ERROR(log.Append(RunResumed{.run = id.value}));
class LogWriter {
 public:
  // Entries are of the moment `at`. `database` must outlive it.
  // DATA_LOSS: the log has not as many entries as were written.
  static absl::StatusOr<LogWriter> Begin(SqliteDatabase& database, absl::Time at);

  absl::Status Append(LogEvent event);

  // As it is, also without another entry.
  absl::Status StoreHead();

 private:
  LogWriter(SqliteDatabase& database, SqliteStatement insert, LogHasher log, absl::Time at)
      : database_(&database), insert_(std::move(insert)), log_(std::move(log)), at_(at) {}

  absl::Status StoreSubtrees();

  SqliteDatabase* database_;
  SqliteStatement insert_;
  LogHasher log_;  // Its size is the next one's place.
  absl::Time at_;
};

}  // namespace fedtune

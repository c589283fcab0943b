// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// Told what is being done and how much of it is; false: give up, which is CANCELLED.
using TaskProgress = std::function<bool(std::string_view task, double fraction)>;

// What lies in a state directory, or in a backup of one.
struct StateReport {
  int64_t schema = 0;
  int64_t runs = 0;
  int64_t blobs = 0;
  int64_t log_entries = 0;  // Of the audit log.
  uint64_t bytes = 0;
  std::vector<std::string> problems;  // A line each: what is damaged, missing or dangling.
};

// Reads everything: each page of the database, its tables, indexes and references, and
// each blob against its SHA-256, the audit log against the hashes of its tree. Changes nothing; a
// coordinator may run meanwhile, in another process.
//
// NOT_FOUND: there is no database. FAILED_PRECONDITION: a newer version of the program
// wrote it. CANCELLED: by `progress`. UNAVAILABLE: as of SqliteDatabase::CheckIsStill().
absl::StatusOr<StateReport> CheckState(const std::filesystem::path& directory,
                                       const TaskProgress& progress = nullptr);

// Whether any of the files is there from which runs under way go on, and, where any blob
// lies in a file, their folder: a file that is missing beside others fails its run alone. Ask
// before a store is opened, which makes the folder; looks at names only.
//
// DATA_LOSS: they are not; which, whose, and what to do.
absl::Status CheckHasItsBlobs(const std::filesystem::path& directory,
                              const SqliteDatabase& database);

// The digests of the blobs that lie in files. Errors as of SqliteStatement::Step().
absl::StatusOr<std::vector<Digest>> BlobsInFiles(const SqliteDatabase& database);

}  // namespace fedtune

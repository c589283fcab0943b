// SPDX-License-Identifier: Apache-2.0

// What SqliteDatabase does with whole files: checksums, copies, checks.

#include <sqlite3.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/files.h"
#include "base/sqlite/checksum_vfs.h"
#include "base/sqlite/log_check.h"
#include "base/sqlite/page_checksum.h"
#include "base/sqlite/sqlite.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kPagesPerStep = 1024;

struct FinishBackup {
  void operator()(sqlite3_backup* backup) const { sqlite3_backup_finish(backup); }
};

// Removes a file that did not become whole.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path path) : path_(std::move(path)) { Remove(); }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() { Remove(); }

  const std::filesystem::path& path() const { return path_; }

 private:
  void Remove() const {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  const std::filesystem::path path_;
};

// What a query of one column says, row by row.
absl::StatusOr<std::vector<std::string>> Lines(SqliteStatement query) {
  std::vector<std::string> lines;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return lines;
    lines.push_back(query.Text(0));
  }
}

}  // namespace

void SqliteDatabase::ReserveChecksumBytes() {
  int bytes = kPageChecksumBytes;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
}

bool SqliteDatabase::ReservesChecksumBytes() const {
  int bytes = -1;  // Asks.
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
  return bytes == kPageChecksumBytes;
}

// By way of a copy that takes the file's name when it is whole.
absl::Status SqliteDatabase::AddChecksums(const std::filesystem::path& database) {
  std::error_code ignored;
  if (std::filesystem::file_size(database, ignored) == 0) return absl::OkStatus();
  // A link stays one.
  const std::filesystem::path path = std::filesystem::canonical(database, ignored);
  ASSIGN_OR_RETURN(const Checksums checksums, ChecksumsOf(path));
  if (checksums == Checksums::kAll) return absl::OkStatus();
  if (checksums == Checksums::kHidden) {
    return absl::DataLossError(fmt::format("{}: page 1 is damaged", path.string()));
  }
  const Unfinished copy(path.string() + std::string(kPartialSuffix));
  {
    ASSIGN_OR_RETURN(SqliteDatabase database, OpenWith(path, SQLITE_OPEN_READWRITE, nullptr));
    RETURN_IF_ERROR(database.Execute("PRAGMA wal_checkpoint(TRUNCATE)"));
    database.ReserveChecksumBytes();
    ASSIGN_OR_RETURN(SqliteStatement vacuum, database.Prepare("VACUUM INTO ?"));
    RETURN_IF_ERROR(vacuum.Bind(copy.path().string()).Step().status());
  }
  if (std::filesystem::exists(LogOf(path), ignored)) {
    return absl::UnavailableError(
        fmt::format("{} is in use by another process; stop that one or try again", path.string()));
  }
  RETURN_IF_ERROR(SealAllPages(copy.path()));
  std::filesystem::permissions(
      copy.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
      ignored);
  return RenameDurably(copy.path(), path);
}

absl::Status SqliteDatabase::CopyPages(SqliteDatabase& to, const PageProgress& progress) {
  const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
      sqlite3_backup_init(to.database_.get(), "main", database_.get(), "main"));
  if (backup == nullptr) return absl::InternalError(sqlite3_errmsg(to.database_.get()));
  int code = SQLITE_OK;
  while (code == SQLITE_OK) {
    code = sqlite3_backup_step(backup.get(), kPagesPerStep);
    const int64_t pages = sqlite3_backup_pagecount(backup.get());
    const int64_t done = pages - sqlite3_backup_remaining(backup.get());
    if (progress != nullptr && !progress(done, pages)) return absl::CancelledError("given up");
  }
  if (code == SQLITE_DONE) return absl::OkStatus();
  if ((code & 0xff) == SQLITE_FULL) {
    return absl::ResourceExhaustedError("disk full; free some space and try again");
  }
  const std::optional<int64_t> page = TakeDamagedPage();
  if (page.has_value()) return absl::DataLossError(fmt::format("page {} is damaged", *page));
  return absl::InternalError(sqlite3_errstr(code));
}

absl::Status SqliteDatabase::BackUpTo(const std::filesystem::path& path,
                                      const PageProgress& progress) {
  // A read transaction of its own: what others write meanwhile does not begin the copy
  // anew.
  RETURN_IF_ERROR(Execute("BEGIN; SELECT COUNT(*) FROM sqlite_schema;"));
  ASSIGN_OR_RETURN(SqliteDatabase to, OpenWith(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                               ReservesChecksumBytes() ? ChecksumVfs() : nullptr));
  const absl::Status copied = CopyPages(to, progress);
  RETURN_IF_ERROR(Execute("ROLLBACK"));
  RETURN_IF_ERROR(CheckIsStill());
  if (!copied.ok()) return Annotate(copied, fmt::format("cannot copy to {}", path.string()));
  // One file, which can be read where nothing can be written.
  return to.Execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;");
}

absl::StatusOr<std::vector<std::string>> SqliteDatabase::Problems() const {
  ASSIGN_OR_RETURN(SqliteStatement integrity, Prepare("PRAGMA integrity_check(100)"));
  ASSIGN_OR_RETURN(std::vector<std::string> problems, Lines(std::move(integrity)));
  if (problems == std::vector<std::string>{"ok"}) problems.clear();
  ASSIGN_OR_RETURN(
      SqliteStatement references,
      Prepare("SELECT \"table\" || ' row ' || COALESCE(rowid, '?') || ' refers to a row of ' || "
              "parent || ' that is not there' FROM pragma_foreign_key_check LIMIT 100"));
  ASSIGN_OR_RETURN(const std::vector<std::string> dangling, Lines(std::move(references)));
  problems.insert(problems.end(), dangling.begin(), dangling.end());
  return problems;
}

}  // namespace fedtune

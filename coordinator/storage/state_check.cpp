// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/state_check.h"

#include <optional>
#include <system_error>
#include <utility>

#include "base/sqlite/log_check.h"
#include "base/sqlite/page_checksum.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/storage/audit_log_check.h"
#include "coordinator/storage/columns.h"
#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using std::filesystem::path;

// Blobs that rows refer to and that are not there.
constexpr std::string_view kMissingBlobs =
    "SELECT DISTINCT hex(wanted) FROM ("
    "SELECT initial_adapter AS wanted FROM runs UNION SELECT adapter FROM runs UNION "
    "SELECT optimizer_state FROM runs UNION SELECT adapter FROM releases WHERE adapter_kept) "
    "WHERE wanted IS NOT NULL AND wanted NOT IN (SELECT sha256 FROM blobs)";

// Of runs under way; only those in files.
constexpr std::string_view kNeededFiles =
    "SELECT runs.id, blobs.sha256 FROM runs JOIN blobs "
    "ON blobs.sha256 = runs.adapter OR blobs.sha256 = runs.optimizer_state "
    "WHERE runs.ended_at_ms IS NULL AND blobs.content IS NULL ORDER BY runs.started_at_ms";

absl::Status LostBlobs(std::string_view what) {
  return absl::DataLossError(fmt::format(
      "{}: has it been removed? Put back what was there, or restore a backup into an empty folder "
      "(fedtune-coordinator restore); fedtune-coordinator check names all that is missing",
      what));
}

// One look at one directory.
class Inspection {
 public:
  Inspection(path directory, const TaskProgress& progress)
      : directory_(std::move(directory)), progress_(progress) {}

  absl::StatusOr<StateReport> Run() {
    RETURN_IF_ERROR(CheckPages());
    // What the database's damage hides is still looked at as far as it can be.
    RETURN_IF_ERROR(NoteDamage(CheckDatabase()));
    return std::move(report_);
  }

 private:
  path Database() const { return directory_ / kDatabaseName; }

  absl::Status Tell(std::string_view task, double fraction) const {
    if (progress_ == nullptr || progress_(task, fraction)) return absl::OkStatus();
    return absl::CancelledError(
        fmt::format("{} was not looked at to its end", directory_.string()));
  }

  void Note(std::string problem) { report_.problems.push_back(std::move(problem)); }

  absl::Status NoteDamage(const absl::Status& status) {
    if (!absl::IsDataLoss(status)) return status;
    if (report_.problems.empty()) Note(std::string(Message(status)));
    return absl::OkStatus();
  }

  absl::Status CheckPages() {
    ASSIGN_OR_RETURN(const Checksums checksums, ChecksumsOf(Database()));
    report_.bytes = SizeOfDatabase(Database());
    // One of before there were checksums has only what CheckDatabase() does.
    if (checksums == Checksums::kNone) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::vector<int64_t> damaged,
                     DamagedPages(Database(), [this](int64_t done, int64_t all) {
                       return Tell("reading the database",
                                   static_cast<double>(done) / static_cast<double>(all))
                           .ok();
                     }));
    for (const int64_t page : damaged) {
      Note(fmt::format("page {} of {} is damaged", page, Database().string()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckDatabase() {
    ASSIGN_OR_RETURN(const SqliteDatabase database, SqliteDatabase::OpenToRead(Database()));
    absl::Status looked = LookInto(database);
    // Of what was written meanwhile nothing can be said.
    RETURN_IF_ERROR(database.CheckIsStill());
    return looked;
  }

  absl::Status LookInto(const SqliteDatabase& database) {
    ASSIGN_OR_RETURN(report_.schema, database.SchemaVersion());
    if (report_.schema > NewestSchema()) {
      return absl::FailedPreconditionError(
          fmt::format("{} was written by a newer version of this program (schema {}, this one "
                      "knows {}); use the newer version",
                      Database().string(), report_.schema, NewestSchema()));
    }
    // Nothing can be said of blobs when their table cannot be read.
    absl::Status files = CheckBlobFiles(database);
    if (!report_.problems.empty()) return files;
    RETURN_IF_ERROR(files);
    RETURN_IF_ERROR(Tell("checking tables and indexes", 0));
    ASSIGN_OR_RETURN(const std::vector<std::string> problems, database.Problems());
    for (const std::string& problem : problems) {
      Note(fmt::format("{}: {}", Database().string(), problem));
    }
    RETURN_IF_ERROR(CheckInlineBlobs(database));
    RETURN_IF_ERROR(CheckReferences(database));
    return report_.schema < kFirstSchemaWithLog ? absl::OkStatus() : CheckLog(database);
  }

  absl::Status CheckBlobFiles(const SqliteDatabase& database) {
    ASSIGN_OR_RETURN(const std::vector<Digest> digests, BlobsInFiles(database));
    double done = 0;
    for (const Digest& digest : digests) {
      RETURN_IF_ERROR(Tell("reading blobs", done++ / static_cast<double>(std::ssize(digests))));
      RETURN_IF_ERROR(CheckBlobFile(database, digest));
    }
    return absl::OkStatus();
  }

  absl::Status CheckBlobFile(const SqliteDatabase& database, const Digest& digest) {
    ++report_.blobs;
    const path file = directory_ / kBlobsName / digest.ToHex();
    const absl::StatusOr<Digest> found = Sha256OfFile(file);
    if (absl::IsNotFound(found.status())) {
      // A coordinator that runs may have removed it since.
      ASSIGN_OR_RETURN(SqliteStatement row,
                       database.Prepare("SELECT 1 FROM blobs WHERE sha256 = ?"));
      ASSIGN_OR_RETURN(const bool wanted, row.Bind(ToColumn(digest)).Step());
      if (wanted) Note(fmt::format("blob {} is missing", file.string()));
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(found.status());
    std::error_code ignored;
    report_.bytes += std::filesystem::file_size(file, ignored);
    if (*found != digest) Note(fmt::format("blob {} is damaged", file.string()));
    return absl::OkStatus();
  }

  absl::Status CheckInlineBlobs(const SqliteDatabase& database) {
    ASSIGN_OR_RETURN(
        SqliteStatement rows,
        database.Prepare("SELECT sha256, content FROM blobs WHERE content IS NOT NULL"));
    while (true) {
      ASSIGN_OR_RETURN(const bool more, rows.Step());
      if (!more) return absl::OkStatus();
      ++report_.blobs;
      const Digest digest = RowReader(rows).Sha256();
      if (Sha256Of(rows.Blob(1)) != digest) {
        Note(fmt::format("blob {} in {} is damaged", digest.ToHex(), Database().string()));
      }
      RETURN_IF_ERROR(Tell("checking blobs", 0.5));
    }
  }

  absl::Status CheckReferences(const SqliteDatabase& database) {
    ASSIGN_OR_RETURN(SqliteStatement runs, database.Prepare("SELECT COUNT(*) FROM runs"));
    RETURN_IF_ERROR(runs.Step().status());
    report_.runs = runs.Int64(0);
    ASSIGN_OR_RETURN(SqliteStatement missing, database.Prepare(kMissingBlobs));
    while (true) {
      ASSIGN_OR_RETURN(const bool more, missing.Step());
      if (!more) return absl::OkStatus();
      Note(fmt::format("{} refers to a blob {} that it does not have", Database().string(),
                       missing.Text(0)));
    }
  }

  absl::Status CheckLog(const SqliteDatabase& database) {
    ASSIGN_OR_RETURN(const std::vector<std::string> problems,
                     ProblemsOfLog(database, [this](double fraction) {
                       return Tell("checking the audit log", fraction);
                     }));
    for (const std::string& problem : problems) {
      Note(fmt::format("{}: {}", Database().string(), problem));
    }
    ASSIGN_OR_RETURN(const uint64_t entries, SizeOfLog(database));
    report_.log_entries = static_cast<int64_t>(entries);
    return absl::OkStatus();
  }

  const path directory_;
  const TaskProgress& progress_;
  StateReport report_;
};

}  // namespace

absl::StatusOr<StateReport> CheckState(const path& directory, const TaskProgress& progress) {
  return Inspection(directory, progress).Run();
}

absl::Status CheckHasItsBlobs(const path& directory, const SqliteDatabase& database) {
  const path folder = directory / kBlobsName;
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    ASSIGN_OR_RETURN(const std::vector<Digest> blobs, BlobsInFiles(database));
    if (blobs.empty()) return absl::OkStatus();
    return LostBlobs(
        fmt::format("there is no folder {}, in which {} adapters and states of "
                    "optimisers belong",
                    folder.string(), blobs.size()));
  }
  ASSIGN_OR_RETURN(SqliteStatement needed, database.Prepare(kNeededFiles));
  std::string first_missing;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, needed.Step());
    if (!more) break;
    RowReader row(needed);
    const std::string run = row.Text();
    const path file = folder / row.Sha256().ToHex();
    if (std::filesystem::exists(file, ignored)) return absl::OkStatus();
    if (!first_missing.empty()) continue;
    first_missing = fmt::format("{} is missing, from which {} is to go on", file.string(), run);
  }
  return first_missing.empty() ? absl::OkStatus() : LostBlobs(first_missing);
}

absl::StatusOr<std::vector<Digest>> BlobsInFiles(const SqliteDatabase& database) {
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   database.Prepare("SELECT sha256 FROM blobs WHERE content IS NULL"));
  std::vector<Digest> digests;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return digests;
    digests.push_back(RowReader(rows).Sha256());
  }
}

}  // namespace fedtune

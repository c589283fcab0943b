// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/backup.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "base/directory_lock.h"
#include "base/files.h"
#include "base/folders.h"
#include "base/sqlite/log_check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "coordinator/storage/kept_backups.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

using std::filesystem::path;

constexpr int kTries = 3;

absl::Status RemoveUnfinished(const path& directory) {
  for (const path& entry : EntriesOf(directory)) {
    if (entry.extension() == kPartialSuffix) RETURN_IF_ERROR(RemoveAll(entry));
  }
  return absl::OkStatus();
}

// A new folder for its owner's eyes only.
absl::Status MakePrivate(const path& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory));
  std::error_code error;
  std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  return error ? ErrnoToStatus(error.value(), "protect", directory) : absl::OkStatus();
}

// 0 of one that is not there.
uint64_t SizeOfFile(const path& file) {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(file, error);
  return error ? 0 : bytes;
}

absl::Status CheckSpace(const path& state, const path& backups) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(backups, error);
  if (error) return ErrnoToStatus(error.value(), "look at", backups);
  const uint64_t wanted = SpaceForBackup(state);
  if (space.available >= wanted) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("no backup is made in {}: {} are free there and {} are needed; free some space, "
                  "or choose another folder with --backup-dir",
                  backups.string(), HumanBytes(space.available), HumanBytes(wanted)));
}

absl::Status CheckAll(const path& directory, const TaskProgress& progress) {
  ASSIGN_OR_RETURN(const StateReport report, CheckState(directory, progress));
  if (report.problems.empty()) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("{}{}", report.problems.front(),
                  report.problems.size() == 1
                      ? ""
                      : fmt::format(", and {} more problems", report.problems.size() - 1)));
}

// Blobs that a running coordinator may remove: whoever has them open can copy them still.
using OpenBlobs = std::map<Digest, MappedFile>;

// Those that the last backup does not have. One that cannot be opened is looked for
// again when it is to be copied.
OpenBlobs OpenNewBlobs(const path& state, const path& last, const std::vector<Digest>& blobs) {
  OpenBlobs open;
  std::error_code ignored;
  for (const Digest& digest : blobs) {
    const path name = path(kBlobsName) / digest.ToHex();
    if (!last.empty() && std::filesystem::exists(last / name, ignored)) continue;
    absl::StatusOr<MappedFile> file = MappedFile::Open(state / name);
    if (file.ok()) open.emplace(digest, *std::move(file));
  }
  return open;
}

absl::Status CopyBytes(std::span<const std::byte> bytes, const path& to) {
  return WriteFileAtomically(to, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A verified copy. NOT_FOUND: there is no such blob any more.
absl::Status CopyBlob(const path& from, const path& to, const Digest& digest,
                      const OpenBlobs& open) {
  const auto held = open.find(digest);
  RETURN_IF_ERROR(held == open.end() ? CopyFileDurably(from, to)
                                     : CopyBytes(held->second.bytes(), to));
  ASSIGN_OR_RETURN(const Digest copied, Sha256OfFile(to));
  if (copied == digest) return absl::OkStatus();
  return absl::DataLossError(fmt::format("blob {} is damaged", from.string()));
}

// Whether `to` has become the last backup's file of this blob.
bool LinkBlob(const path& last, const path& to, const Digest& digest) {
  if (last.empty()) return false;
  const path from = last / kBlobsName / digest.ToHex();
  const absl::StatusOr<Digest> found = Sha256OfFile(from);
  return found.ok() && *found == digest && ::link(from.c_str(), to.c_str()) == 0;
}

absl::Status CopyBlobs(const path& state, const path& last, const path& staged,
                       const OpenBlobs& open, const TaskProgress& progress) {
  ASSIGN_OR_RETURN(const SqliteDatabase database,
                   SqliteDatabase::OpenToRead(staged / kDatabaseName));
  ASSIGN_OR_RETURN(const std::vector<Digest> blobs, BlobsInFiles(database));
  double done = 0;
  const auto all = static_cast<double>(blobs.size());
  for (const Digest& digest : blobs) {
    if (progress != nullptr && !progress("copying blobs", done++ / all)) {
      return absl::CancelledError("not all blobs were copied");
    }
    const path to = staged / kBlobsName / digest.ToHex();
    if (LinkBlob(last, to, digest)) continue;
    RETURN_IF_ERROR(CopyBlob(state / kBlobsName / digest.ToHex(), to, digest, open));
  }
  return SyncDirectory(staged / kBlobsName);
}

absl::Status Stage(const path& state, const path& last, const path& staged,
                   const TaskProgress& progress) {
  RETURN_IF_ERROR(RemoveAll(staged));
  RETURN_IF_ERROR(MakePrivate(staged));
  RETURN_IF_ERROR(MakePrivate(staged / kBlobsName));
  OpenBlobs open;
  {
    ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::OpenToRead(state / kDatabaseName));
    // Before the copy begins: it is of that moment, and may take long.
    ASSIGN_OR_RETURN(const std::vector<Digest> blobs, BlobsInFiles(database));
    open = OpenNewBlobs(state, last, blobs);
    RETURN_IF_ERROR(database.BackUpTo(staged / kDatabaseName, [&progress](int64_t done,
                                                                          int64_t all) {
      return progress == nullptr ||
             progress("copying the database",
                      static_cast<double>(done) / static_cast<double>(std::max<int64_t>(all, 1)));
    }));
  }
  return CopyBlobs(state, last, staged, open, progress);
}

// A blob that a running coordinator has removed before it could be opened is not wanted
// by a later copy of the database.
absl::Status StageInTheEnd(const path& state, const path& last, const path& staged,
                           const TaskProgress& progress) {
  absl::Status made = Stage(state, last, staged, progress);
  for (int i = 1; absl::IsNotFound(made) && i < kTries; ++i) {
    made = Stage(state, last, staged, progress);
  }
  if (absl::IsNotFound(made)) return absl::DataLossError(std::string(Message(made)));
  return made;
}

// What a restore may find in a state directory.
absl::Status CheckIsEmpty(const path& state) {
  for (const path& entry : EntriesOf(state)) {
    const path name = entry.filename();
    if (name == "keys" || name == "lock" || name == "backups") continue;
    if (name == "revocation_list.pem") continue;  // None that is older is to be taken.
    return absl::FailedPreconditionError(fmt::format(
        "{} is not empty: there is {}; restore into an empty folder, or move that away first",
        state.string(), name.string()));
  }
  return absl::OkStatus();
}

// A backup has no write-ahead log; of a state directory, much is in nothing else.
absl::Status CheckIsNoStateDirectory(const path& from) {
  if (SizeOfFile(LogOf(from / kDatabaseName)) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{0} is no backup but a state directory, of a coordinator that runs or was killed: to copy "
      "it, make a backup of it, fedtune-coordinator backup --state-dir '{0}', and restore that",
      from.string()));
}

// Where a restore puts things until they are whole.
path StagedIn(const path& state) { return state / fmt::format("restored{}", kPartialSuffix); }

absl::Status CopyState(const path& from, const path& to, const TaskProgress& progress) {
  RETURN_IF_ERROR(MakePrivate(to));
  RETURN_IF_ERROR(MakePrivate(to / kBlobsName));
  RETURN_IF_ERROR(CopyFileDurably(from / kDatabaseName, to / kDatabaseName));
  RETURN_IF_ERROR(CopyBlobs(from, "", to, {}, progress));
  return CheckAll(to, progress);
}

}  // namespace

uint64_t SpaceForBackup(const path& state) {
  uint64_t bytes = SizeOfDatabase(state / kDatabaseName);
  for (const path& blob : EntriesOf(state / kBlobsName)) bytes += SizeOfFile(blob);
  return 2 * bytes;
}

absl::StatusOr<path> BackUp(const path& state, const path& backups, absl::Time now,
                            std::string_view suffix, const TaskProgress& progress) {
  std::error_code ignored;
  if (!std::filesystem::exists(state / kDatabaseName, ignored)) {
    return ErrnoToStatus(ENOENT, "back up", state / kDatabaseName);
  }
  RETURN_IF_ERROR(MakeDirectories(backups));
  ASSIGN_OR_RETURN(const DirectoryLock lock,
                   DirectoryLock::Take(backups, "wait until it has made its backup"));
  RETURN_IF_ERROR(RemoveUnfinished(backups));
  const path made = backups / fmt::format("{}{}", BackupName(now), suffix);
  if (std::filesystem::exists(made, ignored)) {
    return absl::AlreadyExistsError(fmt::format("{} is there already", made.string()));
  }
  RETURN_IF_ERROR(CheckSpace(state, backups));
  const std::vector<path> before = Backups(backups);
  const path staged = made.string() + std::string(kPartialSuffix);
  absl::Status status =
      StageInTheEnd(state, before.empty() ? path() : before.back(), staged, progress);
  if (status.ok()) status = CheckAll(staged, progress);
  if (status.ok()) status = SyncDirectory(staged);
  if (status.ok()) status = RenameDurably(staged, made);
  if (status.ok()) return made;
  RemoveAll(staged).IgnoreError();  // The next backup removes what is left.
  return status;
}

bool RestoreWasCutOff(const path& state) {
  std::error_code ignored;
  return std::filesystem::exists(StagedIn(state), ignored) &&
         !std::filesystem::exists(state / kDatabaseName, ignored);
}

absl::Status Restore(const path& backup, const path& state, const TaskProgress& progress) {
  RETURN_IF_ERROR(CheckIsNoStateDirectory(backup));
  RETURN_IF_ERROR(CheckAll(backup, progress));
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Take(state));
  const path staged = StagedIn(state);
  if (RestoreWasCutOff(state)) {
    // Its blobs may have their name already.
    RETURN_IF_ERROR(RemoveAll(state / kBlobsName));
    RETURN_IF_ERROR(RemoveAll(staged));
  }
  RETURN_IF_ERROR(CheckIsEmpty(state));
  absl::Status copied = CopyState(backup, staged, progress);
  if (!copied.ok()) {
    RemoveAll(staged).IgnoreError();  // The next restore removes what is left.
    return copied;
  }
  RETURN_IF_ERROR(RenameDurably(staged / kBlobsName, state / kBlobsName));
  RETURN_IF_ERROR(RenameDurably(staged / kDatabaseName, state / kDatabaseName));
  return RemoveAll(staged);
}

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/backup.h"

#include <pwd.h>
#include <sys/stat.h>
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
#include "base/sqlite/log_check.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

using std::filesystem::path;

constexpr char kNameFormat[] = "fedtune-%E4Y%m%dT%H%M%SZ";
constexpr int kTries = 3;

// When a backup of this name was made; nothing if it is no backup's name.
std::optional<absl::Time> TimeOf(const path& backup) {
  absl::Time made;
  std::string ignored;
  const std::string name = backup.filename().string();
  if (!absl::ParseTime(kNameFormat, name, absl::UTCTimeZone(), &made, &ignored)) {
    return std::nullopt;
  }
  return BackupName(made) == name ? std::optional(made) : std::nullopt;
}

std::vector<path> EntriesOf(const path& directory) {
  std::error_code ignored;
  std::vector<path> entries;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    entries.push_back(entry.path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

absl::Status RemoveAll(const path& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  return error ? ErrnoToStatus(error.value(), "remove", directory) : absl::OkStatus();
}

// Among backups in the order of their names.
std::vector<path>::iterator FirstOfTheFuture(std::vector<path>& backups, absl::Time now) {
  return std::find_if(backups.begin(), backups.end(),
                      [now](const path& backup) { return *TimeOf(backup) > now; });
}

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

absl::StatusOr<bool> KnowsSomeRun(const path& state) {
  ASSIGN_OR_RETURN(const SqliteDatabase database,
                   SqliteDatabase::OpenToRead(state / kDatabaseName));
  ASSIGN_OR_RETURN(const int64_t schema, database.SchemaVersion());
  if (schema == 0) return false;  // It has no tables yet.
  ASSIGN_OR_RETURN(SqliteStatement runs, database.Prepare("SELECT 1 FROM runs"));
  return runs.Step();
}

// Not what else lies there, as a draft that a crash has left.
int64_t CountBlobs(const path& folder) {
  const std::vector<path> entries = EntriesOf(folder);
  return std::count_if(entries.begin(), entries.end(), [](const path& entry) {
    return Digest::Parse(entry.filename().string()).ok();
  });
}

// Rather than begin anew in silence, and remove what a lost database knew of. One adapter
// alone may be that of a first run, cut off before it was stored.
absl::Status CheckKnowsItsRuns(const path& state) {
  ASSIGN_OR_RETURN(const bool knows_some, KnowsSomeRun(state));
  if (knows_some) return absl::OkStatus();
  const bool has_adapters = CountBlobs(state / kBlobsName) > 1;
  if (!has_adapters && EntriesOf(state / kSpoolName).empty()) return absl::OkStatus();
  return absl::DataLossError(fmt::format(
      "{0}/{1} knows of no run, and {0}/{2} holds {3}: has it, or {1}-wal, which is part of it, "
      "been removed or emptied? Put back what was there, or restore a backup; to begin anew, move "
      "{0}/{2} away",
      state.string(), kDatabaseName, has_adapters ? kBlobsName : kSpoolName,
      has_adapters ? "adapters of some" : "what clients have handed in to some"));
}

absl::Status CopyState(const path& from, const path& to, const TaskProgress& progress) {
  RETURN_IF_ERROR(MakePrivate(to));
  RETURN_IF_ERROR(MakePrivate(to / kBlobsName));
  RETURN_IF_ERROR(CopyFileDurably(from / kDatabaseName, to / kDatabaseName));
  RETURN_IF_ERROR(CopyBlobs(from, "", to, {}, progress));
  return CheckAll(to, progress);
}

}  // namespace

absl::Status CheckIsNotAnothers(const path& folder, uid_t user) {
  constexpr uid_t kRoot = 0;
  path there = std::filesystem::absolute(folder);
  struct stat status = {};
  while (::stat(there.c_str(), &status) != 0 && there.has_relative_path()) {
    there = there.parent_path();
  }
  if (user != kRoot || status.st_uid == kRoot) return absl::OkStatus();
  const passwd* const owner = ::getpwuid(status.st_uid);
  const std::string name = owner == nullptr ? fmt::format("#{}", status.st_uid) : owner->pw_name;
  return absl::FailedPreconditionError(
      fmt::format("{} belongs to {}, who could not use or remove what root makes there; run this "
                  "as that user: sudo -u '{}' fedtune-coordinator ...",
                  there.string(), name, name));
}

std::string BackupName(absl::Time made) {
  return absl::FormatTime(kNameFormat, made, absl::UTCTimeZone());
}

bool IsBackup(const path& directory) {
  const path whole = (std::filesystem::absolute(directory) / "").lexically_normal();
  const std::string name = whole.parent_path().filename();
  return TimeOf(name.substr(0, BackupName(absl::UnixEpoch()).size())).has_value();
}

uint64_t SpaceForBackup(const path& state) {
  uint64_t bytes = SizeOfFile(state / kDatabaseName);
  bytes += SizeOfFile(LogOf(state / kDatabaseName));
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

std::vector<path> Backups(const path& backups) {
  std::vector<path> made = EntriesOf(backups);
  std::erase_if(made, [](const path& entry) { return !TimeOf(entry).has_value(); });
  return made;
}

absl::Time LastBackup(const path& backups, absl::Time now) {
  std::vector<path> made = Backups(backups);
  made.erase(FirstOfTheFuture(made, now), made.end());
  return made.empty() ? absl::InfinitePast() : *TimeOf(made.back());
}

absl::Status RemoveOldBackups(const path& backups, int64_t keep, absl::Time now) {
  std::vector<path> made = Backups(backups);
  std::rotate(made.begin(), FirstOfTheFuture(made, now), made.end());
  for (int64_t i = 0; i < std::ssize(made) - keep; ++i) {
    // What is removed in part is no backup.
    const path unfinished = made[static_cast<size_t>(i)].string() + std::string(kPartialSuffix);
    RETURN_IF_ERROR(RenameDurably(made[static_cast<size_t>(i)], unfinished));
    RETURN_IF_ERROR(RemoveAll(unfinished));
  }
  return absl::OkStatus();
}

absl::Status Restore(const path& backup, const path& state, const TaskProgress& progress) {
  RETURN_IF_ERROR(CheckIsNoStateDirectory(backup));
  RETURN_IF_ERROR(CheckAll(backup, progress));
  ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Take(state));
  const path staged = StagedIn(state);
  std::error_code ignored;
  if (std::filesystem::exists(staged, ignored) &&
      !std::filesystem::exists(state / kDatabaseName, ignored)) {
    // A restore that was cut off; its blobs may have their name already.
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

absl::Status CheckHasNotLostItsDatabase(const path& state) {
  std::error_code ignored;
  if (std::filesystem::exists(state / kDatabaseName, ignored)) return CheckKnowsItsRuns(state);
  if (std::filesystem::exists(StagedIn(state), ignored)) {
    return absl::FailedPreconditionError(fmt::format(
        "a restore into {} was cut off; run fedtune-coordinator restore again", state.string()));
  }
  for (const std::string_view folder : {kBlobsName, kSpoolName}) {
    if (EntriesOf(state / folder).empty()) continue;
    return absl::DataLossError(fmt::format(
        "{0}/{1} holds what belongs to runs, and there is no {0}/{2}, which says to which: has it "
        "been removed? Put it back, together with {2}-wal if there is one, or restore a backup; "
        "to begin anew, move {0}/{3} and {0}/{4} away",
        state.string(), folder, kDatabaseName, kBlobsName, kSpoolName));
  }
  return absl::OkStatus();
}

}  // namespace fedtune

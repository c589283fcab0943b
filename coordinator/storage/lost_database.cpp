// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/lost_database.h"

#include <algorithm>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/folders.h"
#include "base/status_macros.h"
#include "coordinator/storage/backup.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

using std::filesystem::path;

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

}  // namespace

absl::Status CheckHasNotLostItsDatabase(const path& state) {
  std::error_code ignored;
  if (std::filesystem::exists(state / kDatabaseName, ignored)) return CheckKnowsItsRuns(state);
  if (RestoreWasCutOff(state)) {
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

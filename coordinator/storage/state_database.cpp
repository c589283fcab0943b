// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/state_database.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "base/printable_text.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/writer.h"
#include "coordinator/storage/columns.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// Steps that were ever released are never changed: add another one, and a dump of a
// database as it was before to testdata.

constexpr std::string_view kFirstTables = R"sql(
CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  request_id TEXT NOT NULL UNIQUE,
  plan_name TEXT NOT NULL,
  plan_toml TEXT NOT NULL,
  layout_json TEXT NOT NULL,
  base_model_json TEXT NOT NULL,
  base_model TEXT NOT NULL,
  base_digest TEXT NOT NULL,
  started_by TEXT NOT NULL,
  round_count INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  initial_adapter BLOB NOT NULL,  -- SHA-256, as every digest here.
  adapter_bytes INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  ended_at_ms INTEGER,
  rounds_done INTEGER NOT NULL,
  attempts_opened INTEGER NOT NULL,
  adapter BLOB NOT NULL,
  optimizer_state BLOB,
  bytes_received INTEGER NOT NULL,
  bytes_sent INTEGER NOT NULL
) STRICT;

CREATE TABLE releases (
  run_id TEXT NOT NULL REFERENCES runs (id),
  round INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  contributions INTEGER NOT NULL,
  example_count INTEGER NOT NULL,
  training_loss REAL NOT NULL,
  adapter BLOB NOT NULL,
  adapter_kept INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER NOT NULL,
  PRIMARY KEY (run_id, round)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_adapters ON releases (adapter) WHERE adapter_kept;

CREATE TABLE contributions (
  run_id TEXT NOT NULL REFERENCES runs (id),
  round INTEGER NOT NULL,
  institution TEXT NOT NULL,
  sha256 BLOB NOT NULL,
  weight INTEGER NOT NULL,
  example_count INTEGER NOT NULL,
  training_loss REAL NOT NULL,
  steps INTEGER NOT NULL,
  token_count INTEGER NOT NULL,
  training_seconds REAL NOT NULL,
  before_loss REAL,
  before_accuracy REAL,
  before_example_count INTEGER,
  after_loss REAL,
  after_accuracy REAL,
  after_example_count INTEGER,
  PRIMARY KEY (run_id, round, institution)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluations (
  run_id TEXT NOT NULL REFERENCES runs (id),
  round INTEGER NOT NULL,
  loss REAL NOT NULL,
  accuracy REAL,
  example_count INTEGER NOT NULL,
  PRIMARY KEY (run_id, round)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_clients (
  run_id TEXT NOT NULL REFERENCES runs (id),
  institution TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  accepted INTEGER NOT NULL,
  example_count INTEGER NOT NULL,
  PRIMARY KEY (run_id, institution)
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
  sha256 BLOB PRIMARY KEY,
  content BLOB  -- NULL: in the folder of blobs.
) STRICT;

CREATE TABLE clients (
  institution TEXT PRIMARY KEY,
  last_seen_ms INTEGER NOT NULL,
  certificate_expires_ms INTEGER NOT NULL,
  version TEXT NOT NULL,
  device_kind TEXT NOT NULL,
  device_name TEXT NOT NULL,
  memory_bytes INTEGER NOT NULL,
  threads INTEGER NOT NULL,
  example_count INTEGER NOT NULL
) STRICT;

CREATE TABLE models (
  name TEXT PRIMARY KEY,
  digest TEXT NOT NULL,
  base_model_json TEXT NOT NULL,
  added_ms INTEGER NOT NULL
) STRICT;
)sql";

constexpr std::string_view kRoundJournal = R"sql(
-- Of the attempt that is open: see coordinator/rounds/round_journal.h.
CREATE TABLE round_journal (
  sequence INTEGER PRIMARY KEY,
  run_id TEXT NOT NULL REFERENCES runs (id),
  entry BLOB NOT NULL
) STRICT;

CREATE INDEX round_journal_runs ON round_journal (run_id);

-- The first attempt of a round was not stored before.
UPDATE runs SET attempts_opened = 1 WHERE state = 'running' AND attempts_opened = 0;
)sql";

// The one row says who may write.
constexpr std::string_view kWriterTable = R"sql(
CREATE TABLE writer (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  epoch INTEGER NOT NULL,
  pid INTEGER NOT NULL,
  host TEXT NOT NULL,
  since_ms INTEGER NOT NULL
) STRICT;
)sql";

// Of the rounds that counted the tokens of routed experts.
constexpr std::string_view kRoutingTable = R"sql(
CREATE TABLE routing (
  run_id TEXT NOT NULL REFERENCES runs (id),
  round INTEGER NOT NULL,
  experts INTEGER NOT NULL,  -- Of a layer.
  tokens BLOB NOT NULL,      -- Little-endian 64-bit integers, expert by expert, layer by layer.
  PRIMARY KEY (run_id, round)
) STRICT, WITHOUT ROWID;
)sql";

constexpr std::string_view kPauses = R"sql(
ALTER TABLE runs ADD COLUMN pause TEXT;  -- Why it pauses; NULL: it does not.
)sql";

constexpr std::string_view kStops = R"sql(
ALTER TABLE runs ADD COLUMN stop TEXT;  -- Why it is to stop; NULL: it is not.
)sql";

constexpr std::string_view kBurntRounds = R"sql(
-- Why a secure round came to nothing; empty: it counted, or burnt before this was kept.
ALTER TABLE releases ADD COLUMN burnt TEXT NOT NULL DEFAULT '';
)sql";

constexpr std::string_view kRunTexts = R"sql(
-- Of which a large model has megabytes in each run. In a row of their own, because who reads
-- or changes a column behind them reads or writes them, too.
CREATE TABLE run_texts (
  run_id TEXT PRIMARY KEY REFERENCES runs (id),
  layout_json TEXT NOT NULL,
  base_model_json TEXT NOT NULL
) STRICT;
INSERT INTO run_texts SELECT id, layout_json, base_model_json FROM runs;
ALTER TABLE runs DROP COLUMN layout_json;
ALTER TABLE runs DROP COLUMN base_model_json;
)sql";

constexpr std::string_view kAuditLog = R"sql(
-- See coordinator/storage/log_rows.h. Rows are added, never changed or removed.
CREATE TABLE log_entries (
  place INTEGER PRIMARY KEY,  -- From 0.
  leaf BLOB NOT NULL,         -- The hash of the bytes.
  subject TEXT,               -- By which it is found; NULL: by its place only.
  bytes BLOB NOT NULL
) STRICT;

CREATE INDEX log_subjects ON log_entries (subject) WHERE subject IS NOT NULL;

-- Of 2^level entries, those from place * 2^level on. Levels 8, 16, 24, ... only.
CREATE TABLE log_subtrees (
  level INTEGER NOT NULL,
  place INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (level, place)
) STRICT, WITHOUT ROWID;
)sql";

constexpr std::string_view kLogHead = R"sql(
-- The one row says how many entries the audit log has, and what its tree consists of: the
-- hashes of complete subtrees, the largest first. Until the log is gone on with: none.
CREATE TABLE log_head (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  size INTEGER NOT NULL,
  complete BLOB NOT NULL
) STRICT;
)sql";

// Of kSteps.
constexpr int64_t kFirstSchemaWithWriter = 3;

constexpr std::array kSteps = {kFirstTables, kRoundJournal, kWriterTable, kRoutingTable, kPauses,
                               kStops,       kBurntRounds,  kRunTexts,    kAuditLog,     kLogHead};

// A release with a small adapter writes some 100 kB. Moving it from the log into
// the database costs two syncs, so let some releases gather first.
constexpr int kPagesInLog = 16384;

absl::StatusOr<int64_t> TakeOver(SqliteDatabase& database) {
  const Writer writer = ThisWriter(absl::Now());
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database));
  ASSIGN_OR_RETURN(SqliteStatement taken,
                   database.Prepare("INSERT INTO writer VALUES (1, 1, ?, ?, ?) "
                                    "ON CONFLICT DO UPDATE SET epoch = epoch + 1, "
                                    "pid = excluded.pid, host = excluded.host, "
                                    "since_ms = excluded.since_ms RETURNING epoch"));
  taken.Bind(writer.pid).Bind(writer.host).Bind(ToColumn(writer.since));
  RETURN_IF_ERROR(taken.Step().status());
  const int64_t epoch = taken.Int64(0);
  taken.Reset();
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return epoch;
}

absl::StatusOr<std::optional<LastWriter>> ReadWriter(const SqliteDatabase& database) {
  ASSIGN_OR_RETURN(SqliteStatement row,
                   database.Prepare("SELECT epoch, pid, host, since_ms FROM writer"));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return std::nullopt;
  return LastWriter{
      .epoch = row.Int64(0), .pid = row.Int64(1), .host = row.Text(2), .since_ms = row.Int64(3)};
}

// Ends the connection unless the directory is still ours.
absl::Status CheckIsWriter(SqliteDatabase& database, const std::filesystem::path& path,
                           int64_t epoch) {
  if (database.HasMoved()) {
    return database.End(
        fmt::format("{} was moved, removed or replaced while this coordinator ran", path.string()));
  }
  ASSIGN_OR_RETURN(const std::optional<LastWriter> last, ReadWriter(database));
  if (!last) return database.End(fmt::format("{} does not say who writes it", path.string()));
  if (last->epoch == epoch) return absl::OkStatus();
  const Writer other{
      .pid = last->pid, .host = last->host, .since = absl::FromUnixMillis(last->since_ms)};
  return database.End(fmt::format("another coordinator has taken over {}: {}", path.string(),
                                  PrintableText(ToText(other))));
}

absl::Status WithAdvice(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  return absl::DataLossError(fmt::format(
      "{}; restore a backup into an empty folder (fedtune-coordinator restore)", Message(status)));
}

// Whoever upgrades a coordinator gets a backup with it.
absl::Status MigrateOrNameBackup(SqliteDatabase& database) {
  ASSIGN_OR_RETURN(const int64_t version, database.SchemaVersion());
  const absl::Status migrated = database.Migrate(kSteps);
  if (version <= std::ssize(kSteps)) return migrated;
  return absl::Status(migrated.code(),
                      fmt::format("{}, or the backup made before the upgrade", Message(migrated)));
}

}  // namespace

int64_t NewestSchema() { return std::ssize(kSteps); }

absl::StatusOr<std::optional<LastWriter>> LastWriterOf(const SqliteDatabase& database) {
  ASSIGN_OR_RETURN(const int64_t version, database.SchemaVersion());
  if (version < kFirstSchemaWithWriter) return std::nullopt;
  return ReadWriter(database);
}

absl::StatusOr<std::shared_ptr<StateDatabase>> OpenStateDatabase(
    const std::filesystem::path& path, std::function<void(const absl::Status&)> on_end) {
  absl::StatusOr<SqliteDatabase> opened = SqliteDatabase::OpenChecked(path);
  RETURN_IF_ERROR(WithAdvice(opened.status()));
  SqliteDatabase database = *std::move(opened);
  RETURN_IF_ERROR(MigrateOrNameBackup(database));
  ASSIGN_OR_RETURN(const int64_t epoch, TakeOver(database));
  database.OnEnd(std::move(on_end));
  database.CheckpointEvery(kPagesInLog);
  database.SetWriteGuard(
      [path, epoch](SqliteDatabase& asked) { return CheckIsWriter(asked, path, epoch); });
  return std::make_shared<StateDatabase>(std::move(database));
}

}  // namespace fedtune

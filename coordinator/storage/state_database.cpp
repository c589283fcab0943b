// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/state_database.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "base/status_macros.h"

namespace fedtune {
namespace {

// Steps that were ever released are never changed: add another one.

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

// Of the attempt that is open: see round_journal.h.
constexpr std::string_view kJournalTable = R"sql(
CREATE TABLE round_journal (
  sequence INTEGER PRIMARY KEY,
  run_id TEXT NOT NULL REFERENCES runs (id),
  entry BLOB NOT NULL
) STRICT;

CREATE INDEX round_journal_runs ON round_journal (run_id);

-- The first attempt of a round was not stored before.
UPDATE runs SET attempts_opened = 1 WHERE state = 'running' AND attempts_opened = 0;
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

constexpr std::array kSteps = {kFirstTables, kJournalTable, kRoutingTable};

// A release of a small adapter writes about 2 MB. Moving it from the log into
// the database costs two syncs, so let some releases gather first.
constexpr std::string_view kConfigure = "PRAGMA wal_autocheckpoint = 16384;";

}  // namespace

absl::StatusOr<std::shared_ptr<StateDatabase>> OpenStateDatabase(
    const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  RETURN_IF_ERROR(database.Execute(std::string(kConfigure)));
  RETURN_IF_ERROR(database.Migrate(kSteps));
  return std::make_shared<StateDatabase>(std::move(database));
}

}  // namespace fedtune

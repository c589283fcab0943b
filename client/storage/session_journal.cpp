// SPDX-License-Identifier: Apache-2.0

#include "client/storage/session_journal.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/fail_point.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/storage/agreed_rounds.h"
#include "fmt/format.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

// Steps that were ever released are never changed: add another one.
constexpr std::array<std::string_view, 1> kSteps = {R"sql(
CREATE TABLE sessions (
  id BLOB PRIMARY KEY,
  run TEXT NOT NULL,
  round INTEGER NOT NULL,
  agreed INTEGER NOT NULL,
  secret BLOB  -- Sealed; NULL: the session is closed.
) STRICT;

CREATE INDEX sessions_by_round ON sessions (run, round);

CREATE TABLE records (
  session BLOB NOT NULL REFERENCES sessions (id),
  number INTEGER NOT NULL,  -- From 0.
  record BLOB NOT NULL,     -- Sealed.
  PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;
)sql"};

// What is sealed under this number is the secret, not a record.
constexpr int64_t kSecret = -1;
constexpr size_t kSecretSize = 32;

// Of the log, before it is moved into the database: as SQLite has it by itself.
constexpr int kLogPages = 1000;

std::span<const std::byte> BlobOf(const Digest& digest) {
  return std::as_bytes(std::span(digest.bytes));
}

// Binds what is sealed to its place.
Bytes ContextOf(const Digest& session, int64_t number) {
  CanonicalWriter writer;
  writer.Sized("fedtune/session-journal/1").Fixed(session).U64(static_cast<uint64_t>(number));
  return std::move(writer).Take();
}

// An older copy would not know of rounds in which the client has agreed.
absl::Status WithAdvice(const absl::Status& status) {
  if (absl::IsFailedPrecondition(status)) {
    return absl::FailedPreconditionError(
        fmt::format("{}, and never put back an older copy", Message(status)));
  }
  if (!absl::IsDataLoss(status)) return status;
  return absl::DataLossError(
      fmt::format("{}; leave this client stopped until the secure runs that are under way have "
                  "ended, and move the file away then; never put back an older copy",
                  Message(status)));
}

}  // namespace

absl::StatusOr<SessionJournal> SessionJournal::Open(const std::filesystem::path& path,
                                                    const SigningKey& key) {
  absl::StatusOr<SqliteDatabase> opened = SqliteDatabase::OpenChecked(path);
  RETURN_IF_ERROR(WithAdvice(opened.status()));
  SqliteDatabase database = *std::move(opened);
  // A secret that was deleted is overwritten.
  RETURN_IF_ERROR(database.Execute("PRAGMA secure_delete = ON"));
  RETURN_IF_ERROR(WithAdvice(database.Migrate(kSteps)));
  database.CheckpointEvery(kLogPages);
  const SecretBytes pem = key.ToPem();
  return SessionJournal(
      std::move(database),
      HkdfSha256(pem.Reveal(), {}, SpanOf("fedtune/session-journal/1"), kAeadKeySize));
}

void SessionJournal::OnEnd(std::function<void(const absl::Status&)> on_end) {
  const std::lock_guard lock(*mutex_);
  database_.OnEnd(std::move(on_end));
}

absl::StatusOr<SessionJournal::Kept> SessionJournal::Begin(const JournalSession& session) {
  const std::lock_guard lock(*mutex_);
  ASSIGN_OR_RETURN(std::optional<Kept> kept, FindKept(session.id));
  if (kept.has_value()) return *std::move(kept);
  return BeginNew(session);
}

absl::Status SessionJournal::CheckMayTakePart(const JournalSession& session) {
  const std::lock_guard lock(*mutex_);
  ASSIGN_OR_RETURN(const std::optional<Kept> kept, FindKept(session.id));
  return kept.has_value() ? absl::OkStatus() : CheckMayBegin(session);
}

absl::StatusOr<SessionJournal::Kept> SessionJournal::BeginNew(const JournalSession& session) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSessionBeginBefore));
  Bytes secret = RandomBytes(kSecretSize);
  const std::string sealed = SealFor(session.id, kSecret, secret);
  Kept kept{.round_secret = SecretBytes(std::move(secret)), .records = {}};
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  RETURN_IF_ERROR(CheckMayBegin(session));
  RETURN_IF_ERROR(Close(session.run));
  RETURN_IF_ERROR(database_.Run("INSERT INTO sessions VALUES (?, ?, ?, 0, ?)", BlobOf(session.id),
                                std::string_view(session.run), session.round,
                                std::as_bytes(std::span(sealed))));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  ReachFailPoint(FailPoint::kSessionBeginAfter);
  return kept;
}

absl::Status SessionJournal::CheckMayBegin(const JournalSession& session) {
  ASSIGN_OR_RETURN(SqliteStatement earlier,
                   database_.Prepare("SELECT MAX(agreed), MAX(id = ?1), "
                                     "(SELECT MAX(round) FROM sessions WHERE run = ?2 AND agreed) "
                                     "FROM sessions WHERE run = ?2 AND round = ?3 OR id = ?1"));
  earlier.Bind(BlobOf(session.id)).Bind(std::string_view(session.run)).Bind(session.round);
  RETURN_IF_ERROR(earlier.Step().status());
  if (earlier.Int64(0) != 0) {
    return WithAgreedRounds(
        absl::FailedPreconditionError(fmt::format(
            "round {} of {} is burnt: this institution has agreed on its survivors before, and a "
            "second sum over others would give single contributions away; the run can go on with "
            "its next round",
            session.round + 1, session.run)),
        earlier.Int64(2) + 1);
  }
  if (earlier.Int64(1) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("this attempt at round {} of {} was given up, and is not taken up again",
                    session.round + 1, session.run));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<SessionJournal::Kept>> SessionJournal::Find(const Digest& session) {
  const std::lock_guard lock(*mutex_);
  return FindKept(session);
}

absl::StatusOr<std::optional<SessionJournal::Kept>> SessionJournal::FindKept(
    const Digest& session) {
  ASSIGN_OR_RETURN(SqliteStatement find, database_.Prepare("SELECT secret FROM sessions "
                                                           "WHERE id = ? AND secret NOT NULL"));
  find.Bind(BlobOf(session));
  ASSIGN_OR_RETURN(const bool found, find.Step());
  if (!found) return std::nullopt;
  ASSIGN_OR_RETURN(SecretBytes secret, OpenFor(session, kSecret, find.Blob(0)));
  ASSIGN_OR_RETURN(std::vector<Bytes> records, Records(session));
  return Kept{.round_secret = std::move(secret), .records = std::move(records)};
}

absl::StatusOr<std::vector<Bytes>> SessionJournal::Records(const Digest& session) {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_.Prepare("SELECT number, record FROM records WHERE session = ? "
                                     "ORDER BY number"));
  select.Bind(BlobOf(session));
  std::vector<Bytes> records;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) return records;
    ASSIGN_OR_RETURN(const SecretBytes record, OpenFor(session, select.Int64(0), select.Blob(1)));
    records.emplace_back(record.Reveal().begin(), record.Reveal().end());
  }
}

absl::Status SessionJournal::Append(const Digest& session, int64_t number, ByteSpan record,
                                    bool agreed) {
  const std::lock_guard lock(*mutex_);
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSessionAppendBefore));
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  ASSIGN_OR_RETURN(SqliteStatement count,
                   database_.Prepare("SELECT COUNT(*) FROM records WHERE session = ?"));
  count.Bind(BlobOf(session));
  RETURN_IF_ERROR(count.Step().status());
  if (count.Int64(0) != number) {
    return absl::AbortedError(
        "another process goes on with this secure aggregation; is another client running on the "
        "same state_dir?");
  }
  count.Reset();
  RETURN_IF_ERROR(
      database_.Run("UPDATE sessions SET agreed = MAX(agreed, ?) "
                    "WHERE id = ? AND secret NOT NULL",
                    agreed ? 1 : 0, BlobOf(session)));
  if (database_.ChangedRows() != 1) {
    return absl::FailedPreconditionError("this secure aggregation is over");
  }
  const std::string sealed = SealFor(session, number, record);
  RETURN_IF_ERROR(database_.Run("INSERT INTO records VALUES (?, ?, ?)", BlobOf(session), number,
                                std::as_bytes(std::span(sealed))));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  ReachFailPoint(FailPoint::kSessionAppendAfter);
  return absl::OkStatus();
}

absl::Status SessionJournal::CloseRun(const std::string& run) {
  const std::lock_guard lock(*mutex_);
  return CloseAll({run});
}

absl::Status SessionJournal::CloseAllBut(const std::vector<std::string>& runs) {
  const std::lock_guard lock(*mutex_);
  ASSIGN_OR_RETURN(std::vector<std::string> others, RunsWithOpenSessions());
  std::erase_if(others, [&runs](const std::string& run) {
    return std::find(runs.begin(), runs.end(), run) != runs.end();
  });
  return CloseAll(others);
}

absl::StatusOr<std::vector<std::string>> SessionJournal::RunsWithOpenSessions() {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_.Prepare("SELECT run FROM sessions WHERE secret NOT NULL"));
  std::vector<std::string> runs;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) return runs;
    runs.push_back(select.Text(0));
  }
}

absl::Status SessionJournal::CloseAll(const std::vector<std::string>& runs) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kSessionCloseBefore));
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  for (const std::string& run : runs) RETURN_IF_ERROR(Close(run));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  ReachFailPoint(FailPoint::kSessionCloseAfter);
  return absl::OkStatus();
}

absl::Status SessionJournal::LimitPages(int64_t pages) {
  const std::lock_guard lock(*mutex_);
  return database_.Execute(fmt::format("PRAGMA max_page_count = {}", pages));
}

// Requires: a transaction.
absl::Status SessionJournal::Close(const std::string& run) {
  RETURN_IF_ERROR(
      database_.Run("DELETE FROM records WHERE session IN "
                    "(SELECT id FROM sessions WHERE run = ?)",
                    std::string_view(run)));
  return database_.Run("UPDATE sessions SET secret = NULL WHERE run = ? AND secret NOT NULL",
                       std::string_view(run));
}

// The nonce, then what is sealed.
std::string SessionJournal::SealFor(const Digest& session, int64_t number, ByteSpan bytes) const {
  AeadNonce nonce;
  const Bytes random = RandomBytes(nonce.size());
  std::copy(random.begin(), random.end(), nonce.begin());
  const Bytes sealed = Seal(key_, nonce, ContextOf(session, number), bytes);
  std::string stored(nonce.begin(), nonce.end());
  stored.append(sealed.begin(), sealed.end());
  return stored;
}

absl::StatusOr<SecretBytes> SessionJournal::OpenFor(const Digest& session, int64_t number,
                                                    const std::string& sealed) const {
  AeadNonce nonce;
  const absl::Status lost = absl::DataLossError(
      "what is kept of a secure aggregation was sealed with another signing key, or has been "
      "changed; this attempt at its round cannot go on");
  if (sealed.size() < nonce.size()) return lost;
  const ByteSpan bytes = SpanOf(sealed);
  std::copy_n(bytes.begin(), nonce.size(), nonce.begin());
  absl::StatusOr<SecretBytes> opened =
      fedtune::Open(key_, nonce, ContextOf(session, number), bytes.subspan(nonce.size()));
  if (!opened.ok()) return lost;
  return opened;
}

}  // namespace fedtune

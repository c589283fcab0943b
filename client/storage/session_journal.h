// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/signing_key.h"

namespace fedtune {

// A secure aggregation, and the round that it belongs to.
struct JournalSession {
  Digest id;
  std::string run;
  int64_t round = 0;  // Counted from 0; from 1 in messages.
};

// What an institution must remember of its secure aggregations, in a database:
// while one is open its secret and its records, sealed under a key that only the
// signing key gives; and for ever which ones there were, and in which rounds
// survivors were agreed on. Every change is on the disk when the call returns.
//
// At most one session of a run is open. Movable; thread-safe.
//
// Any call: RESOURCE_EXHAUSTED: the disk is full, nothing has changed.
// UNAVAILABLE: another process holds the database, or an I/O error or damage has ended
// the journal, which is then not used any more. DATA_LOSS: it is damaged.
class SessionJournal {
 public:
  // What an open session goes on from.
  struct Kept {
    SecretBytes round_secret;
    std::vector<Bytes> records;  // In their order.
  };

  // Opens the file, in which every page has a checksum, or makes it; ":memory:" is one
  // that nobody can open again. Errors besides: as SqliteDatabase::OpenChecked() and
  // Migrate().
  static absl::StatusOr<SessionJournal> Open(const std::filesystem::path& path,
                                             const SigningKey& key);

  // From now on `on_end` is told once when the journal has ended: what it holds is
  // known to the next process.
  void OnEnd(std::function<void(const absl::Status&)> on_end);

  // Begins the session with a new secret and closes the run's others; or takes it
  // up, if it is open.
  //
  // FAILED_PRECONDITION: it was closed; or survivors were agreed on in another
  // session of its round, which is burnt for ever: then with AgreedRounds().
  // DATA_LOSS: what is kept was sealed with another signing key,
  // or changed.
  absl::StatusOr<Kept> Begin(const JournalSession& session);

  // Whether it would begin, or be taken up, with Begin()'s refusals; changes nothing.
  absl::Status CheckMayTakePart(const JournalSession& session);

  // What is kept of a session if it is open.
  absl::StatusOr<std::optional<Kept>> Find(const Digest& session);

  // Adds record `number`, counted from 0. `agreed`: with it survivors are agreed on.
  // FAILED_PRECONDITION: the session is not open. ABORTED: it has another number of
  // records, as another process goes on with it; nothing has changed.
  absl::Status Append(const Digest& session, int64_t number, ByteSpan record, bool agreed);

  // Closes the run's open session, if there is one: its secret and records go.
  absl::Status CloseRun(const std::string& run);

  // The same of every run but these.
  absl::Status CloseAllBut(const std::vector<std::string>& runs);

  // The disk is full when the file has as many pages; for tests.
  absl::Status LimitPages(int64_t pages);

 private:
  SessionJournal(SqliteDatabase database, SecretBytes key)
      : database_(std::move(database)), key_(std::move(key)) {}

  // All with mutex_ held.
  absl::StatusOr<std::optional<Kept>> FindKept(const Digest& session);
  absl::Status CheckMayBegin(const JournalSession& session);
  absl::Status CloseAll(const std::vector<std::string>& runs);
  absl::Status Close(const std::string& run);
  absl::StatusOr<std::vector<std::string>> RunsWithOpenSessions();
  absl::StatusOr<Kept> BeginNew(const JournalSession& session);
  absl::StatusOr<std::vector<Bytes>> Records(const Digest& session);
  std::string SealFor(const Digest& session, int64_t number, ByteSpan bytes) const;
  absl::StatusOr<SecretBytes> OpenFor(const Digest& session, int64_t number,
                                      const std::string& sealed) const;

  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  SqliteDatabase database_;
  SecretBytes key_;
};

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file_lock.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// A checkpoint of the coordinator's log as an institution keeps it.
struct KeptCheckpoint {
  LogCheckpoint checkpoint;
  SignedCheckpoint proof;  // As the coordinator has signed it.
  absl::Time kept_at;

  friend bool operator==(const KeptCheckpoint&, const KeptCheckpoint&) = default;
};

// What an institution has seen of its coordinator's log, in files of one folder:
//
//   log_checkpoint.json                    where the log stood when it was last seen; what
//                                          comes must go on from there
//   log_checkpoint.refused.json            the newest that does not,
//   log_checkpoint.refused-first.json      and the first, if it is another one
//   log_checkpoint.until-TIME.json         what was believed until somebody has accepted
//                                          another log
//   log_checkpoint.refused-until-TIME.json what was refused until one was accepted, or the
//   log_checkpoint.refused-first-until-TIME.json  log went on again
//
// Each is an object of JSON, as CheckpointToJson() has it, with `kept_at`. Those of the
// last two kinds are never touched again: they show what the coordinator has said.
//
// They are read anew each time, as another process may accept a log meanwhile; it keeps out
// of what is done under the lock of log_checkpoint.lock. Not thread-safe.
class SeenLog {
 public:
  // `authority` is the file with the federation's certificate.
  SeenLog(std::filesystem::path folder, std::filesystem::path authority);

  std::filesystem::path believed_file() const;
  std::filesystem::path refused_file() const;
  std::filesystem::path first_refused_file() const;

  // The federation's certificate. Errors as ReadFile().
  absl::StatusOr<std::string> Authority() const;

  // None: nothing was ever seen.
  // DATA_LOSS: the file is there and is not what we have stored, or its coordinator is not
  // of the authority; says which file and why. Otherwise a file cannot be read.
  absl::StatusOr<std::optional<KeptCheckpoint>> Believed() const;

  // None: nothing is refused. Errors as above.
  absl::StatusOr<std::optional<KeptCheckpoint>> Refused() const;

  // On the disk when it returns. Requires: verified, and goes on from what is believed; and
  // somebody has Lock(), if others may accept a log.
  absl::Status Believe(const SignedCheckpoint& checkpoint, absl::Time now);

  // Requires: verified; and likewise.
  absl::Status Refuse(const SignedCheckpoint& checkpoint, absl::Time now);

  // For as long as what is believed is read, judged and written, so that nobody accepts
  // anything meanwhile. Errors as FileLock::Wait().
  absl::StatusOr<FileLock> Lock() const;

  // Which of what was refused: the newest; or the one with this root; or this one, of which
  // somebody has kept the file.
  struct Choice {
    std::optional<Digest> root = std::nullopt;
    std::optional<std::filesystem::path> file = std::nullopt;
  };

  struct Accepted {
    absl::StatusOr<std::optional<KeptCheckpoint>> before;  // As Believed() has it.
    std::filesystem::path before_file;                     // Where that is now; empty: nowhere.
    KeptCheckpoint now;
    std::filesystem::path file;  // Of that.
  };

  // What Accept() would take. FAILED_PRECONDITION: nothing is refused, or nothing with this
  // root: says what is. NOT_FOUND: there is no such file. Otherwise as Refused().
  absl::StatusOr<KeptCheckpoint> Chosen(const Choice& choice) const;

  // From now on what was refused is believed. Errors as Chosen(), or of writing; then the
  // same is believed as before. Requires: somebody has Lock().
  absl::StatusOr<Accepted> Accept(absl::Time now, const Choice& choice);
  absl::StatusOr<Accepted> Accept(absl::Time now) { return Accept(now, Choice{}); }

 private:
  absl::StatusOr<std::optional<KeptCheckpoint>> Load(const std::filesystem::path& file) const;
  absl::StatusOr<KeptCheckpoint> Verified(const std::filesystem::path& file,
                                          const std::string& text) const;
  absl::Status SetRefusedAside(absl::Time now);

  std::filesystem::path folder_;
  std::filesystem::path authority_;
};

}  // namespace fedtune

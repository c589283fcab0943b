// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "privacy/audit/checkpoint.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {

// Signs where the audit log stands with the coordinator's key, and takes up a renewed
// certificate with its key as connections do. The note of one head is signed once.
// Thread-safe.
class CheckpointSigner {
 public:
  // Looks at the files each `reload_interval` at most; while they are no good, as in the
  // middle of a renewal, the last good ones stand. `clock` must outlive the signer.
  //
  // Errors as LoadCredentials(); INVALID_ARGUMENT also: a key that signs no checkpoints.
  static absl::StatusOr<CheckpointSigner> Open(CredentialFiles files,
                                               absl::Duration reload_interval, const Clock& clock);

  SignedCheckpoint Sign(const LogHead& head);

  CheckpointSigner(CheckpointSigner&& other) noexcept
      : files_(std::move(other.files_)),
        reload_interval_(other.reload_interval_),
        clock_(other.clock_),
        signing_(std::move(other.signing_)),
        looked_(other.looked_) {}

 private:
  struct Signing {
    std::string federation;
    SigningKey key;
    std::string certificate_pem;
  };

  CheckpointSigner(CredentialFiles files, absl::Duration reload_interval, const Clock& clock,
                   Signing signing);

  static absl::StatusOr<Signing> Load(const CredentialFiles& files, absl::Time now);
  void TakeUpRenewed();  // With mutex_ held.

  const CredentialFiles files_;
  const absl::Duration reload_interval_;
  const Clock& clock_;
  std::mutex mutex_;
  Signing signing_;
  absl::Duration looked_;
  std::optional<std::pair<LogHead, SignedCheckpoint>> last_;
};

}  // namespace fedtune

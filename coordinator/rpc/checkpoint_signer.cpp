// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/checkpoint_signer.h"

#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<CheckpointSigner::Signing> CheckpointSigner::Load(const CredentialFiles& files,
                                                                 absl::Time now) {
  ASSIGN_OR_RETURN(const Credentials credentials, LoadCredentials(files, Role::kCoordinator, now));
  ASSIGN_OR_RETURN(SigningKey key, SigningKey::ParsePem(credentials.key_pem.RevealText()));
  if (key.suite() != CipherSuite::kNistP256) {
    return absl::InvalidArgumentError(
        "the coordinator's key is not on P-256, and cannot sign where the audit log stands");
  }
  return Signing{.federation = credentials.certificate.identity.federation,
                 .key = std::move(key),
                 .certificate_pem = credentials.certificate_pem};
}

absl::StatusOr<CheckpointSigner> CheckpointSigner::Open(CredentialFiles files,
                                                        absl::Duration reload_interval,
                                                        const Clock& clock) {
  ASSIGN_OR_RETURN(Signing signing, Load(files, clock.Now()));
  return CheckpointSigner(std::move(files), reload_interval, clock, std::move(signing));
}

CheckpointSigner::CheckpointSigner(CredentialFiles files, absl::Duration reload_interval,
                                   const Clock& clock, Signing signing)
    : files_(std::move(files)),
      reload_interval_(reload_interval),
      clock_(clock),
      signing_(std::move(signing)),
      looked_(clock.Monotonic()) {}

SignedCheckpoint CheckpointSigner::Sign(const LogHead& head) {
  const std::lock_guard lock(mutex_);
  TakeUpRenewed();
  if (last_.has_value() && last_->first == head) return last_->second;
  const LogCheckpoint checkpoint = {.federation = signing_.federation, .head = head};
  last_.emplace(head, SignedCheckpoint{.note = SignCheckpoint(checkpoint, signing_.key),
                                       .certificate_pem = signing_.certificate_pem});
  return last_->second;
}

void CheckpointSigner::TakeUpRenewed() {
  const absl::Duration now = clock_.Monotonic();
  if (now - looked_ < reload_interval_) return;
  looked_ = now;
  absl::StatusOr<Signing> renewed = Load(files_, clock_.Now());
  if (!renewed.ok() || renewed->certificate_pem == signing_.certificate_pem) return;
  if (renewed->federation != signing_.federation) return;
  signing_ = *std::move(renewed);
  last_.reset();
}

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/run_material.h"
#include "client/storage/session_journal.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/client_session.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {

// An attempt at a secure round, and what is needed to take part in it.
struct SecureRoundWork {
  Assignment assignment;
  std::shared_ptr<const RunMaterial> material;  // With a membership.
};

// What the attempt's clients and coordinator must agree on.
// INVALID_ARGUMENT: as CheckAssignment() and SecureSessionParameters().
absl::StatusOr<SessionParameters> ParametersOf(const SecureRoundWork& work);

// Hands one contribution in by a secure aggregation: keeps each record in the
// journal before its message leaves, quantises and masks the delta when the
// others' shares have come, and says everything again as often as it is asked. A
// process that takes it up says the same, byte for byte.
//
// Its errors: UNAVAILABLE: the journal could not be written (the disk is full, or
// another process holds it), or the coordinator not be reached; try again with
// Continue(). ABORTED: the aggregation is given up, for the reason given, and is
// never taken up again here; if another process goes on with it, it is that one's.
// FAILED_PRECONDITION: the coordinator does not take the input (any more). Others: see
// SessionJournal.
//
// Movable. Not thread-safe.
class SecureSubmission {
 public:
  // Whether Begin() would give it up at once: ABORTED. Thread-safe.
  static absl::Status CheckMayTakePart(const SecureRoundWork& work, SessionJournal& journal);

  // Begins the aggregation, or takes it up. Nothing is sent yet.
  static absl::StatusOr<SecureSubmission> Begin(SecureRoundWork work, SessionJournal& journal);

  // Takes it up if it has begun.
  static absl::StatusOr<std::optional<SecureSubmission>> Resume(SecureRoundWork work,
                                                                SessionJournal& journal);

  // The contribution, when it is ready. Only the first one counts.
  void Offer(std::shared_ptr<const Contribution> contribution);

  // Says what it said last again, or for the first time, and hands in the input if
  // that is due and the contribution is there.
  absl::Status Continue(CoordinatorLink& link, std::stop_token stop);

  // Answers a message of the coordinator.
  absl::Status Receive(ByteSpan message, CoordinatorLink& link, std::stop_token stop);

  // It has given its unmask shares: nothing more will be asked.
  bool finished() const { return session_.has_unmasked() && unstored_.empty(); }

  const Digest& id() const { return session_.id(); }

 private:
  SecureSubmission(SecureRoundWork work, SessionJournal& journal, ClientSession session,
                   int64_t stored, SecretBytes rounding_key);
  static absl::StatusOr<SecureSubmission> Open(SecureRoundWork work, SessionParameters parameters,
                                               SessionJournal::Kept kept, SessionJournal& journal);

  absl::Status Take(absl::StatusOr<ClientSession::Step> step, Bytes& message);
  absl::Status Store();
  absl::Status GiveUp();
  void Say(CoordinatorLink& link) const;
  absl::Status HandInIfDue(CoordinatorLink& link, std::stop_token stop);
  absl::Status MaskInput();
  absl::Status Fix(const Digest& input);

  SecureRoundWork work_;
  SessionJournal* journal_;
  ClientSession session_;
  SecretBytes rounding_key_;
  std::shared_ptr<const Contribution> contribution_;

  int64_t stored_;  // Records that are in the journal.
  Bytes unstored_;  // The next one; nothing goes on before it is there.
  Bytes said_;      // The last message; it is sent when its record is stored.
  bool input_due_ = false;
  std::shared_ptr<const MaskedContribution> masked_;  // Until the coordinator has it.
};

}  // namespace fedtune

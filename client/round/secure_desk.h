// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/secure_submission.h"
#include "client/storage/session_journal.h"
#include "privacy/crypto/canonical_bytes.h"

namespace fedtune {

// A client's open secure aggregations, one for each run. Not thread-safe but where it
// says so.
class SecureDesk {
 public:
  // A status as SecureSubmission's when it is at its end, for better or worse;
  // nothing while it waits for the coordinator's next message.
  using Outcome = std::optional<absl::Status>;

  explicit SecureDesk(SessionJournal journal) : journal_(std::move(journal)) {}

  // As SecureSubmission::CheckMayTakePart(). Thread-safe.
  absl::Status CheckMayTakePart(const SecureRoundWork& work) {
    return SecureSubmission::CheckMayTakePart(work, journal_);
  }

  // Begins the aggregation with this contribution, or goes on with it. That of an
  // earlier attempt ends.
  Outcome Submit(const SecureRoundWork& work, std::shared_ptr<const Contribution> contribution,
                 CoordinatorLink& link, std::stop_token stop);

  // Answers a message of it; `contribution` may be null, as it may have begun in an
  // earlier process. A message of one that never began is passed over.
  Outcome Answer(const SecureRoundWork& work, std::shared_ptr<const Contribution> contribution,
                 ByteSpan message, CoordinatorLink& link, std::stop_token stop);

  // Ends the run's aggregation, if there is one. Errors: of the journal.
  absl::Status End(const std::string& run);

  // The same of every run but these, also of those that an earlier process had open.
  absl::Status EndAllBut(const std::vector<std::string>& runs);

 private:
  absl::StatusOr<SecureSubmission*> FindOpen(const SecureRoundWork& work);
  static Outcome OutcomeOf(const SecureSubmission& submission, const absl::Status& status);

  SessionJournal journal_;
  std::map<std::string, SecureSubmission> open_;  // By run.
};

}  // namespace fedtune

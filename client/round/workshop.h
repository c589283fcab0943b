// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/work_control.h"

namespace fedtune {

using WorkObserver = std::function<void(const WorkProgress&)>;

// The place where a client's work is done. Study() is called from one thread; Work(),
// Discard() and KeepOnly() from one thread together, and so are Submit(), Answer(),
// EndAggregation() and EndAggregationsBut(); they block for as long as they take. All may
// be called at the same time.
class Workshop {
 public:
  virtual ~Workshop() = default;

  // The answer to an invitation: whether the coordinator's log has the run, and base model,
  // layout, policy and data allow it. When they do, what the run needs is kept. None: stopped.
  virtual std::optional<InvitationAnswer> Study(const Invitation& invitation, CoordinatorLink& link,
                                                std::stop_token stop) = 0;

  // Sees whether the coordinator's log goes on from what was seen here, as LogWitness::Look().
  // Called from a thread of its own.
  virtual absl::Status LookAtLog(CoordinatorLink& link, std::stop_token stop) = 0;

  // Does the work of `assignment`, of a run that was accepted, and keeps the
  // contribution until the next one of this run. Work that was done before for the
  // same round, from the same adapter, is not done again, whichever attempt it was
  // for; nor, as far as it was stored, in an earlier process. CANCELLED: `control`
  // said so. INVALID_ARGUMENT: the run's plan has no such assignment. Nothing is done, not
  // even with what is kept, unless the coordinator's log has the attempt; errors then as of
  // LogWitness::CheckOpened(), but UNAVAILABLE where the disk is too full to store what was seen:
  // to be tried again.
  virtual absl::Status Work(const Assignment& assignment, CoordinatorLink& link,
                            WorkControl& control, const WorkObserver& observer) = 0;

  // What came of an attempt's contribution: a status as that of Submitted, or
  // nothing yet, as the secure aggregation waits for the coordinator's next message.
  using Outcome = std::optional<absl::Status>;

  // Hands in the contribution that is kept for this attempt. In a secure run:
  // begins the aggregation, or says again what it said last.
  virtual Outcome Submit(const AttemptId& id, CoordinatorLink& link, std::stop_token stop) = 0;

  // Answers a message of the assignment's secure aggregation, be the contribution
  // ready or not.
  virtual Outcome Answer(const Assignment& assignment, const Bytes& message, CoordinatorLink& link,
                         std::stop_token stop) = 0;

  // The run's secure aggregation, if there is one, is over and is not taken up
  // again. Errors: it could not be forgotten.
  virtual absl::Status EndAggregation(const std::string& run) = 0;

  // The same of every run but these, also of those that an earlier process has begun.
  virtual absl::Status EndAggregationsBut(const std::vector<std::string>& runs) = 0;

  // Lets go of all that is kept for the run in memory.
  virtual void Forget(const std::string& run) = 0;

  // Lets go of what is stored of the run's rounds; of all runs' but these.
  virtual void Discard(const std::string& run) = 0;
  virtual void KeepOnly(const std::vector<std::string>& runs) = 0;
};

}  // namespace fedtune

// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/work_control.h"

namespace fedtune {

using WorkObserver = std::function<void(const WorkProgress&)>;

// The place where a client's work is done. Study() and Work() are each called
// from one thread, and block for as long as they take; all may be called at the
// same time.
class Workshop {
 public:
  virtual ~Workshop() = default;

  // The answer to an invitation: whether base model, layout, policy and data
  // allow the run. When they do, what the run needs is kept.
  virtual InvitationAnswer Study(const Invitation& invitation) = 0;

  // Does the work of `assignment`, of a run that was accepted, and keeps the
  // contribution until the next one of this run. CANCELLED: `control` said so.
  virtual absl::Status Work(const Assignment& assignment, CoordinatorLink& link,
                            WorkControl& control, const WorkObserver& observer) = 0;

  // The contribution that is kept for this attempt; null if none is.
  virtual std::shared_ptr<const Contribution> Kept(const AttemptId& id) = 0;

  // Lets go of all that is kept for the run.
  virtual void Forget(const std::string& run) = 0;
};

}  // namespace fedtune

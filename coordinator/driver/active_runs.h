// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/driver/clients/roster.h"
#include "coordinator/driver/run_driver.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/driver/work_queue.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// The runs that are under way, and the last few that have ended, so that their
// clients still hear of it. Thread-safe.
class ActiveRuns {
 public:
  // Everything must outlive the runs. Without a signing roster there are no secure
  // runs. `store_again` is how long a store that is full or held is left alone.
  ActiveRuns(RunStore& store, const Spool& spool, const Roster& roster,
             std::shared_ptr<const SigningRoster> signing_roster, const Clock& clock, Log& log,
             absl::Duration store_again = absl::Seconds(5));

  // Who does the runs' work and wakes them, where that is not threads of their own.
  struct Queues {
    std::unique_ptr<WorkQueue> work;
    std::unique_ptr<TimerQueue> timers;
  };
  ActiveRuns(RunStore& store, const Spool& spool, const Roster& roster,
             std::shared_ptr<const SigningRoster> signing_roster, const Clock& clock, Log& log,
             absl::Duration store_again, Queues queues);

  // As RunDriver::Begin().
  absl::StatusOr<std::shared_ptr<RunDriver>> Start(RunDriver::Parts parts);

  // Goes on with every stored run that has not ended, within its round; what cannot
  // go on is stored as failed, with the reason. Call it once, before clients connect.
  //
  // FAILED_PRECONDITION: one of them aggregates securely, and this coordinator cannot, as
  // RunDriver::Begin(); nothing has changed.
  absl::Status ResumeAll();

  // Null: no such run, or it has ended.
  std::shared_ptr<RunDriver> Find(const RunId& id) const;

  std::vector<std::shared_ptr<RunDriver>> All() const;

  // The runs in which the institution may take part, until their end is stored; also
  // those that are about to begin. None before ResumeAll() has returned: there may be
  // others.
  std::optional<std::vector<RunId>> UnderWayFor(const Institution& institution) const;

  // The newest adapter of a run that is under way.
  std::optional<Blob> FetchAdapter(const Digest& digest) const;

  // Tells all runs to look the institution up in the roster.
  void ConnectionChanged(const Institution& institution) const;

  // Stops timers and threads. What is stored stays as it is, so that the runs
  // can be resumed.
  void Shutdown();

 private:
  absl::Status CheckCanResume(const std::vector<RunRecord>& records) const;
  absl::Status Resume(const RunId& id);
  absl::Status Fail(const RunRecord& record, const absl::Status& why);
  void MoveToEnded(const RunId& id);
  RunSurroundings Surroundings();

  RunStore& store_;
  const Spool& spool_;
  const Roster& roster_;
  const std::shared_ptr<const SigningRoster> signing_roster_;
  const Clock& clock_;
  Log& log_;
  const absl::Duration store_again_;
  const Queues queues_;
  mutable std::mutex mutex_;
  std::map<RunId, std::shared_ptr<RunDriver>> runs_;
  std::deque<std::shared_ptr<RunDriver>> ended_;
  bool all_resumed_ = false;
};

}  // namespace fedtune

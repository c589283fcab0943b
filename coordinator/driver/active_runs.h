// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/driver/clients/client_lines.h"
#include "coordinator/driver/run_driver.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/driver/work_queue.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// The runs that are under way, and the last few that have ended, so that their
// clients still hear of it. Thread-safe.
class ActiveRuns {
 public:
  // What it refers to must outlive the runs.
  struct Parts {
    RunStore& store;
    const Spool& spool;
    const ClientLines& lines;
    std::shared_ptr<const SigningRoster> signing_roster = nullptr;  // Null: plain runs only.
    const Clock& clock;
    Log& log;
    // How long a store that is full or held is left alone.
    absl::Duration store_again = absl::Seconds(5);
  };

  // Who does the runs' work and wakes them.
  struct Queues {
    std::unique_ptr<WorkQueue> work;
    std::unique_ptr<TimerQueue> timers;
  };
  // On threads of their own. `clock` must outlive them.
  static Queues Threads(const Clock& clock);

  ActiveRuns(Parts parts, Queues queues) : parts_(std::move(parts)), queues_(std::move(queues)) {}

  // As RunDriver::Begin().
  absl::StatusOr<std::shared_ptr<RunDriver>> Start(RunParts parts);

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

  // Whether the run is under way or has ended just now, and its plan admits the institution.
  bool MayKnow(const Institution& institution, const RunId& run) const;

  // The newest adapter of a run that is under way.
  std::optional<Blob> FetchAdapter(const Digest& digest) const;

  // Tells all runs to look the institution up among the lines.
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

  const Parts parts_;
  const Queues queues_;
  mutable std::mutex mutex_;
  std::map<RunId, std::shared_ptr<RunDriver>> runs_;
  std::deque<std::shared_ptr<RunDriver>> ended_;
  bool all_resumed_ = false;
};

}  // namespace fedtune
